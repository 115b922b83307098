"""What a data set says of its people, drawn: the box, the labelled 2D joints, and the true 3D joints as its camera
sees them. Wrong joint orders, units, cameras and boxes are seen at a glance."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from posesyn_core.errors import SampleError
from posesyn_core.files import write_atomic
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.crops import apply_affine, crop
from posesyn_core.images import draw_skeleton, encode_jpeg
from posesyn_core.report.pictures import COLUMNS, LABELLED, ROWS, TILE, Shades, sheet, spread
from posesyn_core.skeletons import convert
from posesyn_core.values import FloatArray, Image, Sample

TRUTH: Shades = ((0, 120, 40), (140, 235, 150), (40, 180, 80))
BOX = (255, 210, 0)
TRUTH_SHEET = "-truth.jpg"
"""How the files end that stages leave for the report."""
MARGIN = 1.5
"""A crop's side by the longer side of the person's box: so that the box can be seen."""
LEAST_JOINTS = 4
"""As many 2D labels at least place a pose that is only known relative to its root."""


def truth_sheet(samples: Sequence[Sample]) -> Image | None:
    """A sheet of some of the samples, evenly spread; None if no picture can be read."""
    tiles = []
    for sample in spread(samples, COLUMNS * ROWS):
        try:
            tiles.append(truth_tile(sample, TILE))
        except SampleError:  # the stage that needs the picture rejects it with the reason
            continue
    return sheet(tiles)


def write_truth_sheet(samples: Sequence[Sample], folder: Path, label: str) -> None:
    """Leave the sheet of a data set in a stage's folder, for the report."""
    drawn = truth_sheet(samples)
    if drawn is not None:
        write_atomic(folder / f"{label}{TRUTH_SHEET}", encode_jpeg(drawn))


def truth_tile(sample: Sample, side: int) -> Image:
    """The person's square crop (side, side, 3): the box yellow, 2D labels blue, and over them the 3D truth green.

    SampleError if the image can't be read or the box lies outside it.
    """
    image, to_crop = crop(sample.load_image(), sample.box, side, MARGIN)
    corners = apply_affine(to_crop, sample.box.reshape(2, 2)).round().astype(int)
    cv2.rectangle(image, corners[0].tolist(), corners[1].tolist(), BOX, 1)
    joints = apply_affine(to_crop, sample.keypoints2d)
    image = draw_skeleton(image, joints, sample.joint_set, sample.confidence > 0, colours=LABELLED, thickness=3)
    seen = seen_truth(sample)
    if seen is None:
        return image
    points, joint_set = seen
    return draw_skeleton(image, apply_affine(to_crop, points), joint_set, colours=TRUTH, thickness=1)


def seen_truth(sample: Sample) -> tuple[FloatArray, str] | None:
    """The true 3D joints (J, 2) in pixels of the image, NaN where unknown, and their joint set.

    None without a camera or 3D truth. Joints relative to the root are put where they fit the 2D labels best.
    """
    if sample.camera is None:
        return None
    if sample.keypoints3d is not None:
        joints, name = sample.keypoints3d, sample.joint_set
    elif sample.joints3d is not None:
        placed = _placed(sample)
        if placed is None:
            return None
        joints, name = placed, "smpl24"
    else:
        return None
    joints = np.where(joints[:, 2:] > 0, joints, np.float32(np.nan))
    return project(joints, sample.camera.focal_length, sample.camera.principal_point), name


def _placed(sample: Sample) -> FloatArray | None:
    """``joints3d`` (24, 3) moved to where the camera sees them on the 2D labels; None with too few of these.

    Linear least squares in the translation t: f (X + t_x) = (u - c) (Z + t_z) for each label u, likewise down.
    """
    assert sample.joints3d is not None and sample.camera is not None
    labels, known = convert(sample.keypoints2d, sample.confidence > 0, sample.joint_set, "smpl24")
    if known.sum() < LEAST_JOINTS:
        return None
    joints = sample.joints3d.astype(np.float64)
    focal = sample.camera.focal_length.astype(np.float64)
    off_axis = labels[known] - sample.camera.principal_point
    left = np.zeros((known.sum(), 2, 3))
    left[:, 0, 0], left[:, 1, 1] = focal
    left[..., 2] = -off_axis
    right = off_axis * joints[known, 2:] - focal * joints[known, :2]
    moved = joints + np.linalg.lstsq(left.reshape(-1, 3), right.ravel(), rcond=None)[0]
    return moved.astype(np.float32)
