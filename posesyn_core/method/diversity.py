"""How different poses are: near-duplicates among them, and how much of other poses they cover.

Poses are compared as they are in the body's own frame, whatever way it faces: the hips give its sides, the neck its
upright. Between two poses lies the root of the mean squared distance of their joints, in mm.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from posesyn_core.geometry.skeletons import SMPL24

Floats = NDArray[np.floating]

_AT = {name: SMPL24.joints.index(name) for name in ("left_hip", "right_hip", "neck", "pelvis")}
_COMPARED = [at for at, name in enumerate(SMPL24.joints) if "hand" not in name]
MM = 1000.0
BLOCK = 512
"""Poses that are compared with all others together."""


def aligned(joints3d: Floats) -> NDArray[np.float32]:
    """SMPL's joints (N, 24, 3), metres, as vectors (N, 66) in the body's own frame, mm over the root of the joints'
    number: their Euclidean distance is that of the poses."""
    points = np.asarray(joints3d, np.float64)
    points = points - points[:, _AT["pelvis"], None]
    side = _unit(points[:, _AT["left_hip"]] - points[:, _AT["right_hip"]])
    up = points[:, _AT["neck"]]
    up = _unit(up - (up * side).sum(axis=-1, keepdims=True) * side)
    frame = np.stack([side, up, np.cross(side, up)], axis=1)  # (N, 3, 3): its rows are the axes
    own = np.einsum("nij,nkj->nki", frame, points[:, _COMPARED])
    return (MM * own / np.sqrt(len(_COMPARED))).reshape(len(points), -1).astype(np.float32)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float64)


def nearest(poses: Floats, others: Floats) -> NDArray[np.float32]:
    """(N,) how far each pose is from the closest of the ``others`` (M,), mm; infinite if there are none."""
    poses, others, found = poses.astype(np.float64), others.astype(np.float64), np.full(len(poses), np.inf, np.float32)
    if len(others):
        squares = (others**2).sum(axis=1)
        for at in range(0, len(poses), BLOCK):
            block = poses[at : at + BLOCK]
            distances = (block**2).sum(axis=1)[:, None] - 2 * block @ others.T + squares
            found[at : at + BLOCK] = np.sqrt(np.maximum(distances.min(axis=1), 0))
    return found


def capped(poses: Iterable[Floats], closer_mm: float, most: int) -> Iterator[bool]:
    """For each pose (66,) in turn, whether it stays: fewer than ``most`` that stayed are closer than ``closer_mm``."""
    stayed = np.empty((0, 3 * len(_COMPARED)), np.float32)
    count = 0
    for pose in poses:
        alike = int((((stayed[:count] - pose) ** 2).sum(axis=1) < closer_mm**2).sum())
        stays = alike < most
        if stays:
            if count == len(stayed):
                stayed = np.concatenate([stayed, np.empty((max(count, BLOCK), stayed.shape[1]), np.float32)])
            stayed[count] = pose
            count += 1
        yield stays


def flattened(poses: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(mean (66,), axes (66, 2)) of the plane in which poses (N, 66) differ most."""
    mean = poses.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(poses - mean, full_matrices=False)
    return mean, axes[:2].T
