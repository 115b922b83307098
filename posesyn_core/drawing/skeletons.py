"""Skeletons drawn on pictures."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.geometry import skeletons
from posesyn_core.values import Image

Colour = tuple[int, int, int]
LEFT: Colour = (64, 132, 255)
RIGHT: Colour = (255, 112, 48)
MIDDLE: Colour = (96, 208, 112)

_SUBPIXEL_BITS = 4
_SUBPIXEL = 1 << _SUBPIXEL_BITS


def draw_skeleton(
    image: Image,
    joints2d: ArrayLike,
    joint_set: str,
    visible: NDArray[np.bool_] | None = None,
    *,
    colours: tuple[Colour, Colour, Colour] = (LEFT, RIGHT, MIDDLE),
    thickness: int | None = None,
) -> Image:
    """A copy of ``image`` with the skeleton drawn on it.

    ``joints2d`` (J, 2) are pixels in the order of ``joint_set``; joints that are not ``visible`` (J,) or not finite
    are left out with their bones. ``colours`` are those of the person's left, right and middle joints; a bone has the
    colour of its outer end. ``thickness`` in pixels follows the image's size unless given.
    """
    joints = skeletons.joint_set(joint_set)
    points = np.asarray(joints2d, np.float64)
    if points.shape != (len(joints), 2):
        raise ValueError(f"{joint_set} has {len(joints)} joints, not {points.shape}")
    shown: NDArray[np.bool_] = np.all(np.isfinite(points), axis=-1)
    if visible is not None:
        shown = shown & visible
    reach = 4 * max(image.shape)  # far away joints still give their bone's direction, and fit OpenCV's integers
    fixed = np.round(np.clip(np.where(shown[:, None], points, 0), -reach, reach) * _SUBPIXEL).astype(int)
    thickness = thickness or max(2, round(max(image.shape) / 250))
    colour = [_colour(name, colours) for name in joints.joints]
    drawn = image.copy()
    for parent, child in joints.bones:
        if shown[parent] and shown[child]:
            cv2.line(drawn, fixed[parent], fixed[child], colour[child], thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    for at in np.flatnonzero(shown):
        cv2.circle(drawn, fixed[at], thickness * _SUBPIXEL, colour[at], -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return drawn


def _colour(joint: str, colours: tuple[Colour, Colour, Colour]) -> Colour:
    left, right, middle = colours
    return left if joint.startswith("left_") else right if joint.startswith("right_") else middle
