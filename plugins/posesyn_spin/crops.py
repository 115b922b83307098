"""SPIN's own way of cutting a person out, pixel for pixel, and ours.

The official code (``utils/imutils.py``) describes a box by its centre and ``scale`` = side / 200. Its corners in the
image come from the inverse map by arithmetic that counts pixels from 1 and truncates to integers; what lies outside is
black. It resizes with the helpers of ``scipy.misc``, which first stretch the crop's darkest..brightest value to
0..255: the published checkpoint was trained on such stretched pictures ("official"). Later versions of that code don't
stretch ("unstretched"). Ours ("affine", :mod:`posesyn_core.geometry.crops`) cuts at fractions of a pixel instead.
"""

from typing import Literal

import cv2
import numpy as np
import PIL.Image
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import SampleError
from posesyn_core.values import Image

CropKind = Literal["official", "unstretched", "affine"]

UNIT = 200.0
"""A box of ``scale`` 1 is this many pixels wide."""
LARGEST = 10_000
"""Pixels of the side of the largest square that is cut out; a larger one would only exhaust the memory."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def transform_matrix(centre: ArrayLike, scale: float, size: int, rotation: float = 0.0) -> Floats:
    """The map (3, 3) from image to crop; ``rotation`` in degrees turns the picture counter-clockwise."""
    shrink = size / (UNIT * scale)
    matrix = np.diag([shrink, shrink, 1.0])
    matrix[:2, 2] = size * (0.5 - np.asarray(centre, np.float64) / (UNIT * scale))
    if rotation == 0:
        return matrix
    angle = -np.radians(rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    middle = np.array([[1, 0, size / 2], [0, 1, size / 2], [0, 0, 1]])
    return middle @ turn @ np.linalg.inv(middle) @ matrix


def transform(points: ArrayLike, matrix: NDArray[np.floating]) -> Integers:
    """Points (..., 2) that count pixels from 1, by ``matrix``: truncated to whole pixels, counted from 1 again."""
    moved = (np.asarray(points, np.float64) - 1) @ matrix[:2, :2].T + matrix[:2, 2]
    return moved.astype(np.int64) + 1


def official_crop(
    image: Image, centre: ArrayLike, scale: float, size: int, *, rotation: float = 0.0, stretch: bool = True
) -> Image:
    """The crop (size, size, 3) of a uint8 RGB image; with ``rotation`` turned counter-clockwise by these degrees.

    SampleError if the box has no pixel or more than ``LARGEST`` along a side.
    """
    inverse = np.linalg.inv(transform_matrix(centre, scale, size))
    first, end = transform([[1, 1], [size + 1, size + 1]], inverse) - 1
    extent = end - first
    if extent.min() < 1 or extent.max() > LARGEST:
        raise SampleError(f"the person's square is {extent[0]} pixels wide, which can't be cut out")
    pad = int(np.linalg.norm(extent) / 2 - extent[1] / 2) if rotation else 0
    part = _pasted(image, first - pad, end + pad)
    part = _stretched(part) if stretch else part
    if rotation:
        turned = PIL.Image.fromarray(part).rotate(rotation, PIL.Image.Resampling.BILINEAR)
        part = np.asarray(turned)[pad : len(part) - pad, pad : part.shape[1] - pad]
    return np.asarray(PIL.Image.fromarray(part).resize((size, size), PIL.Image.Resampling.BILINEAR))


def _pasted(image: Image, first: Integers, end: Integers) -> Image:
    """Columns and rows ``first`` (x, y) to before ``end`` of the image, black outside it."""
    limit = np.array(image.shape[1::-1])
    low, high = np.clip(first, 0, limit), np.clip(end, 0, limit)
    left, top = low - first
    right, bottom = end - high
    inside = image[low[1] : high[1], low[0] : high[0]]
    if inside.size == 0:
        return np.zeros((*(end - first)[::-1], 3), np.uint8)
    return cv2.copyMakeBorder(inside, int(top), int(bottom), int(left), int(right), cv2.BORDER_CONSTANT, value=0)


def _stretched(part: Image) -> Image:
    """The darkest value to 0 and the brightest to 255, rounded half up: ``scipy.misc.bytescale`` of a float image."""
    low, high = int(part.min()), int(part.max())
    if (low, high) == (0, 255):
        return part
    levels = (np.arange(256.0) - low) * (255.0 / max(high - low, 1))
    return cv2.LUT(part, (np.clip(levels, 0, 255) + 0.5).astype(np.uint8))
