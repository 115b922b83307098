"""The joint sets of 3DCrowdNet, by the official names, and how every other set is brought into its 30 joints.

Official code identifies joints by name, across sets: COCO's middle of the hips is "Pelvis" like SMPL's joint 0, MPII's
upper neck is "Neck". That is looser than :mod:`posesyn_core.geometry.skeletons` (which keeps such points apart), and it
is what the published networks were trained with.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.geometry.skeletons import SMPL24, convert

Names = tuple[str, ...]

_SMPL: Names = (
    *("Pelvis", "L_Hip", "R_Hip", "Torso", "L_Knee", "R_Knee", "Spine", "L_Ankle", "R_Ankle", "Chest"),
    *("L_Toe", "R_Toe", "Neck", "L_Thorax", "R_Thorax", "Head", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow"),
    *("L_Wrist", "R_Wrist", "L_Hand", "R_Hand"),
)
SUPERSET: Names = (*_SMPL, "Nose", "L_Eye", "R_Eye", "L_Ear", "R_Ear", "Head_top")
"""The 30 joints of the network's input and of its losses: SMPL's 24, five of the face, the head's top."""
FACE_VERTICES = (331, 2802, 6262, 3489, 3990)
"""Vertices of SMPL's mesh that stand for nose, left and right eye, left and right ear."""
SMPL_VERTICES = 6890
EXTRA_HEAD_TOP = 3
"""Row of ``J_regressor_extra.npy`` (SPIN's file) that is the head's top."""

GRAPH: Names = (
    *("Pelvis", "L_Hip", "R_Hip", "L_Knee", "R_Knee", "L_Ankle", "R_Ankle", "Neck", "Head_top"),
    *("L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow", "L_Wrist", "R_Wrist"),
)
"""The 15 joints that the network locates in the crop and whose graph it computes on."""
GRAPH_EDGES = (
    *((0, 1), (1, 3), (3, 5), (0, 2), (2, 4), (4, 6), (0, 7), (7, 8)),
    *((7, 9), (9, 11), (11, 13), (7, 10), (10, 12), (12, 14)),
)

COCO: Names = (
    *("Nose", "L_Eye", "R_Eye", "L_Ear", "R_Ear", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow"),
    *("L_Wrist", "R_Wrist", "L_Hip", "R_Hip", "L_Knee", "R_Knee", "L_Ankle", "R_Ankle"),
)
MPII: Names = (
    *("R_Ankle", "R_Knee", "R_Hip", "L_Hip", "L_Knee", "L_Ankle", "Pelvis", "Thorax", "Neck", "Head_top"),
    *("R_Wrist", "R_Elbow", "R_Shoulder", "L_Shoulder", "L_Elbow", "L_Wrist"),
)
HUMAN36M: Names = (
    *("Pelvis", "R_Hip", "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "Torso", "Neck", "Nose", "Head_top"),
    *("L_Shoulder", "L_Elbow", "L_Wrist", "R_Shoulder", "R_Elbow", "R_Wrist"),
)
MUCO: Names = (
    *("Head_top", "Thorax", "R_Shoulder", "R_Elbow", "R_Wrist", "L_Shoulder", "L_Elbow", "L_Wrist"),
    *("R_Hip", "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "Pelvis", "Spine", "Head"),
    *("R_Hand", "L_Hand", "R_Toe", "L_Toe"),
)
CROWDPOSE: Names = (
    *("L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow", "L_Wrist", "R_Wrist", "L_Hip", "R_Hip"),
    *("L_Knee", "R_Knee", "L_Ankle", "R_Ankle", "Head_top", "Neck"),
)
OPENPOSE18: Names = (
    *("Nose", "Neck", "R_Shoulder", "R_Elbow", "R_Wrist", "L_Shoulder", "L_Elbow", "L_Wrist"),
    *("R_Hip", "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "R_Eye", "L_Eye", "R_Ear", "L_Ear"),
)
_LSP: Names = (*MPII[:6], *MPII[10:], "Neck", "Head_top")
_OPENPOSE25: Names = (*OPENPOSE18[:8], "Pelvis", *OPENPOSE18[8:], *[""] * 6)  # its toes and heels are none of SMPL's

DETECTED = frozenset({*COCO, "Pelvis", "Neck"})
"""What a 2D detector gives the network. Frames labelled with all of SMPL's joints are shown to it with these alone."""

NAMES: Mapping[str, Names] = {
    "smpl24": tuple(name if name in DETECTED else "" for name in _SMPL),
    "humanml22": tuple(name if name in DETECTED else "" for name in _SMPL[:22]),
    "mpii16": MPII,
    "coco17": COCO,
    "h36m17": HUMAN36M,
    "lsp14": _LSP,
    "openpose25": _OPENPOSE25,
}
"""PoseSyn's joint sets by the official names; "" is a joint that the network has no use for."""

MIDDLES: Mapping[str, tuple[str, str]] = {"Pelvis": ("L_Hip", "R_Hip"), "Neck": ("L_Shoulder", "R_Shoulder")}


def flip_order(names: Names) -> NDArray[np.intp]:
    """(J,) the permutation that swaps left and right."""
    swap = {"L": "R_", "R": "L_"}
    mirrored = [swap[name[0]] + name[2:] if name[1:2] == "_" else name for name in names]
    return np.array([names.index(other) if other in names else at for at, other in enumerate(mirrored)])


@lru_cache
def superset_index(names: Names) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices into the 30 joints and into ``names`` of what both have."""
    common = [(SUPERSET.index(name), at) for at, name in enumerate(names) if name in SUPERSET]
    there, here = np.array(common, dtype=np.intp).T
    return there, here


def to_superset(values: ArrayLike, names: Names) -> NDArray:
    """Values (J, ...) of the joints ``names`` in the order of the 30 joints; 0 where a joint is missing."""
    given = np.asarray(values)
    there, here = superset_index(names)
    result = np.zeros((len(SUPERSET), *given.shape[1:]), given.dtype)
    result[there] = given[here]
    return result


def with_middles(joints: NDArray[np.float64], names: Names, wanted: Sequence[str]) -> tuple[NDArray[np.float64], Names]:
    """Append the middles ("Pelvis", "Neck") that the set lacks: joints (J, 3: x, y, confidence) and their names.

    A middle is the mean of the two joints, its confidence their product, as official loaders have it. A set without
    both joints gets none.
    """
    for middle in wanted:
        parts = MIDDLES[middle]
        if middle not in names and all(part in names for part in parts):
            pair = joints[[names.index(part) for part in parts]]
            joints = np.concatenate([joints, [[*pair[:, :2].mean(0), pair[:, 2].prod()]]])
            names = (*names, middle)
    return joints, names


def official_joints(joint_set: str, points: ArrayLike, confidence: ArrayLike) -> tuple[NDArray[np.float64], Names]:
    """One of PoseSyn's joint sets by the official names: joints (J, 3: x, y, confidence), missing middles appended.

    A set that the official code does not know is first converted to SMPL's joints.
    """
    xy, c = np.asarray(points, np.float64), np.asarray(confidence, np.float64)
    if joint_set not in NAMES:
        converted, valid = convert(xy, c > 0, joint_set, SMPL24.name)
        joint_set, xy, c = SMPL24.name, converted.astype(np.float64), valid.astype(np.float64)
    return with_middles(np.column_stack([xy, c]), NAMES[joint_set], tuple(MIDDLES))
