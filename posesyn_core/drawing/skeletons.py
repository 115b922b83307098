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

SURE = 0.5
"""The confidence from which a joint that an estimator tells is drawn as one that it sees."""
FAINT = 0.35
"""How opaque bones are whose joints nobody sees."""
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
    unseen: NDArray[np.bool_] | None = None,
) -> Image:
    """A copy of ``image`` with the skeleton drawn on it.

    ``joints2d`` (J, 2) are pixels in the order of ``joint_set``; joints that are not ``visible`` (J,) or not finite
    are left out with their bones. ``colours`` are those of the person's left, right and middle joints; a bone has the
    colour of its outer end. ``thickness`` in pixels follows the image's size unless given. Joints that are
    ``unseen`` (J,) have no disc, and the bones that end there are faint.
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
    colour = [colour_of(name, colours) for name in joints.joints]
    guessed = np.zeros(len(joints), bool) if unseen is None else unseen
    bones = [(parent, child) for parent, child in joints.bones if shown[parent] and shown[child]]
    drawn = image.copy()
    for faint in (True, False):
        for parent, child in bones:
            if (guessed[parent] or guessed[child]) == faint:
                cv2.line(drawn, fixed[parent], fixed[child], colour[child], thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        if faint and guessed.any():
            drawn = cv2.addWeighted(drawn, FAINT, image, 1 - FAINT, 0)
    for at in np.flatnonzero(shown & ~guessed):
        cv2.circle(drawn, fixed[at], thickness * _SUBPIXEL, colour[at], -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return drawn


def unseen_joints(
    joints2d: ArrayLike, extent: tuple[int, ...], confidence: NDArray[np.floating] | None = None
) -> NDArray[np.bool_]:
    """(J,) which joints (J, 2) lie outside a picture of ``extent`` (height, width, ...), or are less sure than
    ``SURE``; none of those that are not known at all."""
    points = np.asarray(joints2d, np.float64)
    inside = ((points >= 0) & (points < [extent[1], extent[0]])).all(-1)
    known = np.isfinite(points).all(-1)
    if confidence is None:
        return np.asarray(known & ~inside)
    return np.asarray(known & (confidence > 0) & (~inside | (confidence < SURE)))


LEGEND_ROOM = 240
"""Smaller pictures, in pixels of their shorter side, would be covered by a legend."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _SHADE = (255, 255, 255), 0.45


def draw_number(image: Image, number: int, box: ArrayLike) -> None:
    """Write a person's number at the upper left corner of the ``box`` (x0, y0, x1, y1), into ``image`` itself."""
    scale, text = max(image.shape) / 1600 + 0.25, str(number)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    x, y = (max(int(edge), 0) for edge in np.asarray(box, np.float64)[:2])
    _darken(image, x, y, width + 6, height + 8)
    cv2.putText(image, text, (x + 3, y + height + 4), _FONT, scale, _WHITE, 1, cv2.LINE_AA)


def draw_legend(image: Image, caption: str, *, faint: bool = False) -> None:
    """Say which side has which colour, ``caption``, and with ``faint`` what faint bones are.

    At the lower left of ``image`` itself, if it has the room.
    """
    if min(image.shape[:2]) < LEGEND_ROOM:
        return
    scale = max(image.shape) / 2400 + 0.25
    step = cv2.getTextSize("left", _FONT, scale, 1)[0][1]
    top, x = image.shape[0] - 3 * step, step
    words = [(LEFT, "left"), (RIGHT, "right"), (None, caption)] + [(None, "faint: not seen")] * faint
    widths = [cv2.getTextSize(word, _FONT, scale, 1)[0][0] + 3 * step for _, word in words]
    _darken(image, 0, top, min(sum(widths) + step, image.shape[1]), 3 * step)
    for (colour, word), width in zip(words, widths, strict=True):
        if colour is not None:
            cv2.circle(image, (x + step // 2, top + step + step // 2), step // 2 + 1, colour, -1, cv2.LINE_AA)
        cv2.putText(image, word, (x + 3 * step // 2, top + 2 * step), _FONT, scale, _WHITE, 1, cv2.LINE_AA)
        x += width


def _darken(image: Image, x: int, y: int, width: int, height: int) -> None:
    part = image[y : y + height, x : x + width]
    part[:] = (_SHADE * part).astype(np.uint8)


def colour_of(joint: str, colours: tuple[Colour, Colour, Colour]) -> Colour:
    """A joint's colour, of those for left, right and middle joints."""
    left, right, middle = colours
    return left if joint.startswith("left_") else right if joint.startswith("right_") else middle
