"""Everybody in one picture: a box, a number and a skeleton each, in a colour of their own."""

from collections.abc import Sequence

import cv2
import numpy as np
from attrs import frozen

from posesyn_core.drawing.sheets import Overlay
from posesyn_core.drawing.skeletons import Colour, draw_skeleton, unseen_joints
from posesyn_core.files.images import load_image
from posesyn_core.values import EncodedImage, FloatArray, Image

COLOURS: tuple[Colour, ...] = (
    *((230, 60, 40), (40, 120, 230), (60, 170, 60), (240, 160, 20), (150, 70, 200)),
    *((20, 170, 180), (220, 80, 160), (130, 110, 40), (90, 90, 230), (120, 190, 30)),
)
"""Of the first people; they begin anew after the last."""
FONT, PADDING = cv2.FONT_HERSHEY_SIMPLEX, 3


@frozen
class Member:
    """One of the people: what to draw of them, and what stands at their box."""

    box: FloatArray
    skeleton: Overlay
    text: str


def everybody(image: EncodedImage, members: Sequence[Member], side: int) -> Image:
    """The whole picture, its longer side at most ``side`` pixels, with its people. SampleError if it can't be read."""
    whole = load_image(image)
    scale = min(1.0, side / max(whole.shape[:2]))
    size = max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale))
    drawn: Image = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    for number, member in enumerate(members):
        colour = COLOURS[number % len(COLOURS)]
        skeleton = member.skeleton
        drawn = draw_skeleton(
            drawn,
            skeleton.joints2d * scale,
            skeleton.joint_set,
            skeleton.visible,
            colours=(colour,) * 3,
            thickness=2,
            unseen=unseen_joints(skeleton.joints2d, whole.shape),
        )
        drawn = _boxed(drawn, member.box * scale, member.text, colour)
    return drawn


def _boxed(image: Image, box: FloatArray, text: str, colour: Colour) -> Image:
    """A copy of the picture with a box and, on its upper left corner, the text."""
    drawn = image.copy()
    (x0, y0), (x1, y1) = np.round(box.reshape(2, 2)).astype(int).tolist()
    cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, 1)
    (width, height), _ = cv2.getTextSize(text, FONT, 0.4, 1)
    x, y = max(x0, 0), max(y0, height + 2 * PADDING)
    cv2.rectangle(drawn, (x, y - height - 2 * PADDING), (x + width + 2 * PADDING, y), colour, -1)
    cv2.putText(drawn, text, (x + PADDING, y - PADDING), FONT, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return drawn
