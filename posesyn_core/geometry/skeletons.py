"""Joint sets by name, and conversions between them.

Sets and their joints carry the field's names; but the field uses one word for several points of the body, so every
set also says which *point* each joint is (:attr:`JointSet.points`), and only equal points are ever identified:

- Limb joints (hips, knees, ankles, shoulders, elbows, wrists) and face points (nose, eyes, ears) of equal name are one
  point in all sets. For SMPL's kinematic hips and shoulders that is the field's convention, off by a few centimetres.
- ``mid_hips``: the "pelvis" of MPII and Human3.6M and OpenPose's "mid_hip" are midpoints of the hips by construction.
  SMPL's pelvis is another point, about 9 cm above it, and is never taken for it.
- ``mid_shoulders``: MPII's "thorax" and OpenPose's "neck" are midpoints of the shoulders by construction. Human3.6M's
  "thorax" (4-8 cm off it) and JHMDB's "neck" are not, nor are the kinematic neck and head of SMPL.
- ``upper_neck`` and ``head_top``: MPII's joints of that name and LSP's "neck" and "head top" (so identified by SPIN).
- All else (SMPL's spine, collars, feet, hands; Human3.6M's spine, nose and head; JHMDB's belly and face; OpenPose's
  toes and heels; BlazePose's fingers, heels and toes) belongs to its own set alone.

The midpoints are derived where a set lacks them. What cannot be had in these ways is missing; nothing is guessed.

A plugin brings a set of its own through the hook ``register_joint_sets``. Joints of its own that are not the points
listed here need names of their own in ``renamed``.
"""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType

import numpy as np
from attrs import field, frozen
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import UserError

HIPS = ("left_hip", "right_hip")

MIDPOINTS: Mapping[str, tuple[str, str]] = {
    "mid_hips": HIPS,
    "mid_shoulders": ("left_shoulder", "right_shoulder"),
}
"""The points that are derived where a set lacks them, with the two whose mean they are."""


@frozen
class JointSet:
    """A named, ordered set of J joints.

    ``parents`` (J,): index of the joint that each hangs on, -1 for the root of the tree (it serves for drawing where a
    data set has no kinematic tree). ``root`` holds the joints whose mean is the root of Eq. 1 and Eq. 6: the pelvis,
    or both hips where a set has none. ``renamed`` gives the point of a joint whose name alone would mislead,
    ``aliases`` the joint (of ``joints``) that files call otherwise.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    root: tuple[int, ...]
    description: str
    renamed: Mapping[str, str] = field(factory=dict, eq=False, repr=False)
    aliases: Mapping[str, str] = field(factory=dict, eq=False, repr=False)

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def points(self) -> tuple[str, ...]:
        """(J,) the point of the body that each joint is; equal points of two sets are identified."""
        return tuple(self.renamed.get(joint, joint) for joint in self.joints)

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The (left, right) pairs of joint indices."""
        return tuple(
            (at, self.joints.index(joint.replace("left_", "right_")))
            for at, joint in enumerate(self.joints)
            if joint.startswith("left_")
        )

    @cached_property
    def flip(self) -> NDArray[np.intp]:
        """(J,) the permutation that swaps left and right: ``points[..., flip, :]`` after mirroring the image."""
        permutation = np.arange(len(self))
        left, right = np.array(self.pairs).T
        permutation[left], permutation[right] = right, left
        permutation.setflags(write=False)
        return permutation

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """The (parent, child) pairs of joint indices, for drawing."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)


def joint_set(name: str) -> JointSet:
    """The joint set of that name; UserError naming the known ones otherwise."""
    try:
        return JOINT_SETS[name]
    except KeyError:
        raise UserError(f"there is no joint set {name!r}; known are {', '.join(JOINT_SETS)}") from None


def register(new: JointSet) -> None:
    """Make a set known by its name; the same set may come again.

    UserError if another one has the name, and for a set whose parts don't fit together.
    """
    places = range(-1, len(new))
    sound = len(new.parents) == len(new) == len(set(new.joints)) == len(set(new.points)) and len(new.root) > 0
    if not sound or not all(at in places for at in (*new.parents, *new.root)):
        raise UserError(
            f"joint set {new.name!r} needs joints of different names and points, a parent for each, and a root"
        )
    known = _SETS.setdefault(new.name, new)
    if known != new or known.points != new.points:
        raise UserError(f"there is another joint set {new.name!r} already; give this one a name of its own")


@lru_cache
def shared_root(source: str, target: str) -> tuple[int, ...]:
    """The joints of ``target`` whose mean is the root where joints of ``source`` are compared with it.

    The one rule for roots: the target's own where the source has it, else the hips, whose middle every set with hips
    has. UserError if that can't be had either.
    """
    derivable = (conversion(source, target) != 0).any(1)
    for root in (joint_set(target).root, hips(target)):
        if root and derivable[list(root)].all():
            return root
    raise UserError(f"joints of {source!r} and {target!r} can't be compared: they share neither root nor hips")


@lru_cache
def hips(name: str) -> tuple[int, ...]:
    """The places of both hips in the joint set; empty if it lacks one."""
    points = joint_set(name).points
    return tuple(map(points.index, HIPS)) if set(HIPS) <= set(points) else ()


def convert(
    points: ArrayLike, valid: ArrayLike | None, source: str, target: str
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """The joints of set ``target`` out of those of set ``source``.

    ``points`` (..., J, D) in any unit, ``valid`` (..., J) which of them are known (None: all). A point that is not
    finite counts as unknown. Returns points (..., K, D) and valid (..., K): a joint is valid if all the joints it
    derives from are, and 0 otherwise, as annotation files write a missing joint.
    """
    given = np.asarray(points)
    given = given if np.issubdtype(given.dtype, np.floating) else given.astype(np.float64)
    known = np.isfinite(given).all(axis=-1)
    if valid is not None:
        known = known & np.asarray(valid, dtype=bool)
    matrix = conversion(source, target)
    if given.shape[-2] != matrix.shape[1]:
        raise ValueError(f"{source} has {matrix.shape[1]} joints, not {given.shape[-2]}")
    used = matrix != 0
    derived = used.any(axis=1) & (known @ used.T.astype(np.float32) == used.sum(axis=1))
    converted = matrix.astype(given.dtype) @ np.where(known[..., None], given, 0)
    return np.where(derived[..., None], converted, 0).astype(given.dtype), derived


@lru_cache
def conversion(source: str, target: str) -> NDArray[np.float64]:
    """(K, J) matrix that takes the joints of ``source`` to those of ``target``; a joint not to be had is a row of 0."""
    have, want = joint_set(source).points, joint_set(target).points
    matrix = np.zeros((len(want), len(have)))
    for row, point in zip(matrix, want, strict=True):
        parts = (point,) if point in have else MIDPOINTS.get(point, ())
        if parts and all(part in have for part in parts):
            row[[have.index(part) for part in parts]] = 1 / len(parts)
    matrix.setflags(write=False)
    return matrix


# The kinematic tree of SMPL; its first 22 joints are those of HumanML3D.
_SMPL_JOINTS = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"),
    *("spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hand", "right_hand"),
)
_SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
_SMPL_RENAMED = {"neck": "smpl_neck", "head": "smpl_head"}

SMPL24 = JointSet(
    name="smpl24",
    joints=_SMPL_JOINTS,
    parents=_SMPL_PARENTS,
    root=(0,),
    description="The 24 joints of SMPL",
    renamed=_SMPL_RENAMED,
)

HUMANML22 = JointSet(
    name="humanml22",
    joints=_SMPL_JOINTS[:22],
    parents=_SMPL_PARENTS[:22],
    root=(0,),
    description="HumanML3D: SMPL's joints without the hands",
    renamed=_SMPL_RENAMED,
)

MPII16 = JointSet(
    name="mpii16",
    joints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    parents=(1, 2, 6, 6, 3, 4, -1, 6, 7, 8, 11, 12, 7, 7, 13, 14),
    root=(6,),
    description="MPII Human Pose, in the order of its official files",
    renamed={"pelvis": "mid_hips", "thorax": "mid_shoulders"},
)

COCO17 = JointSet(
    name="coco17",
    joints=(
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    parents=(-1, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    root=(11, 12),
    description="COCO person keypoints",
)

H36M17 = JointSet(
    name="h36m17",
    joints=(
        *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
        *("spine", "thorax", "nose", "head"),
        *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    root=(0,),
    description="Human3.6M, the usual 17 of its 32 joints (rows 0-3, 6-8, 12-15, 17-19, 25-27)",
    renamed={
        "pelvis": "mid_hips",
        "spine": "h36m_spine",
        "thorax": "h36m_thorax",
        "nose": "h36m_nose",
        "head": "h36m_head",
    },
    aliases={
        **{"root": "pelvis", "root_pelvis": "pelvis", "hip": "pelvis", "neck_base": "nose", "neck_nose": "nose"},
        **{f"{side}_foot": f"{side}_ankle" for side in ("left", "right")},
    },
)

H36M16 = JointSet(
    name="h36m16",
    joints=(
        *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
        *("spine", "thorax", "head", "left_shoulder", "left_elbow", "left_wrist"),
        *("right_shoulder", "right_elbow", "right_wrist"),
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 8, 10, 11, 8, 13, 14),
    root=(0,),
    description="Human3.6M's 17 joints without the nose, as 2D-to-3D lifters have them (PoseAug, SemGCN)",
    renamed={joint: point for joint, point in H36M17.renamed.items() if joint != "nose"},
    aliases={alias: joint for alias, joint in H36M17.aliases.items() if joint != "nose"},
)

LSP14 = JointSet(
    name="lsp14",
    joints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
        *("neck", "head_top"),
    ),
    parents=(1, 2, 8, 9, 3, 4, 7, 8, 12, 12, 9, 10, -1, 12),
    root=(2, 3),
    description="Leeds Sports Pose and its extended training set",
    renamed={"neck": "upper_neck"},
)

OPENPOSE25 = JointSet(
    name="openpose25",
    joints=(
        *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist"),
        *("left_shoulder", "left_elbow", "left_wrist", "mid_hip"),
        *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
        *("right_eye", "left_eye", "right_ear", "left_ear"),
        *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
    ),
    parents=(1, 8, 1, 2, 3, 1, 5, 6, -1, 8, 9, 10, 8, 12, 13, 0, 0, 15, 16, 14, 19, 14, 11, 22, 11),
    root=(8,),
    description="OpenPose BODY_25",
    renamed={"neck": "mid_shoulders", "mid_hip": "mid_hips"},
)

_HAND = ("pinky", "index", "thumb")
_FOOT = ("heel", "foot_index")
_FACE = ("eye_inner", "eye", "eye_outer")

BLAZEPOSE33 = JointSet(
    name="blazepose33",
    joints=(
        *("nose", *(f"left_{part}" for part in _FACE), *(f"right_{part}" for part in _FACE)),
        *(f"{side}_{part}" for part in ("ear", "mouth") for side in ("left", "right")),
        *(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", *_HAND) for side in ("left", "right")),
        *(f"{side}_{part}" for part in ("hip", "knee", "ankle", *_FOOT) for side in ("left", "right")),
    ),
    parents=(
        *(-1, 0, 1, 2, 0, 4, 5, 3, 6, 0, 0),
        *(0, 0, 11, 12, 13, 14, 15, 16, 15, 16, 15, 16),
        *(11, 12, 23, 24, 25, 26, 27, 28, 29, 30),
    ),
    root=(23, 24),
    description="BlazePose GHUM (MediaPipe Pose): face, limbs, three points of each hand, two of each foot",
    renamed={
        f"{side}_{part}": f"blazepose_{side}_{part}"
        for part in ("eye_inner", "eye_outer", "mouth", *_HAND, *_FOOT)
        for side in ("left", "right")
    },
)

JHMDB15 = JointSet(
    name="jhmdb15",
    joints=(
        *("neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip"),
        *("right_elbow", "left_elbow", "right_knee", "left_knee"),
        *("right_wrist", "left_wrist", "right_ankle", "left_ankle"),
    ),
    parents=(1, -1, 0, 0, 0, 1, 1, 3, 4, 5, 6, 7, 8, 9, 10),
    root=(5, 6),
    description="JHMDB, joints of an articulated puppet fitted to the person",
    renamed={"neck": "jhmdb_neck"},
    aliases={"head": "face"},
)

PANOPTIC19 = JointSet(
    name="panoptic19",
    joints=(
        *("neck", "nose", "mid_hip", "left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee"),
        *("left_ankle", "right_shoulder", "right_elbow", "right_wrist", "right_hip", "right_knee", "right_ankle"),
        *("left_eye", "left_ear", "right_eye", "right_ear"),
    ),
    parents=(2, 0, -1, 0, 3, 4, 2, 6, 7, 0, 9, 10, 2, 12, 13, 1, 15, 1, 17),
    root=(2,),
    description="CMU Panoptic Studio's coco19, OpenPose's joints of many views put together in 3D",
    renamed={"neck": "mid_shoulders", "mid_hip": "mid_hips"},
)

_3DHP_JOINTS = (
    *("head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "head"),
)
_3DHP_PARENTS = (16, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, -1, 14, 1)
_3DHP_RENAMED = {
    "pelvis": "mid_hips",
    **{joint: f"mpi3dhp_{joint}" for joint in ("head_top", "neck", "spine", "head")},
}

MPI3DHP17 = JointSet(
    name="mpi3dhp17",
    joints=_3DHP_JOINTS,
    parents=_3DHP_PARENTS,
    root=(14,),
    description="MPI-INF-3DHP, the 17 of its 28 joints that its test set has; its pelvis is the middle of the hips",
    renamed=_3DHP_RENAMED,
    aliases={"root": "pelvis"},
)

MUCO21 = JointSet(
    name="muco21",
    joints=(*_3DHP_JOINTS, "right_hand", "left_hand", "right_toe", "left_toe"),
    parents=(*_3DHP_PARENTS, 4, 7, 10, 13),
    root=(14,),
    description="MuCo-3DHP: MPI-INF-3DHP's 17 joints (its neck is called thorax there), hands and toes",
    renamed={
        **_3DHP_RENAMED,
        **{f"{side}_{joint}": f"mpi3dhp_{side}_{joint}" for side in ("left", "right") for joint in ("hand", "toe")},
    },
    aliases={"root": "pelvis", "thorax": "neck"},
)

_SETS: dict[str, JointSet] = {
    known.name: known
    for known in (
        *(SMPL24, HUMANML22, MPII16, COCO17, H36M17, H36M16, LSP14, OPENPOSE25, BLAZEPOSE33),
        *(PANOPTIC19, JHMDB15, MPI3DHP17, MUCO21),
    )
}
JOINT_SETS: Mapping[str, JointSet] = MappingProxyType(_SETS)
"""Every joint set by its name, those of plugins too."""
