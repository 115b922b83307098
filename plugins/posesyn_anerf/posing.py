"""The skeleton of a field, refined poses, and the convention of old checkpoints.

The body's 24 joints are SMPL's; the pelvis is added to every joint behind the chain, as the official code does it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from posesyn_core.body.skinning import rigid_chain
from posesyn_core.geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_six_d,
    six_d_to_matrix,
)
from posesyn_core.geometry.skeletons import SMPL24

TOLERANCE = 0.01
"""Squared change of a 6D number that the anchor's loss leaves alone."""


def pose(rotations: Tensor, rest_pose: Tensor, pelvis: Tensor) -> Tensor:
    """Joint frames -> world (B, 24, 4, 4): ``rotations`` (B, 24, 3, 3) against the parents, ``rest_pose`` (24, 3) or
    (B, 24, 3), ``pelvis`` (B, 3) added to all joints."""
    turned, joints = rigid_chain(rotations, rest_pose if rest_pose.dim() == 3 else rest_pose[None])
    frames = torch.zeros(*turned.shape[:2], 4, 4, dtype=turned.dtype, device=turned.device)
    frames[..., :3, :3], frames[..., :3, 3], frames[..., 3, 3] = turned, joints + pelvis[:, None], 1
    return frames


def invert(frames: Tensor) -> Tensor:
    """Rigid transforms (..., 4, 4) the other way round: world -> joint."""
    turned = frames[..., :3, :3].mT
    inverse = torch.zeros_like(frames)
    inverse[..., :3, :3], inverse[..., 3, 3] = turned, 1
    inverse[..., :3, 3] = -(turned @ frames[..., :3, 3:])[..., 0]
    return inverse


def rest_of(frames: Tensor) -> Tensor:
    """The rest pose (B, 24, 3), pelvis where it is, of joint frames (B, 24, 4, 4): each joint's offset turned back by
    its parent's rotation."""
    joints, parents = frames[..., :3, 3], list(SMPL24.parents[1:])
    offsets = (frames[:, parents, :3, :3].mT @ (joints[:, 1:] - joints[:, parents])[..., None])[..., 0]
    rest = [joints[:, 0]]
    for at, parent in enumerate(parents):
        rest.append(rest[parent] + offsets[:, at])
    return torch.stack(rest, dim=1)


class PoseLayer(nn.Module):
    """The poses of a training's frames, refined with the field: ``pelvis`` (N, 3), ``bones`` (N, 24, 6) in 6D or
    (N, 24, 3) axis-angle, and ``rest_pose`` (1, 24, 3). Names are the official checkpoint's."""

    rest_pose: Tensor

    def __init__(self, pelvis: Tensor, bones: Tensor, rest_pose: Tensor) -> None:
        super().__init__()
        self.pelvis, self.bones = nn.Parameter(pelvis), nn.Parameter(bones)
        self.register_buffer("rest_pose", rest_pose)

    def rotations(self, index: Tensor) -> Tensor:
        """(B, 24, 3, 3) of the poses ``index`` (B,)."""
        bones = self.bones[index]
        return six_d_to_matrix(bones, "interleaved") if bones.shape[-1] == 6 else axis_angle_to_matrix(bones)

    def forward(self, index: Tensor) -> Tensor:
        """Joint frames -> world (B, 24, 4, 4)."""
        rotations = self.rotations(index)
        return pose(rotations, self.rest_pose.expand(len(index), -1, -1), self.pelvis[index])

    def axis_angles(self) -> Tensor:
        """(N, 24, 3) of all poses."""
        return matrix_to_axis_angle(self.rotations(torch.arange(len(self.bones))))


def six_d_of(frames: Tensor) -> Tensor:
    """The six numbers (B, 24, 6) that are refined, of joint frames (B, 24, 4, 4): rotations against the parents."""
    turned = frames[..., :3, :3]
    against = turned[:, list(SMPL24.parents[1:])].mT @ turned[:, 1:]
    return matrix_to_six_d(torch.cat([turned[:, :1], against], dim=1), "interleaved")


def from_legacy(pelvis: Tensor, rest_pose: Tensor, bones: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pelvis (N, 3), rest pose (24, 3) and axis-angles (N, 24, 3) of an old checkpoint in today's axes.

    The pelvis' y and z are negated, rest pose and axis-angles go from (x, y, z) to (x, -z, y), and the root is turned
    by 90 degrees about x before.
    """
    pelvis = pelvis * torch.tensor([1.0, -1.0, -1.0], dtype=pelvis.dtype)
    rest_pose, bones = (torch.stack([x[..., 0], -x[..., 2], x[..., 1]], dim=-1) for x in (rest_pose, bones))
    quarter = torch.tensor([torch.pi / 2, 0, 0], dtype=bones.dtype)
    root = axis_angle_to_matrix(quarter) @ axis_angle_to_matrix(bones[:, 0])
    return pelvis, rest_pose, torch.cat([matrix_to_axis_angle(root)[:, None], bones[:, 1:]], dim=1)


# Losses of refined poses


def anchor_loss(layer: PoseLayer, index: Tensor, anchors: Tensor) -> Tensor:
    """How far the poses ``index`` (B,) have strayed from ``anchors`` (N, 24, 3, 3), rotations at the start.

    The squared changes of the 6D numbers beyond ``TOLERANCE``, summed per joint; mean over the joints below the root.
    """
    now, before = (matrix_to_six_d(each, "interleaved") for each in (layer.rotations(index), anchors[index]))
    return ((now - before) ** 2 - TOLERANCE).clamp(min=0).sum(dim=-1)[:, 1:].mean()


def temporal_loss(layer: PoseLayer, index: Tensor, valid: Tensor) -> Tensor:
    """How unsteadily the poses move: squared second differences of the joints' places and of the 6D numbers.

    Of each pose and the two before it (before the first comes the last), where ``valid`` (B,) is 1; mean over poses
    and joints.
    """

    def bend(values: Callable[[Tensor], Tensor]) -> Tensor:
        return (values(index) - 2 * values(index - 1) + values(index - 2)).square().sum(dim=-1).mean(dim=-1)

    joints = bend(lambda at: layer(at)[..., :3, 3])
    turns = bend(lambda at: matrix_to_six_d(layer.rotations(at), "interleaved"))
    return (valid * (joints + turns)).mean()


def mean_shift(layer: PoseLayer, index: Tensor, anchors: Tensor) -> Tensor:
    """MPJPC: mean distance of the joints of poses ``index`` (B,) from ``anchors`` (N, 24, 3), field units."""
    return (layer(index)[..., :3, 3] - anchors[index]).norm(dim=-1).mean()
