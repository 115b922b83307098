"""What a data set says of its people, drawn: the box, the labelled 2D joints, and the true 3D joints as its camera
sees them. Wrong joint orders, units, cameras and boxes are seen at a glance."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from posesyn_core.drawing.sheets import COLUMNS, LABELLED, ROWS, TILE, Shades, sheet, spread
from posesyn_core.drawing.skeletons import draw_skeleton
from posesyn_core.errors import SampleError
from posesyn_core.files.images import encode_jpeg, load_image
from posesyn_core.files.paths import write_atomic
from posesyn_core.geometry.cameras import place, project
from posesyn_core.geometry.crops import apply_affine, crop
from posesyn_core.geometry.skeletons import convert
from posesyn_core.values import FloatArray, Image, Sample

TRUTH: Shades = ((225, 0, 130), (255, 170, 225), (250, 70, 180))
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
    """The person's square crop (side, side, 3): box yellow, 2D labels blue, and thin over them the 3D truth magenta.

    SampleError if the image can't be read or the box lies outside it.
    """
    image, to_crop = crop(load_image(sample.image), sample.box, side, MARGIN)
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

    None without a camera or 3D truth. A pose about the origin, relative to its root, is put where it fits the 2D
    labels best.
    """
    if sample.camera is None:
        return None
    if sample.keypoints3d is not None:
        joints, name = sample.keypoints3d, sample.joint_set
    elif sample.joints3d is not None:
        joints, name = sample.joints3d, "smpl24"
    else:
        return None
    if np.nanmin(joints[:, 2]) <= 0:
        labels, known = convert(sample.keypoints2d, sample.confidence > 0, sample.joint_set, name)
        known &= np.isfinite(joints).all(1)
        if known.sum() < LEAST_JOINTS:
            return None
        camera = sample.camera
        focal, middle = camera.focal_length[None], camera.principal_point[None]
        joints = joints + place(joints[None], labels[None], known[None], focal, middle).astype(np.float32)
    return project(joints, sample.camera.focal_length, sample.camera.principal_point), name
