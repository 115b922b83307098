"""From the detector network's raw numbers to people: anchors, scores, and the suppression of what is found twice."""

from functools import cache

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_blazepose.detector_network import ANCHORS, SIZE
from posesyn_core.values import Image

Floats = NDArray[np.float64]

OVERLAP = 0.3
"""Boxes of faces that overlap by more (intersection over union) are one person's."""
LARGEST_LOGIT = 100.0


@frozen(eq=False)
class Found:
    """N people, surest first: ``scores`` (N,), ``points`` (N, 6, 2): the face box's corners, then the middle of the
    hips, a point on the circle about the whole body, and the same two of the upper body; pixels of the picture."""

    scores: Floats
    points: Floats


@cache
def anchors() -> Floats:
    """The anchors' centres (2254, 2) in parts of the picture: row by row, those of a cell together."""
    rows = []
    for stride, count in ANCHORS.items():
        cells = SIZE // stride
        places = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
        rows.append(np.repeat(grid, count, axis=0))
    return np.concatenate(rows)


def letterboxed(image: Image) -> Image:
    """The whole picture in the middle of a square of 224 pixels, black around it."""
    import cv2

    height, width = image.shape[:2]
    side = max(height, width)
    scale = SIZE / side
    matrix = np.array([[scale, 0, SIZE / 2 - width / 2 * scale], [0, scale, SIZE / 2 - height / 2 * scale]])
    return cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)


def people(scores: NDArray[np.float32], boxes: NDArray[np.float32], image: Image, least: float) -> Found:
    """The people of one picture from the network's scores (2254,) and boxes (2254, 12).

    Every person is the mean, weighted by score, of the anchors whose face boxes overlap the surest one's.
    """
    probability = 1 / (1 + np.exp(-np.clip(scores.astype(np.float64), -LARGEST_LOGIT, LARGEST_LOGIT)))
    kept = np.flatnonzero(probability >= least)
    kept = kept[np.argsort(-probability[kept], kind="stable")]
    raw = boxes[kept].astype(np.float64).reshape(-1, 6, 2) / SIZE
    centre = raw[:, 0] + anchors()[kept]
    corners = np.stack([centre - raw[:, 1] / 2, centre + raw[:, 1] / 2], 1)
    points = np.concatenate([corners, raw[:, 2:] + anchors()[kept][:, None]], 1)
    merged, best = [], []
    sure = probability[kept]
    left = np.ones(len(kept), bool)
    for first in range(len(kept)):
        if not left[first]:
            continue
        same = left & (_overlaps(corners[first], corners) > OVERLAP)
        same[first] = True
        merged.append(np.average(points[same], axis=0, weights=sure[same]))
        best.append(sure[first])
        left &= ~same
    height, width = image.shape[:2]
    found = np.array(merged).reshape(-1, 6, 2) - 0.5
    return Found(np.array(best), found * max(height, width) + np.array([width, height]) / 2)


def _overlaps(one: Floats, others: Floats) -> Floats:
    """Intersection over union (N,) of a box (2, 2), its corners, with others (N, 2, 2)."""
    near, far = np.maximum(one[0], others[:, 0]), np.minimum(one[1], others[:, 1])
    shared = np.prod(np.clip(far - near, 0, None), -1)
    areas = np.prod(np.clip(others[:, 1] - others[:, 0], 0, None), -1)
    return shared / np.maximum(areas + np.prod(np.clip(one[1] - one[0], 0, None)) - shared, 1e-12)
