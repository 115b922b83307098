"""Joints -> SMPL: the optimisation O of PoseSyn's Eq. 8, for whole batches of motions at once.

The paper runs a published optimiser frame by frame. Here every frame of every clip starts from the closed form of
``inverse_kinematics`` and takes the same few Gauss-Newton steps on a clip's energy, the sum over its frames t of

    sum_k |J_k(theta_t, beta) - target_tk|^2 + w_p |theta_t - closed_t|^2 + w_b |beta|^2
    + w_s |theta_t - mean(theta_t-1, theta_t+1)|^2

with rotations compared by their geodesic difference: joints, pose prior, ordinary people first, temporal smoothness.
The frames of a clip share the shape beta, if it is looked for; its unknowns are eliminated last (Schur complement).
A step takes a frame's neighbours as they are, so that each frame has a small linear system of its own. Nothing waits
for convergence: the result does not depend on the rest of the batch.
"""

from collections.abc import Sequence

import roma
import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor

from posesyn_core.body.inverse_kinematics import pose_from_joints
from posesyn_core.body.model import Body
from posesyn_core.body.skinning import rigid_chain
from posesyn_core.geometry.skeletons import HUMANML22

PRIOR_WEIGHT = 1e-3
"""w_p, square metres per square radian: 3 cm off a joint weigh as much as one radian off the closed form."""
SMOOTHNESS = 1e-3
"""w_s, square metres per square radian."""
SHAPE_WEIGHT = 2e-5
"""w_b, square metres: 4.5 mm off a joint in every frame weigh as much as one unit of beta, a standard deviation."""
LARGEST_BETA = 3.0
"""No shape further from the average is looked for, in standard deviations: what is left is no matter of shape."""
ITERATIONS = 2
FRAMES_AT_ONCE = 128
"""Frames per linear solve: few enough for their systems to stay in the processor's cache."""
TURNED = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 16, 17, 18, 19]
"""Joints that have one of the 22 below them and are therefore fitted; the others stay as the closed form has them."""


@frozen
class FitResult:
    """SMPL parameters of B clips of L frames, in the frame and unit (metres) of the joints they were fitted to.

    ``global_orient`` (B, L, 3), ``body_pose`` (B, L, 23, 3) axis-angle; ``betas`` (B, 10); ``transl`` (B, L, 3);
    ``residual_mm`` (B,): mean distance of the body's 22 joints from their targets over the clip's frames. If the bones
    of a retargeted motion stretch by more, it is that: no body can do it, and retargeting would hide it.
    """

    global_orient: Tensor
    body_pose: Tensor
    betas: Tensor
    transl: Tensor
    residual_mm: Tensor


@torch.no_grad()
def fit_smpl(
    body: Body,
    joints3d: Tensor,
    mask: Tensor | None = None,
    betas: Tensor | None = None,
    *,
    known: Tensor | None = None,
    skeleton: Tensor | None = None,
    iterations: int = ITERATIONS,
    smoothness: float = SMOOTHNESS,
) -> FitResult:
    """Fit the body to motions (PoseSyn Eq. 8).

    ``joints3d`` (B, L, 22, 3): SMPL's first 22 joints in metres, in any right-handed frame. ``mask`` (B, L) is False
    for padding, whose parameters come out as the rest pose. With ``betas`` (B, 10), the shape of the person who is
    to perform the motion (Eq. 7), the joints are first retargeted to that person's bone lengths; without, the shape is
    fitted too and the joints are matched where they are. A clip with a frame that is not finite, or whose legs have no
    length, gets the residual NaN; the others are not affected. ``smoothness`` is w_s of the energy above. Joints that
    are not ``known`` (B, L, 22) are hints, as good as a guess may be: the closed form starts from them, but nothing
    pulls the body there, and the residual leaves them out. ``skeleton`` (B, 24, 3) are the T-pose's joints of people
    of other proportions than any ``betas``, which must be given then, give the body.
    """
    given = torch.ones_like(joints3d[..., 0, 0], dtype=torch.bool) if mask is None else mask
    usable = given & joints3d.isfinite().all(-1).all(-1) & (_leg_length(joints3d) > 0)
    people = joints3d.new_zeros(len(joints3d), 10) if betas is None else betas
    average = (body.rest_joints(people.to(body.rest_template.dtype)) if skeleton is None else skeleton).double()
    growth = body.rest_shapedirs.double()[..., : 10 if betas is None else 0]
    used, at_rest = usable[..., None, None], average[:, :22]
    target = torch.where(used, joints3d.double(), at_rest[:, None])
    if betas is not None:
        target = torch.where(used, retarget_joints(target, at_rest, usable), at_rest[:, None])
    counted = usable[..., None].expand(target.shape[:-1]) if known is None else usable[..., None] & known
    clips = _Clips(target, pose_from_joints(target, average, usable), usable, counted.to(target), average, growth)
    state = _State(clips.start, target[:, :, 0], growth.new_zeros(len(target), growth.shape[-1]))
    for _ in range(iterations):
        state = _step(clips, state, smoothness)
    rest = clips.rest(state.shape)
    distances = 1000 * (_forward(state.rotations, state.root, rest)[0] - target).norm(dim=-1)
    distance = (distances * clips.known).sum(-1) / clips.known.sum(-1).clamp_min(1)
    misfit = _mean(distance, usable)
    if betas is not None:
        misfit = misfit.maximum(1000 * _stretch(joints3d.double().where(used, 0.0), usable))
    residual = torch.where((given == usable).all(1), misfit, torch.nan)
    rotvec = roma.rotmat_to_rotvec(state.rotations) * usable[..., None, None]
    found = state.shape if betas is None else people
    results = rotvec[:, :, 0], rotvec[:, :, 1:], found, state.root - rest[:, None, 0], residual
    return FitResult(*(result.to(joints3d.dtype) for result in results))


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, ...): mean of (B, L, ...) over the frames in ``mask`` (B, L); 0 for a clip without any."""
    share = mask / mask.sum(1, keepdim=True).clamp_min(1)
    return torch.einsum("bl...,bl->b...", values, share.to(values))


# ---- the Gauss-Newton step ---------------------------------------------------------------------------------------


@frozen(eq=False)
class _Clips:
    """What is to be fitted: ``target`` joints (B, L, 22, 3) of the frames in ``mask`` (B, L), those that are ``known``
    (B, L, 22; 1 or 0), by rotations near ``start`` (B, L, 24, 3, 3), with bodies whose joints at rest are ``average``
    (B, 24, 3) + ``growth`` (24, 3, K) x shape; K is 0 where the shape is given."""

    target: Tensor
    start: Tensor
    mask: Tensor
    known: Tensor
    average: Tensor
    growth: Tensor

    def rest(self, shape: Tensor) -> Tensor:
        return self.average + torch.einsum("bk,jak->bja", shape, self.growth)


@frozen(eq=False)
class _State:
    """The unknowns: ``rotations`` (B, L, 24, 3, 3), the pelvis ``root`` (B, L, 3) and ``shape`` (B, K)."""

    rotations: Tensor
    root: Tensor
    shape: Tensor


def _step(clips: _Clips, state: _State, smoothness: float) -> _State:
    """One Gauss-Newton step. U = T + 1 unknown vectors per frame: a small rotation of each of TURNED, the root's move.

    The frames' systems give their answer to the error and to each shape coefficient; what all frames then leave of
    the error decides on the shape.
    """
    joints, turned = _forward(state.rotations, state.root, clips.rest(state.shape))
    moves = torch.cat([(clips.target - joints)[..., None], _by_growing(turned, clips.growth)], dim=-1)
    moves = moves * clips.known[..., None, None]  # (B, L, 22, 3, 1 + K)
    pull, weight = _pulls(state.rotations, clips, smoothness)
    pull = turned[:, :, TURNED] @ pull[..., None]
    chunks = [x[clips.mask].split(FRAMES_AT_ONCE) for x in (joints, clips.known, moves, pull, weight)]
    solved = [_solve(*chunk) for chunk in zip(*chunks, strict=True)]
    torques, answers = (_padded(parts, clips.mask) for parts in zip(*solved, strict=True))
    grown = _shape_step(moves, torques, answers, state.shape, clips.mask)
    change = answers[..., 0] - torch.einsum("bluck,bk->bluc", answers[..., 1:], grown)
    turn = (turned[:, :, TURNED].mT @ change[:, :, :-1, :, None])[..., 0]
    rotations = state.rotations.clone()
    rotations[:, :, TURNED] = rotations[:, :, TURNED] @ roma.rotvec_to_rotmat(turn)
    return _State(rotations, state.root + change[:, :, -1], state.shape + grown)


def _forward(rotations: Tensor, root: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """The 22 joints (B, L, 22, 3), the pelvis at ``root`` (B, L, 3), and their global rotations (B, L, 22, 3, 3)."""
    clips, frames = root.shape[:2]
    flat_rest = rest[:, None].expand(-1, frames, -1, -1).flatten(0, 1)
    world, joints = rigid_chain(rotations.flatten(0, 1), flat_rest)
    joints = joints - joints[:, :1] + root.flatten(0, 1)[:, None]
    return joints[:, :22].unflatten(0, (clips, frames)), world[:, :22].unflatten(0, (clips, frames))


def _by_growing(turned: Tensor, growth: Tensor) -> Tensor:
    """(B, L, 22, 3, K): how joints move, the pelvis fixed, as the shape changes: the growth of all bones above them."""
    parents = list(HUMANML22.parents[1:])
    bones = turned[:, :, parents] @ (growth[1:22] - growth[parents])
    return torch.einsum("kj,bljac->blkac", _above()[:, 1:], bones)


def _pulls(rotations: Tensor, clips: _Clips, smoothness: float) -> tuple[Tensor, Tensor]:
    """What prior and smoothness ask of each joint: weighted rotation vectors (B, L, T, 3), and the weights (B, L)."""
    now, mask = rotations[:, :, TURNED], clips.mask
    pull = PRIOR_WEIGHT * roma.rotmat_to_rotvec(now.mT @ clips.start[:, :, TURNED])
    weight = torch.full_like(mask, PRIOR_WEIGHT, dtype=now.dtype)
    if now.shape[1] > 2 and smoothness > 0:
        before, middle, after = now[:, :-2], now[:, 1:-1], now[:, 2:]
        half = 0.5 * roma.rotmat_to_rotvec(before.mT @ after)
        between = roma.rotmat_to_rotvec(middle.mT @ before @ roma.rotvec_to_rotmat(half))
        coupled = smoothness * (mask[:, :-2] & mask[:, 1:-1] & mask[:, 2:]).to(now.dtype)
        pull[:, 1:-1] += coupled[..., None, None] * between
        weight[:, 1:-1] += coupled
    return pull, weight


def _solve(joints: Tensor, known: Tensor, moves: Tensor, pull: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The normal equations of N frames, axes of the clip: right-hand sides and solutions, both (N, U, 3, 1 + K).

    Turning joint j by a small w moves every joint k below it by w x (J_k - J_j), so forces f_k on the joints turn it
    by the sum of (J_k - J_j) x f_k, as on a lever. ``pull`` (N, T, 3, 1) comes on top of the first right-hand side.
    Joints that are not ``known`` (N, 22) neither move anything nor are asked to move.
    """
    axes = torch.eye(3, dtype=joints.dtype)
    lever = (joints[:, :, None] - joints[:, None, TURNED]) * _above()[:, TURNED, None]  # (N, 22, T, 3)
    lever = lever * known[..., None, None]
    right = _torques(lever, torch.cat([axes * known[..., None, None], moves], dim=-1))
    products = (lever.flatten(2).mT @ lever.flatten(2)).unflatten(2, (-1, 3)).unflatten(1, (-1, 3))  # (N, T, 3, T, 3)
    normal = joints.new_zeros(len(joints), right.shape[1], 3, right.shape[1], 3)  # its lower half is enough
    normal[:, :-1, :, :-1] = -products.transpose(2, 4)
    normal[:, :-1, :, :-1].diagonal(dim1=2, dim2=4).add_(products.diagonal(dim1=2, dim2=4).sum(-1)[..., None])
    normal[:, -1] = right[..., :3].permute(0, 3, 1, 2)
    normal = normal.flatten(3).flatten(1, 2)
    normal.diagonal(dim1=1, dim2=2)[:, :-3] += weight[:, None]
    right = right[..., 3:]
    right[:, :-1, :, :1] += pull
    factor = torch.linalg.cholesky_ex(normal).L  # does not raise: a degenerate clip must not stop the others
    return right, torch.cholesky_solve(right.flatten(1, 2), factor).view_as(right)


def _torques(lever: Tensor, forces: Tensor) -> Tensor:
    """(N, U, 3, C): what forces (N, 22, 3, C) on the joints do to the joints above, and last to the root."""
    p = (lever.flatten(2).mT @ forces.flatten(2)).unflatten(2, (3, -1)).unflatten(1, (-1, 3))  # (N, T, 3, 3, C)
    cross = p[:, :, 1, 2] - p[:, :, 2, 1], p[:, :, 2, 0] - p[:, :, 0, 2], p[:, :, 0, 1] - p[:, :, 1, 0]
    return torch.cat([torch.stack(cross, dim=2), forces.sum(1, keepdim=True)], dim=1)


def _padded(parts: Sequence[Tensor], mask: Tensor) -> Tensor:
    """The frames of all ``parts`` (N, ...) at their places in ``mask`` (B, L): (B, L, ...), 0 elsewhere."""
    everywhere = parts[0].new_zeros(*mask.shape, *parts[0].shape[1:])
    everywhere[mask] = torch.cat(tuple(parts))
    return everywhere


def _shape_step(moves: Tensor, torques: Tensor, answers: Tensor, shape: Tensor, mask: Tensor) -> Tensor:
    """(B, K): the change of shape, from what the frames' own unknowns leave of the normal equations of all."""
    left = torch.einsum("blkai,blkaj->bij", moves, moves) - torch.einsum("bluci,blucj->bij", torques, answers)
    ridge = SHAPE_WEIGHT * mask.sum(1).clamp_min(1)[:, None]
    normal = left[:, 1:, 1:] + torch.diag_embed(ridge.expand_as(shape))
    wanted = shape + torch.linalg.solve(normal, left[:, 1:, 0] - ridge * shape)
    return wanted.clamp(-LARGEST_BETA, LARGEST_BETA) - shape


def _above() -> Tensor:
    """(22, 22) float64: 1 where joint j (column) is joint k (row) or above it in the tree, so that it moves it."""
    above = torch.eye(22, dtype=torch.float64)
    for parent, joint in HUMANML22.bones:
        above[joint] += above[parent]
    return above


# ---- other people's proportions ----------------------------------------------------------------------------------


def retarget_joints(joints3d: Tensor, rest: Tensor, mask: Tensor) -> Tensor:
    """(B, L, 22, 3): the same motion performed by a body with the rest pose ``rest`` (B, 22, 3).

    Bones keep their direction and get the body's lengths. Hips and collars are set rigidly into pelvis and chest,
    because a body's width there is no matter of pose. The root's path is scaled like the legs, whose length is the
    mean over the frames in ``mask`` (B, L).
    """
    stride = _leg_length(rest) / _mean(_leg_length(joints3d), mask)
    rest = rest[:, None].expand_as(joints3d)
    pelvis = _triangle(joints3d, 1, 2, 0) @ _triangle(rest, 1, 2, 0).mT
    chest = _triangle(joints3d, 13, 14, 12) @ _triangle(rest, 13, 14, 12).mT
    moved = [stride[:, None, None] * joints3d[:, :, 0]]
    for parent, joint in HUMANML22.bones:
        bone, own = joints3d[:, :, joint] - joints3d[:, :, parent], rest[:, :, joint] - rest[:, :, parent]
        if joint in (1, 2, 13, 14):
            offset = ((pelvis if joint in (1, 2) else chest) @ own[..., None])[..., 0]
        else:
            offset = F.normalize(bone, dim=-1) * own.norm(dim=-1, keepdim=True)
        moved.append(moved[parent] + offset)
    return torch.stack(moved, dim=2)


def _stretch(joints3d: Tensor, mask: Tensor) -> Tensor:
    """(B,): how far bones are from their mean length over the clip, mean over bones and frames; a skeleton has 0."""
    length = (joints3d[:, :, 1:] - joints3d[:, :, list(HUMANML22.parents[1:])]).norm(dim=-1)
    return _mean((length - _mean(length, mask)[:, None]).abs().mean(-1), mask)


def _triangle(joints: Tensor, left: int, right: int, top: int) -> Tensor:
    """(..., 3, 3): the frame of a rigid part: from right to left, and then towards its top from between the two.

    For the chest the two are the collars and the top is the neck, for the pelvis hips and pelvis joint.
    """
    across = joints[..., left, :] - joints[..., right, :]
    upwards = joints[..., top, :] - 0.5 * (joints[..., left, :] + joints[..., right, :])
    return roma.special_gramschmidt(torch.stack([across, upwards], dim=-1))


def _leg_length(joints: Tensor) -> Tensor:
    """(...): thigh and shank, mean of both legs."""
    bones = joints[..., [4, 5, 7, 8], :] - joints[..., [1, 2, 4, 5], :]
    return bones.norm(dim=-1).sum(-1) / 2
