"""What readers of unlabelled pictures share: where people are in them, and samples without labels.

Nothing is known of such a person but the box, so all joints of the sample have confidence 0, and a recipe that mines
them must let an estimator stand in for the annotations (``score.labels = "estimated_2d"`` or ``"estimated_3d"``).

No person detector is built in. People come from a JSON file, as any detector can be made to write it, with the boxes
(x0, y0, x1, y1 in pixels, the first pixel's centre at (0, 0)) of every picture::

    {"beach/001.jpg": [[350, 60, 520, 470], [10, 55, 160, 480]], "beach/002.jpg": []}

A video's frame is named by the video and the frame's number: ``"clips/jump.mp4/000015"``. Without the file the whole
picture counts as one person's, which is right for pictures of one large person only.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from posesyn_core.boxes import check_box
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import existing_file
from posesyn_core.skeletons import SMPL24
from posesyn_core.values import Sample, SampleOrRejection
from posesyn_datasets.annotations import build_each, load_json

Boxes = Mapping[str, list[Any]]


def read_boxes(path: Path | None) -> Boxes | None:
    """The people's boxes by picture; None without a file, UserError if it is missing or malformed."""
    if path is None:
        return None
    expected = "an object with a list of boxes [x0, y0, x1, y1] for every picture"
    document = load_json(existing_file(path.expanduser(), "box file"), expected)
    if not (isinstance(document, dict) and all(isinstance(boxes, list) for boxes in document.values())):
        raise UserError(f"the box file {str(path)!r} is not {expected}")
    return document


def people(
    dataset: str, name: str, image: Path | bytes, size: tuple[int, int], boxes: Boxes | None
) -> Iterator[SampleOrRejection]:
    """The people of the picture ``name``, which is ``size`` (width, height) pixels large, as samples without labels.

    Ids: ``<dataset>/<name>-<person>``, people counted from 0. A picture that the box file does not list, or lists
    nobody for, is yielded as (id, reason).
    """
    width, height = size
    whole = [[0, 0, width - 1, height - 1]]
    found = whole if boxes is None else boxes.get(name, [])
    if not found:
        yield f"{dataset}/{name}", "the box file has nobody in this picture"

    def build(sample_id: str, box: ArrayLike) -> Sample:
        corners = np.asarray(box, np.float32)
        if corners.shape != (4,):
            raise SampleError(f"a box must be four numbers x0, y0, x1, y1, not {box!r}")
        check_box(corners, width, height)
        joints = len(SMPL24)
        return Sample(
            id=sample_id,
            image=image,
            box=corners,
            joint_set=SMPL24.name,
            keypoints2d=np.zeros((joints, 2), np.float32),
            confidence=np.zeros(joints, np.float32),
        )

    yield from build_each(((f"{dataset}/{name}-{number}", box) for number, box in enumerate(found)), build)
