"""The npz of SPIN (Kolotouros et al., ICCV 2019), which HMR's successors read: one row per frame, images beside it.

``frames.npz`` beside ``images/<number>.jpg`` holds, for N frames:

- ``imgname`` (N,) text: path of the image, relative to the npz;
- ``center`` (N, 2) pixels and ``scale`` (N,): the square about the person's box is 200 * scale pixels wide, its
  longer side with SPIN's margin of 1.2;
- ``part`` (N, 24, 3): x, y in pixels, and confidence;
- ``S`` (N, 24, 4): x, y, z in metres in the camera frame (x right, y down, z away) from the middle of the hips, and
  confidence; all 0 where it is unknown;
- ``pose`` (N, 72) axis-angle and ``shape`` (N, 10) of the run's body model, camera frame; ``has_smpl`` (N,) 0 or 1
  (0, too, where only the pose is known).

SPIN's ``gender`` is left out, which its loader takes for "unknown": it would read any letter but "m" as female.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define
from numpy.typing import ArrayLike, NDArray

from posesyn_core.files.paths import atomic_path
from posesyn_core.files.writing import write_jpeg
from posesyn_core.geometry.crops import square
from posesyn_core.geometry.skeletons import LSP14, MPII16, convert
from posesyn_core.values import LabelledFrame

JOINTS = 24
"""SPIN's own 24 joints: the 14 of LSP, MPII's pelvis and thorax, then 3 of Human3.6M and 5 of the face, which SMPL's
joints do not determine."""
PELVIS = 14
MARGIN = 1.2
SCALE_UNIT = 200.0

FIELDS: Mapping[str, tuple[type, tuple[int, ...]]] = {
    "imgname": (str, ()),
    "center": (np.float32, (2,)),
    "scale": (np.float32, ()),
    "part": (np.float32, (JOINTS, 3)),
    "S": (np.float32, (JOINTS, 4)),
    "pose": (np.float32, (72,)),
    "shape": (np.float32, (10,)),
    "has_smpl": (np.uint8, ()),
}
"""Type and shape of each array's rows."""

Row = dict[str, Any]


@define
class SpinWriterConfig:
    """The SPIN writer has no options."""


@define
class SpinWriter:
    """Writes ``frames.npz`` and ``images/``; the labels, 1 kB a frame, are held in memory, as the format demands."""

    config: SpinWriterConfig

    def write(self, frames: Iterable[LabelledFrame], folder: Path) -> list[Path]:
        """See :class:`posesyn_core.components.DatasetWriter`."""
        rows: list[Row] = []
        for number, frame in enumerate(frames, start=1):
            name = f"images/{number:012d}.jpg"
            write_jpeg(frame, folder / name)
            rows.append(_row(name, frame))
        arrays: dict[str, Any] = {
            name: np.array([row[name] for row in rows], kind).reshape(len(rows), *shape)
            for name, (kind, shape) in FIELDS.items()
        }
        with atomic_path(folder / "frames.npz") as temporary:
            np.savez(temporary, **arrays)
        return [folder / "frames.npz", *(folder / row["imgname"] for row in rows)]


def _row(name: str, frame: LabelledFrame) -> Row:
    center, side = square(frame.box, MARGIN)
    smpl = None if frame.smpl is None or not frame.smpl.shape_known else frame.smpl
    solid = frame.labels3d()
    return {
        "imgname": name,
        "center": center,
        "scale": side / SCALE_UNIT,
        "part": spin_joints(frame.joints2d, frame.confidence > 0, frame.joint_set),
        "S": _from_mid_hips(spin_joints(solid[:, :3], solid[:, 3] > 0, frame.joint_set)),
        "pose": np.zeros(72) if smpl is None else np.concatenate([smpl.global_orient, smpl.body_pose.ravel()]),
        "shape": np.zeros(10) if smpl is None else smpl.betas,
        "has_smpl": smpl is not None,
    }


def spin_joints(joints: ArrayLike, labelled: ArrayLike, joint_set: str) -> NDArray[np.float32]:
    """SPIN's joints (24, D + 1) from those ``labelled`` (J,) of ``joints`` (J, D); last column 1 = known."""
    limbs, limbs_known = convert(joints, labelled, joint_set, LSP14.name)
    trunk, trunk_known = convert(joints, labelled, joint_set, MPII16.name)
    rows = [MPII16.joints.index("pelvis"), MPII16.joints.index("thorax")]
    known = np.concatenate([np.column_stack([limbs, limbs_known]), np.column_stack([trunk, trunk_known])[rows]])
    return np.pad(known, ((0, JOINTS - len(known)), (0, 0))).astype(np.float32)


def _from_mid_hips(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """SPIN's joints (24, 4) with the known ones relative to its pelvis, the middle of the hips."""
    return np.column_stack([(joints[:, :3] - joints[PELVIS, :3]) * joints[:, 3:], joints[:, 3]])
