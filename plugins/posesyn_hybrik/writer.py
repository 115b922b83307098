"""HybrIK's training file in the style of its Human3.6M annotations, the only one with twist angles.

``annotations.json`` beside ``images/<number>.jpg``. Its two lists are paired by position, one person each:

- image: ``id``, ``file_name`` (below ``images/``), ``width``, ``height``;
- annotation: ``id``, ``image_id``; ``bbox`` [x, y, w, h] in pixels, the square of 1.25 times the person's box, which
  the loader does not widen; ``cam_param`` {``f`` [fx, fy], ``c`` [cx, cy]} in pixels; ``smpl_joints`` (29, 3) and
  ``h36m_joints`` (17, 3) in **millimetres**, camera frame (x right, y down, z away), absolute; ``root_coord`` (3,), the
  first of the latter; ``betas`` (10,); ``thetas`` (24, 3) axis-angle, the root's in the camera frame; ``angle_twist``
  {``angle``, ``cos``, ``sin``} of joints 1..23, radians.

The official loader reads it as Human3.6M with the folder as root. It clips boxes to the image.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posesyn_core.body.model import load_body
from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file, write_atomic
from posesyn_core.files.writing import write_jpeg
from posesyn_core.geometry.crops import square
from posesyn_core.values import LabelledFrame, SmplParams
from posesyn_hybrik.config import HybrikWriterConfig
from posesyn_hybrik.people import MARGIN, Floats, joints_and_twists
from posesyn_hybrik.smpl import smpl_of_body

MM = 1000.0
STAND_INS = (0, 1, 4, 7, 2, 5, 8, 6, 12, 15, 24, 16, 18, 20, 17, 19, 21)
"""Of HybrIK's 29 joints the nearest to Human3.6M's 17 (Pelvis, L_Hip, L_Knee, L_Ankle, R_Hip, R_Knee, R_Ankle, Torso,
Neck, Nose, Head, L_Shoulder, L_Elbow, L_Wrist, R_Shoulder, R_Elbow, R_Wrist)."""


class HybrikWriter:
    """Writes ``annotations.json`` and ``images/``; the labels, 10 kB a frame, are held in memory."""

    def __init__(self, config: HybrikWriterConfig) -> None:
        """UserError if the body or the regressor can't be loaded."""
        self.body = load_body(Path(config.body).expanduser() if config.body else None)
        self.smpl = smpl_of_body(self.body)
        self.regressor = _regressor(config.h36m_regressor, len(self.body.v_template))

    def write(self, frames: Iterable[LabelledFrame], folder: Path) -> list[Path]:
        """See :class:`posesyn_core.components.DatasetWriter`.

        UserError for a frame without SMPL parameters or camera: the format has no place for it.
        """
        images, annotations, written = [], [], []
        for number, frame in enumerate(frames):
            annotation = self._annotation(number, frame)
            name = f"{number:012d}.jpg"
            written.append(folder / "images" / name)
            width, height = write_jpeg(frame, written[-1])
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            annotations.append(annotation)
        target = folder / "annotations.json"
        write_atomic(target, json.dumps({"images": images, "annotations": annotations}))
        return [target, *written]

    def _annotation(self, number: int, frame: LabelledFrame) -> dict[str, Any]:
        smpl, camera = frame.smpl, frame.camera
        if smpl is None or camera is None:
            raise UserError(
                f"frame {frame.id!r} has no {'SMPL parameters' if smpl is None else 'camera'}, which HybrIK's format "
                "needs; export real frames with 2D labels in another one (coco)"
            )
        if not smpl.shape_known:
            raise UserError(
                f"frame {frame.id!r} shows somebody whose betas are unknown, which HybrIK's format needs; export such "
                "frames in another one (spin, coco)"
            )
        joints, angles = joints_and_twists(self.smpl, smpl)
        h36m = self._h36m_joints(smpl, joints)
        (x, y), side = square(frame.box, MARGIN)
        return {
            "id": number,
            "image_id": number,
            "bbox": [x - side / 2, y - side / 2, side + 1, side + 1],  # the loader takes the last pixel off
            "cam_param": {"f": camera.focal_length.tolist(), "c": camera.principal_point.tolist()},
            "h36m_joints": (MM * h36m).tolist(),
            "smpl_joints": (MM * joints).tolist(),
            "betas": smpl.betas.tolist(),
            "thetas": np.vstack([smpl.global_orient, smpl.body_pose]).tolist(),
            "root_coord": (MM * h36m[0]).tolist(),
            "angle_twist": {
                "angle": angles.tolist(), "cos": np.cos(angles).tolist(), "sin": np.sin(angles).tolist(),
            },
            "frame_id": frame.id,
        }  # fmt: skip

    def _h36m_joints(self, smpl: SmplParams, joints: Floats) -> Floats:
        """Human3.6M's joints (17, 3) in metres: from the mesh, or without a regressor SMPL's nearest ones."""
        if self.regressor is None:
            return joints[list(STAND_INS)]
        arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
        with torch.no_grad():
            posed = self.body(*(torch.from_numpy(np.array(array)[None]) for array in arrays))
        found: Floats = self.regressor @ posed.vertices[0].numpy().astype(np.float64)
        return found


def _regressor(path: str, vertices: int) -> NDArray | None:
    """The rows (17, V) of the .npy file; None if there is no path."""
    if not path:
        return None
    file = existing_file(Path(path).expanduser(), "h36m_regressor")
    try:
        rows = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"h36m_regressor {path!r} is not an array of numbers (.npy): {error}") from error
    if rows.shape != (17, vertices):
        raise UserError(f"h36m_regressor {path!r} has shape {rows.shape}, not (17, {vertices}) as this body needs")
    return np.asarray(rows, np.float64)
