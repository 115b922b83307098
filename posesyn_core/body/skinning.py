"""Linear blend skinning: joints along the kinematic tree, and the surface that follows them.

As in "SMPL: A Skinned Multi-Person Linear Model" (Loper et al., 2015), section 3.1. Everything here is batched,
differentiable, of the dtype and on the device of its arguments, and free of data-dependent control flow.
"""

import torch
from torch import Tensor

from posesyn_core.geometry.skeletons import SMPL24

_PARENTS = list(SMPL24.parents[1:])
"""Of joints 1 to 23."""


def _generations() -> list[tuple[slice, slice | list[int]]]:
    """The joints below the root by their distance from it, and where their parents stand in the generation before.

    SMPL's joints are listed generation by generation, so that each is a slice.
    """
    depth = [0]
    for parent in _PARENTS:
        depth.append(depth[parent] + 1)
    found: list[tuple[slice, slice | list[int]]] = []
    for level in range(1, depth[-1] + 1):
        first, before = depth.index(level), depth.index(level - 1)
        joints = slice(first, first + depth.count(level))
        parents = [SMPL24.parents[joint] - before for joint in range(joints.start, joints.stop)]
        row = slice(parents[0], parents[-1] + 1)
        found.append((joints, row if parents == list(range(row.start, row.stop)) else parents))
    return found


_GENERATIONS = _generations()


def rigid_chain(rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Pose a skeleton of SMPL's 24 joints.

    ``rotations`` (B, 24, 3, 3) of each joint relative to its parent; ``rest`` (B or 1, 24, 3) the joints of the
    T-pose. Returns the joints' rotations against the T-pose (B, 24, 3, 3) and their positions (B, 24, 3) in the unit
    of ``rest``; the root stays where it rests.
    """
    rest = rest.expand(rotations.shape[0], -1, -1)
    turned = [rotations[:, :1]]
    for joints, parents in _GENERATIONS:
        turned.append(turned[-1][:, parents] @ rotations[:, joints])
    world = torch.cat(turned, dim=1)
    bones = (world[:, _PARENTS] @ (rest[:, 1:] - rest[:, _PARENTS])[..., None])[..., 0]
    placed = [rest[:, :1]]
    for joints, parents in _GENERATIONS:
        placed.append(placed[-1][:, parents] + bones[:, joints.start - 1 : joints.stop - 1])
    return world, torch.cat(placed, dim=1)


def pose_feature(rotations: Tensor) -> Tensor:
    """(B, 207): what SMPL's pose blend shapes are multiplied with, from joint rotations (B, 24, 3, 3)."""
    return (rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)).flatten(1)


def skin(points: Tensor, weights: Tensor, world: Tensor, joints: Tensor, rest: Tensor) -> Tensor:
    """Points of the T-pose's surface (B or 1, V, 3) -> where the posed skeleton takes them (B, V, 3).

    ``weights`` (V, 24): how much each follows each joint; ``world`` and ``joints`` as :func:`rigid_chain` returns
    them for the joints ``rest`` (B or 1, 24, 3). It is fastest if ``points`` and ``weights`` lie in memory with V as
    their last axis.
    """
    offsets = joints - (world @ rest[..., None])[..., 0]
    columns = torch.cat([world, offsets[..., None]], dim=-1).permute(0, 3, 2, 1)
    move = (columns.flatten(1, 2) @ weights.mT).unflatten(1, (4, 3))
    across = points.mT
    moved = move[:, 3]
    for axis in range(3):
        moved = torch.addcmul(moved, move[:, axis], across[:, axis : axis + 1])
    return moved.mT.contiguous()
