"""Where a posed person can be at all: near its bones. Elsewhere a field of that person is empty, and is not asked."""

import torch
from torch import Tensor

from posesyn_core.geometry.skeletons import SMPL24

PARENTS = [0, *SMPL24.parents[1:]]
WIDEST = torch.tensor(
    [0.24, 0.22, 0.22, 0.24, 0.2, 0.2, 0.24, 0.16, 0.16, 0.24, 0.18, 0.18, 0.22, 0.22, 0.22, 0.3, 0.2, 0.2, 0.16, 0.16,
     0.14, 0.14, 0.16, 0.16]
)  # fmt: skip
"""Metres about the bone from each joint's parent to the joint: wider than a dressed adult; head, hands, feet end there.
"""


def near_bones(points: Tensor, joints: Tensor, radii: Tensor) -> Tensor:
    """(R, S) whether points (R, S, 3) lie within ``radii`` (24,) of the bones of skeletons (R or 1, 24, 3)."""
    return (_squared(points, joints) < radii**2).any(dim=-1)


def nearest_bone(points: Tensor, joints: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (R, S) from the bone that is nearest in terms of its radius, and which it is."""
    share, bone = (_squared(points, joints) / radii**2).min(dim=-1)
    return share.sqrt() * radii[bone], bone


def _squared(points: Tensor, joints: Tensor) -> Tensor:
    """(R, S, 24) squared distances from the bones."""
    start = joints[:, PARENTS]
    bone = joints - start
    length = bone.square().sum(-1)[:, None]
    along = points @ bone.mT - (start * bone).sum(-1)[:, None]
    apart = points.square().sum(-1, keepdim=True) - 2 * points @ start.mT + start.square().sum(-1)[:, None]
    share = (along / length.clamp(min=1e-9)).clamp(0, 1)
    return (apart - share * (2 * along - share * length)).clamp(min=0)
