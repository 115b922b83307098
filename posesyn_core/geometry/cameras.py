"""Perspective cameras, and the weak-perspective crop cameras that regressors predict.

Camera frame: x right, y down, z away from the camera, metres. A regressor sees a square crop of ``size`` pixels, cut
from a square of ``side`` pixels about ``centre`` in the full image; the square's centre falls on crop pixel size / 2
(:mod:`posesyn_core.geometry.crops`). Its weak-perspective camera is (s, tx, ty): scale and place of the body in a crop
that spans -1..1. Only arithmetic is used, so arrays may be numpy or torch, of any leading shape.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core.geometry.arrays import Array, namespace

_SMALLEST = 1e-9  # the official codes' guard against a scale of 0


def project(points: Array, focal_length: Array, principal_point: Array) -> Array:
    """Eq. 1's Proj(J, f, p) and Eq. 11: pixels (..., J, 2) of points (..., J, 3) in the camera frame.

    ``focal_length`` and ``principal_point`` (..., 2) in pixels. Points must lie in front of the camera (z > 0).
    """
    pixels: Any = points[..., :2] / points[..., 2:]
    return pixels * focal_length[..., None, :] + principal_point[..., None, :]


def place(
    points: NDArray[np.floating],
    pixels: NDArray[np.floating],
    known: NDArray[np.bool_],
    focal_length: NDArray[np.floating],
    principal_point: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Translations t (N, 3) metres after which the camera sees points (N, J, 3) nearest to ``pixels`` (N, J, 2).

    ``known`` (N, J) says which pixels count, two at least. ``focal_length`` and ``principal_point`` (N, 2) as in
    :func:`project`. Linear least squares: f (x + t_x) = (u - c) (z + t_z) for each pixel u across, likewise down. NaN
    where no place fits best.
    """
    focal = np.asarray(focal_length, np.float64)[:, None]
    off_axis = np.where(known[..., None], pixels - np.asarray(principal_point, np.float64)[:, None], 0)
    solid = np.where(known[..., None], points, 0).astype(np.float64)
    left = np.zeros((*solid.shape[:2], 2, 3))
    left[..., 0, 0], left[..., 1, 1] = (known * focal[..., axis] for axis in (0, 1))
    left[..., 2] = -off_axis
    right = off_axis * solid[..., 2:] - focal * solid[..., :2]
    left, right = left.reshape(len(solid), -1, 3), right.reshape(len(solid), -1)
    solvable = np.linalg.matrix_rank(left) == 3
    found = np.full((len(solid), 3), np.nan)
    if solvable.any():
        found[solvable] = np.einsum("nij,nj->ni", np.linalg.pinv(left[solvable]), right[solvable])
    return found


def focal_length_in_image(focal_length: float, size: int, width: Array) -> Array:
    """A focal length in pixels of a crop of ``size``, in pixels of an image of ``width`` (...): f / size * width.

    Table 6: 5000 / 256 * W and 1000 / 256 * W, W being what the estimator takes for the crop's extent in the image:
    the side of the square for the exact equivalent of the crop's camera.
    """
    return width * (focal_length / size)


def crop_translation(camera: Array, focal_length: float, size: int) -> Array:
    """Weak-perspective (s, tx, ty) (..., 3) -> translation (..., 3) metres for the crop's perspective camera.

    t = (tx, ty, 2 f / (size s)) with focal length f in crop pixels and principal point size / 2 (SPIN, 4D-Humans).
    The same translation holds in the full image with focal length f * side / size and the principal point at the
    square's centre: that camera sees the crop's picture, moved and scaled.
    """
    depth = 2 * focal_length / (size * camera[..., 0] + _SMALLEST)
    return namespace(camera).stack([camera[..., 1], camera[..., 2], depth], -1)


def image_translation(camera: Array, centre: Array, side: Array, image_size: Array, focal_length: Any) -> Array:
    """Weak-perspective (s, tx, ty) (..., 3) -> translation (..., 3) for a camera centred on the full image.

    ``centre`` (..., 2) and ``side`` (...) of the square in image pixels, ``image_size`` (..., 2) width and height,
    ``focal_length`` (...) or one number in image pixels; the principal point is image_size / 2. The formula of CLIFF
    and 4D-Humans: t = (tx + 2 (cx - W/2) / (side s), ty + 2 (cy - H/2) / (side s), 2 f / (side s)).
    """
    spread = side * camera[..., 0] + _SMALLEST
    shift = 2 * (centre - image_size / 2) / spread[..., None]
    depth = 2 * focal_length / spread
    return namespace(camera).concatenate([camera[..., 1:] + shift, depth[..., None]], -1)
