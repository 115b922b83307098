"""SMPL from BlazePose's eyes: the starter estimator's network.

"full" looks at the crop as published and, unless told otherwise, stays as it is: its landmarks, in the picture and in
metres, lose nothing. A second copy of its last layers (``Tail``) and a head of fully connected layers learn what
landmarks don't say: how the bones are turned about themselves, the body's shape, and where GHUM's joints and SMPL's
differ. The head answers in three stages: its first answer is posed and projected, a second stage corrects it by the
distance to the landmarks, and a last one pulls the joints there (``posesyn_blazepose.pull``). It looks twice, and both
looks count, the better one more (``Weighed``).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from posesyn_blazepose.looks import (
    POSE,
    STARTERS_WIDE,
    Cropper,
    Middle,
    first_square,
    guarded,
    refuse_coarse,
    to_wide,
    turns,
)
from posesyn_blazepose.network import SIZE, SIZES, LandmarkNetwork, refined
from posesyn_blazepose.pull import PARENTS, STEPS, Pull
from posesyn_blazepose.views import BODY_MARGIN, HIPS, LEAST_TORSO, SHOULDERS
from posesyn_core.body.model import Body
from posesyn_core.body.skinning import rigid_chain
from posesyn_core.geometry.rotations import six_d_to_matrix

FOCAL_LENGTH = 768.0
"""Of the crop's camera, in its pixels; its principal point is the crop's middle."""
PAIRS = (
    (11, 16), (12, 17), (13, 18), (14, 19), (15, 20), (16, 21), (23, 1), (24, 2), (25, 4), (26, 5), (27, 7), (28, 8),
    (31, 10), (32, 11), (19, 22), (20, 23),
)  # fmt: skip
"""Landmarks and the joints of SMPL next to them: shoulders, elbows, wrists, hips, knees, ankles, toes, fingers."""
SEEN, JOINTS = (list(column) for column in zip(*PAIRS, strict=True))
HIDDEN = 512
TAIL = 4 * SIZES["full"].width
"""Numbers that the tail says of a crop."""


class Tail(nn.Module):
    """The last residual blocks of "full", from the map of 8 x 8 to what its regressor reads."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = LandmarkNetwork(SIZES["full"]).regressor.blocks

    def forward(self, features: Tensor) -> Tensor:
        """(B, 288, 8, 8) -> (B, 1152)."""
        return self.blocks(features).flatten(1)


class Block(nn.Module):
    """A residual block of two fully connected layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Skeleton(nn.Module):
    """Forward kinematics of the body's 24 joints."""

    template: Tensor
    shapes: Tensor

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.register_buffer("template", body.rest_template.clone())
        self.register_buffer("shapes", body.rest_shapedirs.clone())

    def forward(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (B, 24, 3, 3), betas (B, 10) -> rotations against the T-pose (B, 24, 3, 3), and joints (B, 24, 3)
        from the pelvis, metres."""
        world, joints = rigid_chain(rotations, self.template + torch.einsum("jak,bk->bja", self.shapes, betas))
        return world, joints - joints[:, :1]


def body_frame(world: Tensor) -> Tensor:
    """World landmarks (B, 33, 3) -> (B, 3, 3), whose columns are the body's axes: to its left, up, to its front."""
    up = world[:, 11] + world[:, 12] - world[:, 23] - world[:, 24]
    left = world[:, 11] - world[:, 12] + world[:, 23] - world[:, 24]
    up = nn.functional.normalize(up, dim=-1)
    front = nn.functional.normalize(torch.linalg.cross(left, up), dim=-1)
    return torch.stack([torch.linalg.cross(up, front), up, front], -1)


def placed(joints: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    """Where the body stands (B, 3): joints (B, J, 3) metres whose projections come nearest to ``points`` (B, J, 2).

    Points in focal lengths from the crop's middle, ``weights`` (B, J). The linear least squares X + tx = u (Z + tz), y
    alike, in closed form: tx and ty are means once tz is known.
    """
    share = (weights / weights.sum(1, keepdim=True).clamp(min=1e-6))[..., None]
    ray = joints[..., :2] - points * joints[..., 2:]
    middle, far = (points * share).sum(1), (ray * share).sum(1)
    away = points - middle[:, None]
    spread = (away.square() * share).sum((1, 2)).clamp(min=1e-5)
    depth = ((ray - far[:, None]) * away * share).sum((1, 2)) / spread
    depth = depth.clamp(1.0, 50.0)
    return torch.cat([middle * depth[:, None] - far, depth[:, None]], 1)


class Head(nn.Module):
    """What the eyes see -> SMPL's rotations, shape, and where the body stands before the crop's camera."""

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        self.skeleton = skeleton
        seen = POSE * (3 + 3 + 2) + TAIL
        self.enter = nn.Linear(seen, HIDDEN)
        self.trunk = nn.Sequential(Block(HIDDEN), Block(HIDDEN), Block(HIDDEN))
        numbers = 24 * 6 + 10 + 3
        self.first = nn.Linear(HIDDEN, numbers)
        self.enter_again = nn.Linear(HIDDEN + numbers + 24 * 3 + len(PAIRS) * 3, HIDDEN)
        self.trunk_again = nn.Sequential(Block(HIDDEN), Block(HIDDEN))
        self.second = nn.Linear(HIDDEN, numbers)
        self.trust = nn.Linear(HIDDEN, len(PAIRS) * 3)
        self.pull = Pull(JOINTS)
        self.register_buffer("parents", torch.tensor(PARENTS), persistent=False)
        self.register_buffer("ends", torch.tensor(JOINTS), persistent=False)
        identity = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(24)
        self.register_buffer("mean", torch.cat([identity, torch.zeros(13)]))
        self.register_buffer("hidden_scale", torch.ones(TAIL))
        for layer in (self.first, self.second):
            nn.init.xavier_uniform_(layer.weight, gain=0.1)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.trust.weight)
        nn.init.zeros_(self.trust.bias)

    mean: Tensor
    hidden_scale: Tensor
    parents: Tensor
    ends: Tensor

    def forward(self, landmarks: Tensor, world: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        """``landmarks`` (B, 39, 5) refined, ``world`` (B, 39, 3), ``hidden`` (B, 1152): see :meth:`_answer`.

        The keys of the first two stages' answers begin with "first_" and "second_"; ``apart`` (B,) is how far the
        joints are seen from the landmarks, on average, in focal lengths.
        """
        frame = body_frame(world[:, :POSE])
        body = world[:, :POSE] @ frame
        sure = torch.sigmoid(landmarks[:, :POSE, 3:])
        pixels = landmarks[:, :POSE, :3] / (SIZE / 2)
        # where a landmark lies in the crop says little; how it lies to the others much
        middle = pixels[:, 23:25].mean(1, keepdim=True)
        seen = [body.flatten(1), (pixels - middle).flatten(1), sure.flatten(1), hidden * self.hidden_scale]
        points = (landmarks[:, SEEN, :2] - SIZE / 2) / FOCAL_LENGTH
        weights = sure[:, SEEN].prod(-1) + 0.02
        x = self.trunk(self.enter(torch.cat(seen, 1)))
        numbers = self.mean + self.first(x)
        first = self._answer(numbers, frame, points, weights)
        apart = (first["points"][:, JOINTS] - points) * 10
        state = [x, numbers, (first["joints"] @ frame).flatten(1), apart.flatten(1), weights]
        y = self.trunk_again(self.enter_again(torch.cat(state, 1)))
        numbers = numbers + self.second(y)
        second = self._answer(numbers, frame, points, weights)
        trust = self.trust(y).unflatten(1, (len(PAIRS), 3))
        last = self._pulled(second, points + 0.02 * trust[..., :2], weights * 2 * trust[..., 2].sigmoid())
        stages = {"first": first, "second": second}
        staged = {f"{stage}_{name}": stages[stage][name] for stage in stages for name in first}
        apart = (last["points"][:, JOINTS] - points).square().sum(-1).add(1e-8).sqrt().mean(1)
        return {**staged, **last, "apart": apart}

    def _answer(self, numbers: Tensor, frame: Tensor, points: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """``rotmat`` (B, 24, 3, 3) in the crop's frame, ``betas`` (B, 10), ``transl`` (B, 3) of the pelvis in metres,
        ``joints`` (B, 24, 3) from the pelvis, ``points`` (B, 24, 2) their projections in focal lengths."""
        six_d, betas, moved = numbers.split([24 * 6, 10, 3], 1)
        rotations = six_d_to_matrix(six_d.unflatten(1, (24, 6)), "columns")
        rotations = torch.cat([(frame @ rotations[:, 0])[:, None], rotations[:, 1:]], 1)
        _, joints = self.skeleton(rotations, betas)
        place = placed(joints[:, JOINTS], points, weights)
        depth = place[:, 2:] * torch.exp(0.1 * moved[:, 2:])
        transl = torch.cat([(place[:, :2] / place[:, 2:] + 0.02 * moved[:, :2]) * depth, depth], 1)
        return _projected(rotations, betas, joints, transl)

    def _pulled(self, answer: Mapping[str, Tensor], points: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """The answer, as far away, with its joints nearer to ``points`` (B, P, 2), by ``weights`` (B, P)."""
        betas, depth = answer["betas"], answer["transl"][:, 2:]
        world, joints = self.skeleton(answer["rotmat"], betas)
        bones = joints - torch.cat([joints[:, :1], joints[:, self.parents]], 1)  # the root has none
        share = weights / weights.sum(1, keepdim=True)
        for step in range(STEPS):
            ends = joints[:, self.ends]
            transl = _aside(ends, points, share, depth)
            turned = self.pull.turned(step, joints + transl, ends + transl, points, weights)
            world = turned @ world
            above = torch.cat([turned[:, :1], turned[:, self.parents]], 1)
            bones = (above @ bones[..., None])[..., 0]
            joints = self.pull.chain @ bones
        rotations = torch.cat([world[:, :1], world[:, self.parents].mT @ world[:, 1:]], 1)
        transl = _aside(joints[:, self.ends], points, share, depth)
        return _projected(rotations, betas, joints, transl[:, 0])


def _aside(ends: Tensor, points: Tensor, share: Tensor, depth: Tensor) -> Tensor:
    """Where a body at a known ``depth`` (B, 1) stands (B, 1, 3), so that its joints' ``ends`` (B, P, 3) from the pelvis
    are seen about ``points`` (B, P, 2); ``share`` (B, P) adds up to 1."""
    across = points * (ends[..., 2:] + depth[..., None]) - ends[..., :2]
    return torch.cat([(across * share[..., None]).sum(1, keepdim=True), depth[:, None]], -1)


def _projected(rotations: Tensor, betas: Tensor, joints: Tensor, transl: Tensor) -> dict[str, Tensor]:
    absolute = joints + transl[:, None]
    seen = absolute[..., :2] / absolute[..., 2:].clamp(min=0.2)
    return {"rotmat": rotations, "betas": betas, "transl": transl, "joints": joints, "points": seen}


class AimUpright(nn.Module):
    """Where the second look goes: the body that the first one found, turned upright."""

    def forward(self, points: Tensor, squares: Tensor) -> Tensor:
        """Joints (B, 24, 2) in focal lengths of the crops of ``squares`` (B, 4), or one for all -> squares (B, 4)."""
        wide = to_wide(points * FOCAL_LENGTH + SIZE / 2, squares)
        return guarded(squares, square_of_body(wide))


class Weighed(nn.Module):
    """Two looks at one person as one answer: the mean of both, in which the look counts more whose joints lie nearer to
    the landmarks that it saw.

    With distances d and roots that differ by the angle a, weights are d^-k, k = 2 + 4 (1 - cos a): looks that agree are
    averaged as measurements of variance d^2 are, and of looks that see a person the other way round, the better one
    is taken.
    """

    def forward(
        self, first: Mapping[str, Tensor], square: Tensor, second: Mapping[str, Tensor], upright: Tensor
    ) -> dict[str, Tensor]:  # fmt: skip
        """Answers to the crops at ``square`` (1, 4), which is not turned, and ``upright`` (B, 4) -> ``rotmat``,
        ``betas`` and ``transl`` before the camera of the latter."""
        turn = turns(upright).mT
        root = torch.cat([turn @ first["rotmat"][:, 0, :2], first["rotmat"][:, 0, 2:]], 1)
        rotmat = torch.cat([root[:, None], first["rotmat"][:, 1:]], 1)
        place = to_wide(_pelvis(first)[:, None] * FOCAL_LENGTH + SIZE / 2, square) - upright[:, None, :2]
        pelvis = (place @ turn.mT)[:, 0] * (SIZE / FOCAL_LENGTH) / upright[:, 2:3]
        cosine = ((root * second["rotmat"][:, 0]).sum((1, 2)) - 1) / 2
        share = torch.sigmoid((2 + 4 * (1 - cosine)) * (second["apart"] / first["apart"]).log())[:, None]

        def mean(one: Tensor, other: Tensor) -> Tensor:
            return share * one.flatten(1) + (1 - share) * other.flatten(1)

        columns = mean(rotmat[..., :2], second["rotmat"][..., :2]).unflatten(1, (24, 6))
        depth = mean(_depth(first, square), _depth(second, upright)).exp() * upright[:, 2:3]
        return {
            "rotmat": six_d_to_matrix(columns, "interleaved"),
            "betas": mean(first["betas"], second["betas"]),
            "transl": torch.cat([mean(pelvis, _pelvis(second)) * depth, depth], 1),
        }


def _pelvis(answer: Mapping[str, Tensor]) -> Tensor:
    """Where the pelvis is seen (B, 2), in focal lengths from the crop's middle."""
    return answer["transl"][:, :2] / answer["transl"][:, 2:]


def _depth(answer: Mapping[str, Tensor], square: Tensor) -> Tensor:
    """How far away the pelvis is (B, 1): the logarithm of metres for each pixel of the crop's square."""
    return (answer["transl"][:, 2:] / square[:, 2:3]).log()


class StarterNetwork(nn.Module):
    """Crops in, bodies out."""

    def __init__(self, body: Body) -> None:
        """Random weights."""
        super().__init__()
        self.eyes = LandmarkNetwork(SIZES["full"])
        self.tail = Tail()
        self.head = Head(Skeleton(body))
        self.middle, self.cropper, self.aim, self.weighed = Middle(STARTERS_WIDE), Cropper(), AimUpright(), Weighed()

    def see(self, images: Tensor) -> dict[str, Tensor]:
        """What the eyes say: ``features`` (B, 288, 8, 8), refined ``landmarks`` (B, 39, 5), ``world`` (B, 39, 3)."""
        eyes = self.eyes
        _, quarter, eighth, sixteenth, top = eyes.backbone(images)
        heatmaps = eyes.heatmaps(eyes.pyramid(quarter, eighth, sixteenth, top))
        features = eyes.regressor.top(top)
        said = eyes.regressor(eyes.regressor.blocks(features))
        return {"features": features, "landmarks": refined(said["landmarks"], heatmaps), "world": said["world"]}

    def understand(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What :meth:`see` gives -> the head's answer."""
        return self.head(seen["landmarks"], seen["world"], self.tail(seen["features"]))

    def look(self, images: Tensor) -> dict[str, Tensor]:
        """Crops (B, 3, 256, 256), RGB in 0..1 -> the head's answer."""
        return self.understand(self.see(images))

    def forward(self, images: Tensor, inner: Tensor) -> dict[str, Tensor]:
        """Wide crops (B, 3, 448, 448) and their middles (B, 3, 336, 336), bytes of RGB -> the answer of two looks, the
        second at a crop turned upright.

        ``rotmat`` (B, 24, 3, 3), ``betas`` (B, 10) and ``transl`` (B, 3), the pelvis's place in metres, before the
        second crop's camera; ``square`` (B, 4) is that crop's, in pixels of the wide one.
        """
        refuse_coarse(self.eyes.heatmaps.weight)
        crops = self.middle(inner)
        square, first = first_square(crops, STARTERS_WIDE), self.look(crops)
        upright = self.aim(first["points"], square)
        second = self.look(self.cropper(images, upright))
        return {**self.weighed(first, square, second, upright), "square": upright}


def square_of_body(points: Tensor) -> Tensor:
    """The upright square (B, 4) about joints (B, 24, 2): ``posesyn_blazepose.views.square_of_body`` in torch."""
    torso = points[:, SHOULDERS].mean(1) - points[:, HIPS].mean(1)
    short = torso.square().sum(-1).add(1e-6).sqrt() < LEAST_TORSO * (points.amax(1) - points.amin(1)).amax(-1)
    angle = torch.where(short, torch.zeros_like(torso[:, 0]), torch.atan2(torso[:, 0], -torso[:, 1]))
    turn = turns(torch.stack([angle, angle, angle, angle], -1))
    aligned = points @ turn
    low, high = aligned.amin(1), aligned.amax(1)
    side = (high - low).amax(-1, keepdim=True) * BODY_MARGIN
    centre = (turn @ ((low + high) / 2)[..., None])[..., 0]
    return torch.cat([centre, side, angle[:, None]], -1)
