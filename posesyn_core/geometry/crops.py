"""Square crops about a person, and the affine maps between full image and crop.

The square about a box has the box's centre and its longer side times a margin. Its centre falls on crop pixel
size / 2 and its side on ``size`` pixels, so a point p of the image is at (p - centre) * size / side + size / 2.
Pixel centres have integer coordinates in both. Affine maps are (..., 2, 3) matrices.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.geometry.boxes import check_box
from posesyn_core.values import Image

Floats = NDArray[np.float64]


def square(boxes: ArrayLike, margin: float = 1.0) -> tuple[Floats, Floats]:
    """Centre (..., 2) and side (...) in pixels of the square about boxes (..., 4) given as x0, y0, x1, y1."""
    corners = np.asarray(boxes, np.float64)
    near, far = corners[..., :2], corners[..., 2:]
    return (near + far) / 2, (far - near).max(axis=-1) * margin


def crop_matrix(boxes: ArrayLike, size: int, margin: float = 1.0) -> Floats:
    """The maps (..., 2, 3) from the full image to the crop of ``size`` pixels about boxes (..., 4)."""
    centre, side = square(boxes, margin)
    scale = size / side
    matrix = np.zeros((*side.shape, 2, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = scale
    matrix[..., 2] = size / 2 - centre * scale[..., None]
    return matrix


def apply_affine(matrix: ArrayLike, points: ArrayLike) -> Floats:
    """Maps points (..., J, 2) by matrices (..., 2, 3)."""
    matrix = np.asarray(matrix, np.float64)
    return np.asarray(points, np.float64) @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def invert_affine(matrix: ArrayLike) -> Floats:
    """The inverse maps of (..., 2, 3): crop to full image for :func:`crop_matrix`."""
    matrix = np.asarray(matrix, np.float64)
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)


def crop(image: Image, box: ArrayLike, size: int, margin: float = 1.0) -> tuple[Image, Floats]:
    """Cut the square about ``box`` (4,) out of ``image`` (H, W, 3) and scale it to (size, size, 3).

    What lies outside the image is black. Returns the crop and the map (2, 3) from the full image to it. SampleError if
    the box is not finite, has no area or lies wholly outside the image.
    """
    check_box(box, image.shape[1], image.shape[0])
    matrix = crop_matrix(box, size, margin)
    return warp(image, matrix, size), matrix


def warp(image: Image, matrix: ArrayLike, size: int) -> Image:
    """Resample ``image`` (H, W, 3) by the map ``matrix`` (2, 3) into (size, size, 3), without aliasing when it shrinks.

    Bilinear sampling sees 2x2 pixels, so the part that is needed is first shrunk by area to about the size of
    the result; black outside the image.
    """
    import cv2

    matrix = np.asarray(matrix, np.float64)
    part, to_image = part_under(image, matrix, size)
    if part.size == 0:
        return np.zeros((size, size, image.shape[2]), np.uint8)
    factor = np.maximum(1, np.sqrt(1 / abs(np.linalg.det(matrix[:, :2]))))
    if factor > 1:
        height, width = part.shape[:2]
        small = max(1, round(width / factor)), max(1, round(height / factor))
        ratio = np.array([width / small[0], height / small[1]])
        part = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        to_image = np.column_stack([np.diag(ratio), to_image + (ratio - 1) / 2])
    else:
        to_image = np.column_stack([np.eye(2), to_image])
    combined = matrix[:, :2] @ to_image
    combined[:, 2] += matrix[:, 2]
    return cv2.warpAffine(part, combined, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def part_under(image: Image, matrix: Floats, size: int) -> tuple[Image, Floats]:
    """The part of the image under the crop (and a pixel around it), with the place (2,) of its first pixel."""
    corners = apply_affine(invert_affine(matrix), [[-1, -1], [size, -1], [-1, size], [size, size]])
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0)) - 1, 0, limit).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 2, 0, limit).astype(int)
    return image[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)
