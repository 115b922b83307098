"""What writers of data sets share: a frame's image as a file, and COCO's way of describing a person."""

from pathlib import Path
from typing import Any

import numpy as np

from posesyn_core.files.paths import write_atomic
from posesyn_core.geometry.skeletons import convert
from posesyn_core.values import LabelledFrame

COCO_PERSON = 1
"""The category's number in COCO."""
VISIBLE = 2


def jpeg_of(frame: LabelledFrame) -> tuple[bytes, int, int]:
    """The frame's image as an upright JPEG, with its width and height."""
    from posesyn_core.files.images import as_jpeg, image_size, read_encoded  # loads OpenCV

    jpeg = as_jpeg(read_encoded(frame.image))
    return jpeg, *image_size(jpeg)


def write_jpeg(frame: LabelledFrame, path: Path) -> tuple[int, int]:
    """Write :func:`jpeg_of` the frame to ``path``; return width and height."""
    jpeg, width, height = jpeg_of(frame)
    write_atomic(path, jpeg)
    return width, height


def coco_annotation(number: int, frame: LabelledFrame, joint_set: str) -> dict[str, Any]:
    """The only person of image ``number`` with the fields of COCO's keypoint annotations, and ``frame_id``.

    ``keypoints`` are those of ``joint_set``, x and y in pixels from 0 at the centre of the first one, visibility 2;
    joints that can't be derived from the frame's, or are not labelled, are 0.
    """
    joints, labelled = convert(frame.joints2d, frame.confidence > 0, frame.joint_set, joint_set)
    x0, y0, x1, y1 = frame.box.tolist()
    return {
        "id": number,
        "image_id": number,
        "category_id": COCO_PERSON,
        "iscrowd": 0,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "num_keypoints": int(labelled.sum()),
        "keypoints": np.column_stack([joints, VISIBLE * labelled]).ravel().tolist(),
        "frame_id": frame.id,
    }
