"""Which part of the image the network sees, as 3DCrowdNet's official code cuts it.

Boxes here are x, y, width, height in pixels, as in the official code; elsewhere in PoseSyn they are corners.
"""

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import SampleError
from posesyn_core.geometry.crops import apply_affine, part_under
from posesyn_core.values import FloatArray, Image
from posesyn_crowdnet.network import CROP

Floats = NDArray[np.float64]

TIGHT = 1.2
"""A tight box about 2D joints is that much larger than they are."""
LOOSE = 1.25
"""The crop is that much larger than the squared box."""


def as_xywh(box: ArrayLike) -> Floats:
    """Corners x0, y0, x1, y1 -> x, y, width, height."""
    corners = np.asarray(box, np.float64)
    return np.concatenate([corners[:2], corners[2:] - corners[:2]])


def tight_box(points: ArrayLike, valid: NDArray[np.bool_]) -> Floats:
    """The box about the valid ones of ``points`` (J, 2), 1.2 times their extent. SampleError if none is valid."""
    if not valid.any():
        raise SampleError("no 2D joint to go by: none is labelled, or detected with enough confidence")
    known = np.asarray(points, np.float64)[valid]
    low, high = known.min(0), known.max(0)
    middle, size = (low + high) / 2, (high - low) * TIGHT
    return np.concatenate([middle - size / 2, size])


def crop_box(box: ArrayLike, width: int, height: int, *, reject: bool = True) -> FloatArray:
    """The square to be cut out about ``box``: clipped to the image, grown to a square and by 1.25.

    The official arithmetic, quirks included: a box that sticks out on the left or on top is shifted, not cut, and every
    box loses a pixel. SampleError for a box that is not finite, without area, or (unless not ``reject``, as in the test
    on 3DPW) outside the image.
    """
    x, y, w, h = np.asarray(box, np.float64)
    if not np.isfinite([x, y, w, h]).all():
        raise SampleError("the person box has numbers that are not finite")
    x0, y0 = max(0.0, x), max(0.0, y)
    x1, y1 = min(width - 1.0, x0 + max(0.0, w - 1)), min(height - 1.0, y0 + max(0.0, h - 1))
    if reject and (w * h <= 0 or x1 < x0 or y1 < y0):
        raise SampleError(f"the person box ({x:g}, {y:g}, {w:g} x {h:g}) has no area or lies outside the image")
    middle = np.array([x0 + x1, y0 + y1]) / 2
    side = max(x1 - x0, y1 - y0) * LOOSE
    return np.array([*(middle - side / 2), side, side], np.float32)


def overlap(box: ArrayLike, others: ArrayLike) -> Floats:
    """Intersection over union (N,) of ``box`` (4,) with ``others`` (N, 4)."""
    one, many = np.asarray(box, np.float64), np.asarray(others, np.float64).reshape(-1, 4)
    low = np.maximum(one[:2], many[:, :2])
    high = np.minimum(one[:2] + one[2:], many[:, :2] + many[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    return shared / (one[2:].prod() + many[:, 2:].prod(1) - shared + 1e-5)


@frozen
class View:
    """How a crop is taken: ``scale`` > 1 shows more of the image, ``degrees`` turns it in the image's plane, ``gain``
    (3,) multiplies red, green and blue, ``flipped`` mirrors the whole image first.
    """

    scale: float = 1.0
    degrees: float = 0.0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    flipped: bool = False

    @property
    def turn(self) -> Floats:
        """(3, 3) what turning the picture does to the camera frame: a rotation about its z axis."""
        angle = np.radians(-self.degrees)
        cos, sin = np.cos(angle), np.sin(angle)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def draw_view(rng: np.random.Generator) -> View:
    """A view of the official augmentation."""
    scale = 1 + 0.25 * float(np.clip(rng.standard_normal(), -1, 1))
    degrees = 30 * float(np.clip(rng.standard_normal(), -2, 2)) if rng.random() <= 0.6 else 0.0
    red, green, blue = rng.uniform(0.8, 1.2, 3)
    return View(scale, degrees, (red, green, blue), bool(rng.random() <= 0.5))


def crop_matrix(box: ArrayLike, view: View, width: int) -> Floats:
    """The map (2, 3) from an image ``width`` pixels wide, mirrored if the view is, to the crop of 256 pixels."""
    x, y, w, h = np.asarray(box, np.float64)
    centre = np.array([x + w / 2, y + h / 2])
    if view.flipped:
        centre[0] = width - 1 - centre[0]
    if h <= 0:
        raise SampleError("the person box has no area")
    linear = view.turn[:2, :2] * CROP / (h * view.scale)
    return np.column_stack([linear, CROP / 2 - linear @ centre])


def mirrored(points: Floats, width: int) -> Floats:
    """Points (..., D) with x mirrored in an image ``width`` pixels wide."""
    return np.concatenate([width - 1 - points[..., :1], points[..., 1:]], axis=-1)


def cut(image: Image, box: ArrayLike, view: View | None = None) -> FloatArray:
    """The network's picture (3, 256, 256) in 0..1 from a uint8 RGB image; black outside of it.

    Sampled bilinearly without smoothing and without rounding to 8 bits, as published. Only what is seen is converted to
    floating point; the official code converts the whole image.
    """
    import cv2

    view = view or View()
    matrix = crop_matrix(box, view, image.shape[1])
    if view.flipped:
        matrix = matrix @ np.array([[-1, 0, image.shape[1] - 1], [0, 1, 0], [0, 0, 1]])
    part, corner = part_under(image, matrix, CROP)
    if part.size == 0:
        raise SampleError("the person box lies outside the image")
    matrix[:, 2] = apply_affine(matrix, corner[None])[0]
    pixels = cv2.warpAffine(part.astype(np.float32), matrix, (CROP, CROP), flags=cv2.INTER_LINEAR)
    if view.gain != (1.0, 1.0, 1.0):
        pixels = np.clip(pixels * np.array(view.gain, np.float32), 0, 255)
    return np.ascontiguousarray((pixels / 255).transpose(2, 0, 1))
