"""Cameras of the 2D-to-3D literature: projection onto the normalised screen, world and camera frame.

The normalised screen divides both coordinates by the picture's WIDTH: x' = 2 x / W - 1, y' = 2 y / W - H / W, so that x
spans [-1, 1] and y [-H/W, H/W] (VideoPose3D). A camera (N, 9) is fx, fy, cx, cy, k1, k2, k3, p1, p2 in those units.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core.geometry.arrays import Array, namespace

CAMERA = 9
"""Numbers of a camera."""
NEAREST = 1e-9
"""Metres before or behind a camera that a joint is taken to be at least."""
Floats = NDArray[Any]


def project(points: Array, cameras: Array, distorted: bool = True) -> Array:
    """Points (N, J, 3) in the camera frame -> (N, J, 2) on the normalised screen; numpy or torch.

    q = (X/Z, Y/Z) is clamped to [-1, 1], then distorted as VideoPose3D does for Human3.6M (not OpenCV's tangential
    model): f (q (1 + k1 r2 + k2 r2^2 + k3 r2^3 + p . q) + p r2) + c. Points behind the camera are not caught: they come
    out mirrored and clamped.
    """
    focal, centre, tangential = (cameras[:, None, at : at + 2] for at in (0, 2, 7))
    ray = namespace(points).clip(points[..., :2] / _depths(points), -1, 1)
    if not distorted:
        return focal * ray + centre
    r2 = (ray**2).sum(-1)[..., None]
    radial = 1 + r2 * (cameras[:, None, 4:5] + r2 * (cameras[:, None, 5:6] + r2 * cameras[:, None, 6:7]))
    tangent = (tangential * ray).sum(-1)[..., None]
    return focal * (ray * (radial + tangent) + tangential * r2) + centre


def _depths(points: Array) -> Array:
    """(N, J, 1), none so small that the gradient of a quotient by it is infinite.

    Times the 0 of a clamp that is NaN, and a generator would be lost once one joint of thousands comes to lie in the
    camera's plane.
    """
    depths, library = points[..., 2:], namespace(points)
    nearest: Array = library.copysign(library.full_like(depths, NEAREST), depths)
    return library.where(abs(depths) < NEAREST, nearest, depths)


def to_screen(pixels: Floats, width: float, height: float) -> Floats:
    """Pixels (..., 2) of a picture ``width`` x ``height`` -> the normalised screen."""
    return pixels / width * 2 - np.array([1, height / width], pixels.dtype)


def to_pixels(screen: Floats, width: float, height: float) -> Floats:
    """The normalised screen (..., 2) -> pixels."""
    return (screen + np.array([1, height / width], screen.dtype)) * width / 2


def rotate(quaternion: Floats, vectors: Floats) -> Floats:
    """Vectors (..., 3) turned by a quaternion (4,) = (w, x, y, z), which is not normalised again."""
    axis = np.broadcast_to(quaternion[1:], vectors.shape)
    once = np.cross(axis, vectors)
    return vectors + 2 * (quaternion[0] * once + np.cross(axis, once))


def to_camera(world: Floats, orientation: Floats, translation: Floats) -> Floats:
    """World points (..., 3) -> the frame of a camera at ``translation`` (3,) whose axes ``orientation`` (4,) turns
    into the world's."""
    return rotate(orientation * np.array([1, -1, -1, -1], orientation.dtype), world - translation)


def to_world(points: Floats, orientation: Floats, translation: Floats) -> Floats:
    """The inverse of :func:`to_camera`."""
    return rotate(orientation, points) + translation
