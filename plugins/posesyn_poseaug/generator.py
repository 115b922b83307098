"""The augmentor: three small networks that turn a pose into a harder one that is still human (PoseAug, Sec. 3.3).

BA bends bones (Eq. 4), BL changes their lengths (Eq. 5), RT turns and places the body before the camera (Eq. 6). Each
sees the original pose and noise; only the geometry is chained. Parameter names are those of the official code.
"""

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.training.adversarial import SLOPE, Stage, he_normal
from posesyn_core.training.dense import Linear
from posesyn_poseaug.skeleton import (
    BONES,
    JOINTS,
    LENGTH_GROUPS,
    bones_of,
    directions_of,
    lengths_of,
    pose_of,
    rooted,
    with_ratios,
)

PI = 3.1415
"""The largest rotation per axis: the official literal, not pi."""
KEPT_BONES = (6, 7)
"""Pelvis-spine and spine-thorax: BA leaves them (in the repository; the paper bends all)."""
NOISES = ("noise_ba", "noise_bl", "noise_rt_r", "noise_rt_t")
"""In the order in which a step draws them."""


@frozen
class GeneratorSizes:
    """The sizes of a generator; the defaults are the official ones."""

    width: int = 256
    noise: int = 48
    stages: int = 2
    largest_ratio: float = 0.2


class _Process(nn.Module):
    """A part of the generator; ``trunk`` adds the layers of one trunk under their official names."""

    def trunk(self, inputs: int, outputs: int, sizes: GeneratorSizes, names: tuple[str, str, str, str]) -> None:
        first, norm, stages, last = names
        self.add_module(first, Linear(inputs + sizes.noise, sizes.width))
        self.add_module(norm, nn.BatchNorm1d(sizes.width))
        self.add_module(stages, nn.ModuleList(Stage(sizes.width) for _ in range(sizes.stages)))
        self.add_module(last, Linear(sizes.width, outputs))

    def run(self, x: Tensor, names: tuple[str, str, str, str]) -> Tensor:
        """(N, inputs + noise) -> (N, outputs) through the trunk of those names."""
        first, norm, stages, last = (self.get_submodule(name) for name in names)
        x = nn.functional.leaky_relu(norm(first(x)), SLOPE)
        for stage in stages.children():
            x = stage(x)
        raw: Tensor = last(x)
        return raw


class BoneAngles(_Process):
    """BA: bends the bones of a pose."""

    NAMES = ("w1", "batch_norm1", "linear_stages", "w2")

    def __init__(self, sizes: GeneratorSizes) -> None:
        super().__init__()
        self.trunk(3 * JOINTS, 3 * BONES, sizes, self.NAMES)
        self.register_buffer("kept", _mask(KEPT_BONES), persistent=False)

    kept: Tensor

    def forward(self, pose: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 16, 3) -> the bent pose with the same root, and (N, 15) 1 - cos of the angle that each bone turned by."""
        raw = self.run(torch.cat([rooted(pose).flatten(1), noise], 1), self.NAMES).unflatten(1, (BONES, 3))
        bones = bones_of(pose)
        before = directions_of(bones)
        after = torch.where(self.kept[:, None], before, directions_of(before + raw))
        return pose_of(after * lengths_of(bones)) + pose[:, :1], 1 - (before * after).sum(-1)


class BoneLengths(_Process):
    """BL: stretches and shortens bones, left and right alike. The spine's ratio is 0, or else size and distance would
    be ambiguous."""

    NAMES = ("w1_BL", "batch_norm_BL", "linear_stages_BL", "w2_BL")
    FIXED = 4

    def __init__(self, sizes: GeneratorSizes) -> None:
        super().__init__()
        self.largest = sizes.largest_ratio
        self.trunk(3 * JOINTS + BONES, len(LENGTH_GROUPS), sizes, self.NAMES)
        free = torch.ones(len(LENGTH_GROUPS))
        free[self.FIXED] = 0
        self.register_buffer("free", free, persistent=False)

    free: Tensor

    def forward(self, pose: Tensor, bent: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The original and the bent pose (N, 16, 3) -> the latter with new lengths, and their ratios (N, 9)."""
        lengths = lengths_of(bones_of(pose))[..., 0]
        raw = self.run(torch.cat([rooted(pose).flatten(1), lengths, noise], 1), self.NAMES)
        ratios = self.largest * torch.tanh(raw * self.free)
        bones = bones_of(bent)
        stretched = directions_of(bones) * with_ratios(lengths_of(bones), ratios)
        return pose_of(stretched) + bent[:, :1], ratios


class RigidTransform(_Process):
    """RT: turns a pose about its root and places that anew; where it was is forgotten."""

    ROTATION = ("w1_R", "batch_norm_R", "linear_stages_R", "w2_R")
    TRANSLATION = ("w1_T", "batch_norm_T", "linear_stages_T", "w2_T")

    def __init__(self, sizes: GeneratorSizes) -> None:
        super().__init__()
        self.trunk(3 * JOINTS, 3, sizes, self.ROTATION)
        self.trunk(3 * JOINTS, 3, sizes, self.TRANSLATION)

    def forward(
        self, pose: Tensor, stretched: Tensor, noise_r: Tensor, noise_t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The original and the stretched pose -> the placed one, the axis-angle (N, 3), the new root (N, 1, 3).

        The depth is the square of what the network says, so it is never negative, but may be tiny.
        """
        flat = rooted(pose).flatten(1)
        turn = PI * torch.tanh(self.run(torch.cat([flat, noise_r], 1), self.ROTATION))
        place = self.run(torch.cat([flat, noise_t], 1), self.TRANSLATION)
        root = torch.cat([place[:, :2], place[:, 2:] ** 2], 1)[:, None]
        return rooted(stretched) @ rotation_matrix(turn).mT + root, turn, root


def rotation_matrix(axis_angle: Tensor) -> Tensor:
    """(N, 3) -> (N, 3, 3) as torchgeometry 0.1.2: its axis is angle / (angle + 1e-6) long, its matrix not quite
    orthogonal; for tiny angles it is I + [r]x."""
    squared = (axis_angle**2).sum(-1, keepdim=True)
    small = squared <= 1e-6
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    axis = axis_angle / (angle + 1e-6)
    sine, cosine = angle.sin()[..., None], angle.cos()[..., None]
    outer = axis[:, :, None] * axis[:, None, :]
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    large_matrix = cosine * identity + sine * _cross(axis) + (1 - cosine) * outer
    return torch.where(small[..., None], identity + _cross(axis_angle), large_matrix)


def _cross(v: Tensor) -> Tensor:
    """(N, 3) -> (N, 3, 3) the matrix [v]x."""
    zero = torch.zeros_like(v[:, 0])
    x, y, z = v.unbind(1)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).unflatten(1, (3, 3))


def _mask(bones: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(BONES, dtype=torch.bool)
    mask[list(bones)] = True
    return mask


@frozen(eq=False)
class Augmented:
    """A batch of poses after each step; what was switched off leaves the pose as it was and its change at 0."""

    pose_ba: Tensor
    ba_diff: Tensor
    pose_bl: Tensor
    blr: Tensor
    pose_rt: Tensor
    rt_r: Tensor
    rt_t: Tensor


class Generator(nn.Module):
    """All three; ``operations`` names those that act ("ba", "bl", "rt": Table 5's variants leave some out)."""

    def __init__(
        self, sizes: GeneratorSizes | None = None, operations: frozenset[str] = frozenset({"ba", "bl", "rt"})
    ) -> None:
        """Random weights: He's for the linear layers."""
        super().__init__()
        self.sizes = sizes = sizes or GeneratorSizes()
        self.operations = operations
        self.BAprocess = BoneAngles(sizes)
        self.BLprocess = BoneLengths(sizes)
        self.RTprocess = RigidTransform(sizes)
        he_normal(self)

    def forward(
        self, poses: Tensor, noise_ba: Tensor, noise_bl: Tensor, noise_rt_r: Tensor, noise_rt_t: Tensor
    ) -> Augmented:
        """``poses`` (N, 16, 3) and four draws (N, noise) from the normal distribution."""
        pose_ba, ba_diff = poses, poses.new_zeros(len(poses), BONES)
        if "ba" in self.operations:
            pose_ba, ba_diff = self.BAprocess(poses, noise_ba)
        pose_bl, blr = pose_ba, poses.new_zeros(len(poses), len(LENGTH_GROUPS))
        if "bl" in self.operations:
            pose_bl, blr = self.BLprocess(poses, pose_ba, noise_bl)
        pose_rt, turn, root = pose_bl, poses.new_zeros(len(poses), 3), pose_bl[:, :1]
        if "rt" in self.operations:
            pose_rt, turn, root = self.RTprocess(poses, pose_bl, noise_rt_r, noise_rt_t)
        return Augmented(pose_ba, ba_diff, pose_bl, blr, pose_rt, turn, root)
