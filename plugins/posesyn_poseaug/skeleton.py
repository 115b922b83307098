"""The 16 joints of PoseAug, their 15 bones, and the kinematic chain space (KCS) of those.

Joints: Human3.6M's usual 17 without the neck/nose, root first. Bone b belongs to joint b + 1 and is the vector from the
joint *to its parent*, as in the official code: ``bone = parent - child``. Poses are (N, 16, 3) metres in the camera
frame (x right, y down, z away), bones (N, 15, 3). Everything here is differentiable and of the dtype it is given.
"""

import torch
from torch import Tensor

PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 8, 10, 11, 8, 13, 14)
"""Of hip, right hip, knee, foot, left hip, knee, foot, spine, thorax, head, left shoulder, elbow, wrist, right ones."""
JOINTS, BONES = len(PARENTS), len(PARENTS) - 1
LEFT, RIGHT = (4, 5, 6, 10, 11, 12), (1, 2, 3, 13, 14, 15)
FLIP = tuple(dict(zip((*LEFT, *RIGHT), (*RIGHT, *LEFT), strict=True)).get(joint, joint) for joint in range(JOINTS))
"""Where each joint of a mirrored pose comes from."""

PARTS = ((7, 9, 10, 11), (7, 12, 13, 14), (0, 1, 2, 3, 6), (0, 3, 4, 5, 6), (0, 3, 6, 7, 8, 9, 12))
"""The bones of the part-aware KCS: left arm, right arm, right leg, left leg, trunk (officially lh, rh, ll, rl, hb: the
legs are swapped by name there)."""

LENGTH_GROUPS = ((0, 3), (1, 4), (2, 5), (6,), (7,), (8,), (9, 12), (10, 13), (11, 14))
"""The bones that share a length: hips, thighs, shins, spine, thorax, head, clavicles, upper arms, forearms."""

_PARENT_INDEX = torch.tensor(PARENTS[1:])


def _paths() -> Tensor:
    """(16, 15) which bones lead from the root to each joint."""
    paths = torch.zeros(JOINTS, BONES)
    for joint in range(1, JOINTS):
        paths[joint] = paths[PARENTS[joint]]
        paths[joint, joint - 1] = 1
    return paths


_PATHS = _paths()


def bones_of(pose: Tensor) -> Tensor:
    """(N, 16, 3) joints -> (N, 15, 3) bones, each from the joint to its parent."""
    return pose[:, _PARENT_INDEX.to(pose.device)] - pose[:, 1:]


def pose_of(bones: Tensor) -> Tensor:
    """(N, 15, 3) bones -> (N, 16, 3) joints with the root at the origin."""
    return -_PATHS.to(bones) @ bones


def lengths_of(bones: Tensor) -> Tensor:
    """(N, 15, 3) bones -> (N, 15, 1) lengths."""
    return torch.linalg.vector_norm(bones, dim=-1, keepdim=True)


def directions_of(bones: Tensor) -> Tensor:
    """(N, 15, 3) bones -> (N, 15, 3) unit bones; a bone without length has none, and gets NaN as officially."""
    return bones / lengths_of(bones)


def rooted(pose: Tensor) -> Tensor:
    """The pose (N, J, 3) relative to its first joint."""
    return pose - pose[:, :1]


def with_ratios(lengths: Tensor, ratios: Tensor) -> Tensor:
    """Eq. 5: lengths (N, 15, 1) times 1 + ratios (N, 9) of the groups that share a length."""
    groups = torch.empty(BONES, dtype=torch.long)
    for at, bones in enumerate(LENGTH_GROUPS):
        groups[list(bones)] = at
    return lengths * (1 + ratios[:, groups.to(ratios.device), None])


def with_lengths(pose: Tensor, lengths: Tensor) -> Tensor:
    """The pose (N, 16, 3) with the bone lengths (N, 15): directions and root stay (the template step)."""
    return pose_of(directions_of(bones_of(pose)) * lengths[..., None]) + pose[:, :1]


def kcs(bones: Tensor) -> Tensor:
    """(N, B, 3) bones -> (N, B, B) their inner products: Psi = B B^T (Wandt and Rosenhahn, CVPR 2019)."""
    return bones @ bones.mT


def part_kcs(bones: Tensor, part: tuple[int, ...]) -> Tensor:
    """Eq. 7: (N, 15, 15) inner products of the bones of ``part``, 0 for the others."""
    keep = torch.zeros(BONES, 1, dtype=bones.dtype, device=bones.device)
    keep[list(part)] = 1
    return kcs(bones * keep)
