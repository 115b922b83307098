"""The square of a picture that BlazePose looks at: its place, its side and its turn.

A point p of the picture lies at s R^T (p - centre) / side + s / 2 in a crop of s pixels; R turns clockwise on the
screen by ``rotation``. Squares are arrays (..., 4): x and y of the centre, side, rotation (pixels, radians).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.values import Image

Floats = NDArray[np.float64]

MARGIN = 1.25
"""The square's side over the diameter of the circle about the body, or over the longer side of a person's box."""
FIRST_MARGIN = 1.5
"""The first look's square over the longer side of the person's box: a second one finds its own size."""
STEADY = (0.3, 3.0)
"""By how much a square's side may change from one look to the next."""


def square_of_box(boxes: ArrayLike, margin: float = MARGIN) -> Floats:
    """Upright squares (..., 4) about boxes (..., 4) given as x0, y0, x1, y1."""
    corners = np.asarray(boxes, np.float64)
    near, far = corners[..., :2], corners[..., 2:]
    side = (far - near).max(-1, keepdims=True) * margin
    return np.concatenate([(near + far) / 2, side, np.zeros_like(side)], -1)


def square_of_points(first: ArrayLike, second: ArrayLike) -> Floats:
    """Squares (..., 4) about ``first`` (..., 2), reaching beyond ``second`` (..., 2), which they turn straight up."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    x, y = np.moveaxis(second - first, -1, 0)
    side = 2 * np.hypot(x, y) * MARGIN
    rotation = np.pi / 2 - np.arctan2(-y, x)
    wrapped = (rotation + np.pi) % (2 * np.pi) - np.pi
    return np.concatenate([first, side[..., None], wrapped[..., None]], -1)


def guarded(before: Floats, after: Floats) -> Floats:
    """``after`` (..., 4), or ``before`` where the side would change by more than ``STEADY``."""
    change = after[..., 2] / before[..., 2]
    steady = (change > STEADY[0]) & (change < STEADY[1]) & np.isfinite(after).all(-1)
    return np.where(steady[..., None], after, before)


def turns(rois: Floats) -> Floats:
    """R (..., 2, 2) of squares (..., 4)."""
    cos, sin = np.cos(rois[..., 3]), np.sin(rois[..., 3])
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def crop_matrix(rois: Floats, size: int) -> Floats:
    """The maps (..., 2, 3) from the picture to crops of ``size`` pixels."""
    linear = np.swapaxes(turns(rois), -1, -2) * (size / rois[..., 2])[..., None, None]
    shift = size / 2 - (linear @ rois[..., :2, None])[..., 0]
    return np.concatenate([linear, shift[..., None]], -1)


def to_picture(points: ArrayLike, rois: Floats, size: int) -> Floats:
    """Points (..., J, 2) in pixels of crops of ``size`` pixels, in pixels of the picture."""
    away = (np.asarray(points, np.float64) - size / 2) * (rois[..., 2] / size)[..., None, None]
    return away @ np.swapaxes(turns(rois), -1, -2) + rois[..., None, :2]


def cut(image: Image, roi: Floats, size: int) -> NDArray[np.uint8]:
    """The crop (3, size, size) of one square (4,): bilinear, the picture's border repeated outside it."""
    import cv2

    (left, top), part = _shown(image, roi)
    low, high = _inside(image, roi, size)
    matrix = crop_matrix(roi - [left, top, 0, 0], size) - [[0, 0, low[0]], [0, 0, low[1]]]
    # OpenCV warps four channels in two thirds of the time of three
    four = cv2.cvtColor(part, cv2.COLOR_RGB2RGBA)
    inner = cv2.warpAffine(
        four, matrix, (high - low).tolist(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )  # fmt: skip
    (left, top), (right, bottom) = low.tolist(), (size - high).tolist()
    crop = np.empty((3, size, size), np.uint8)
    for channel, plane in zip(cv2.split(inner)[:3], crop, strict=True):
        cv2.copyMakeBorder(channel, top, bottom, left, right, cv2.BORDER_REPLICATE, dst=plane)
    return crop


def _shown(image: Image, roi: Floats) -> tuple[NDArray[np.int64], Image]:
    """The part of a picture that a square (4,) may show, and its first pixel (2,), x and y; an edge where it shows
    none."""
    reach = np.abs(turns(roi)).sum(-1) * roi[2] / 2
    last = np.array(image.shape[1::-1]) - 1
    low = np.clip(np.floor(roi[:2] - reach) - 1, 0, last).astype(np.int64)
    high = np.clip(np.ceil(roi[:2] + reach) + 1, low, last).astype(np.int64)
    return low, image[low[1] : high[1] + 1, low[0] : high[0] + 1]


def _inside(image: Image, roi: Floats, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From which to before which column and row a crop has more to show than its neighbours repeated: all of it if it
    is turned, else those in the picture and one beyond."""
    if roi[3]:
        return np.zeros(2, np.int64), np.full(2, size)
    step, first, last = roi[2] / size, roi[:2] - roi[2] / 2, np.array(image.shape[1::-1]) - 1
    low = np.clip(np.ceil(-first / step) - 1, 0, size - 1).astype(np.int64)
    return low, np.clip(np.floor((last - first) / step) + 2, low + 1, size).astype(np.int64)
