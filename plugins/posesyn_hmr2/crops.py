"""The official crop: a square about the person, blurred first where it shrinks much, and 256 x 256 pixels large.

4D-Humans widens a box to the aspect 192:256 and cuts the square of its longer side. For a square of more than 563
pixels it blurs the whole image before it samples it; here only the part that the crop sees is blurred, to the same
pixels. Boxes and points are in pixels of the full image, whose centres have integer coordinates; the square's centre
falls on crop pixel size / 2.
"""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.geometry.boxes import check_box
from posesyn_core.values import FloatArray, Image, Pixels
from posesyn_hmr2.network import IMAGE_SIZE

ASPECT = (192.0, 256.0)
"""Width to height of the boxes at inference."""
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

_BLUR_FROM = 1.1
_TRUNCATE = 4.0  # deviations at which the blur's kernel ends
_REACH = 3  # pixels around the square that its outermost samples may touch

Floats = NDArray[np.float64]


def expand_to_aspect(extent: ArrayLike, aspect: tuple[float, float] = ASPECT) -> FloatArray:
    """Widths and heights (..., 2), the shorter of the two enlarged until they are as ``aspect``."""
    width, height = np.moveaxis(np.asarray(extent, np.float32), -1, 0)
    across, down = aspect
    wide = height / width < down / across
    expanded = np.stack([np.where(wide, width, across / down * height), np.where(wide, down / across * width, height)])
    return np.moveaxis(expanded, 0, -1).astype(np.float32)


def person_square(boxes: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Centre (..., 2) and side (...) of the square that is cut at inference about boxes (..., 4); no margin."""
    corners = np.asarray(boxes, np.float32)
    near, far = corners[..., :2], corners[..., 2:]
    side: FloatArray = expand_to_aspect(far - near).max(-1)
    return ((near + far) / 2).astype(np.float32), side


def crop_matrix(centre: ArrayLike, side: float, size: int = IMAGE_SIZE, turn: float = 0.0) -> Floats:
    """The map (2, 3) from the image to the crop of a square whose axes are turned by ``turn`` degrees.

    From three pairs of points in float32, as published: the same bits decide which way a pixel is rounded.
    """
    angle = np.pi * turn / 180
    sine, cosine = np.sin(angle), np.cos(angle)
    down, right = np.array([-sine, cosine]) * side / 2, np.array([cosine, sine]) * side / 2
    middle = np.asarray(centre, np.float32)
    source = np.stack([middle, middle + down.astype(np.float32), middle + right.astype(np.float32)])
    target = np.array([[0.5, 0.5], [0.5, 1], [1, 0.5]], np.float32) * size
    return cv2.getAffineTransform(source.astype(np.float32), target)


def crop_person(image: Image, box: ArrayLike, size: int = IMAGE_SIZE) -> FloatArray | Pixels:
    """The network's input (3, size, size) for the person in ``box`` (4,) of a uint8 RGB image (H, W, 3).

    SampleError if the box is not finite, has no area or lies wholly outside the image.
    """
    check_box(box, image.shape[1], image.shape[0])
    centre, side = person_square(box)
    matrix = crop_matrix(centre, float(side), size)
    sigma = blur_deviation(float(side), size)
    if sigma == 0:
        return as_pixels(warp(image, matrix, size))
    return normalise(warp(*blurred_part(image, centre, float(side), sigma, matrix), size))


def blur_deviation(side: float, size: int = IMAGE_SIZE) -> float:
    """Deviation in pixels of the blur before a square of ``side`` pixels is sampled; 0 = none."""
    factor = side / size / 2
    return (factor - 1) / 2 if factor > _BLUR_FROM else 0.0


def blurred_part(image: Image, centre: ArrayLike, side: float, sigma: float, matrix: Floats) -> tuple[Floats, Floats]:
    """The part of the image that the crop sees, blurred (float64), and ``matrix`` (2, 3) for it.

    At the image's edges the nearest pixel goes on; the kernel ends at 4 deviations, as in scipy and scikit-image.
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    limit = np.array(image.shape[1::-1])
    reach = side / 2 + _REACH + radius
    low, high = (np.clip(np.asarray(centre) + sign * reach, 0, limit).astype(int) for sign in (-1, 1))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    part = image[low[1] : high[1], low[0] : high[0]]
    blurred = cv2.sepFilter2D(part, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return blurred, np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ low])


def warp(image: NDArray, matrix: Floats, size: int) -> NDArray:
    """Sample an image (H, W, channels) bilinearly by ``matrix`` (2, 3) into (size, size, channels); black outside."""
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def normalise(pixels: NDArray, gain: ArrayLike = (1.0, 1.0, 1.0)) -> FloatArray:
    """RGB of 0..255 (S, S, 3) -> float32 (3, S, S), each channel times its ``gain``, clipped, and normalised."""
    levels = np.clip(pixels.transpose(2, 0, 1).astype(np.float32) * _column(gain), 0, 255)
    return (levels - 255 * _column(MEAN)) / (255 * _column(DEVIATION))


def as_pixels(pixels: NDArray[np.uint8], gain: ArrayLike = (1.0, 1.0, 1.0)) -> Pixels:
    """As :func:`normalise`, of a picture of bytes."""
    every = np.arange(256)[:, None, None].repeat(3, axis=2)
    return Pixels(pixels, normalise(every, gain)[..., 0])


def _column(values: ArrayLike) -> FloatArray:
    return np.asarray(values, np.float32)[:, None, None]
