"""Skeletons as the pictures that video models were trained to follow.

- DWPose (Yang et al. 2023), which Champ and VACE follow: OpenPose's 18 body joints and 17 limbs, hands, face; line
  widths are pixels of the drawn frame, whatever its size.
- Wan2.2-Animate (its preprocessing's body drawing, Apache-2.0): the same 18 and a toe of each foot, 19 limbs;
  widths grow with the picture.

Both draw limbs first, as filled ellipses at 0.6 of their colour, then discs at full colour on top.
"""

import colorsys
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from posesyn_core.values import Image

Numbers = NDArray[np.floating]
Colour = tuple[int, int, int]

WHOLE_BODY = 133
"""COCO-WholeBody's key points: 17 of COCO, 6 of the feet, 68 of the face, 21 of each hand."""
CONFIDENT = 0.3
"""Key points that score less are not drawn by DWPose."""
WAN_CONFIDENT = 0.5
"""Key points that score less are not drawn by Wan2.2-Animate."""
DIMMED = 0.6
"""The share of their colour in which limbs are drawn."""

_REORDERED = [1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17]
_TAKEN_FROM = [17, 6, 8, 10, 7, 9, 12, 14, 16, 13, 15, 2, 1, 4, 3]
_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
_WHEEL = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
_FINGERS = [(0 if at == 0 else 4 * finger + at, 4 * finger + at + 1) for finger in range(5) for at in range(4)]
_BODY, _FACE, _HANDS = slice(0, 18), slice(24, 92), (slice(92, 113), slice(113, 134))
_LIMB_WIDTH, _DISC, _FACE_DISC, _BONE_WIDTH = 4, 4, 3, 2
_WAN_FIRST = [0, 6, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 20]
_WAN_SECOND = [0, 5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 18, 21]
"""COCO-WholeBody's points between which Wan's 20 lie: the neck between the shoulders, a toe between two, else one."""
_WAN_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (13, 18), (10, 19),
)  # fmt: skip
_WAN_COLOURS = (*_WHEEL, (200, 200, 0), (100, 100, 0))
_WAN_HEAD = [0, 14, 15, 16, 17]


def openpose_order(keypoints: Numbers, scores: Numbers) -> tuple[Numbers, Numbers]:
    """COCO-WholeBody key points (N, 133, 2) with scores (N, 133) as DWPose draws them: (N, 134, 2), (N, 134).

    The neck, between the shoulders, comes in where both are seen, and the first 18 take OpenPose's order.
    """
    neck = keypoints[:, [5, 6]].mean(axis=1, keepdims=True)
    certain = (scores[:, [5, 6]] > CONFIDENT).all(axis=1, keepdims=True).astype(scores.dtype)
    points = np.concatenate([keypoints[:, :17], neck, keypoints[:, 17:]], axis=1)
    ordered = np.concatenate([scores[:, :17], certain, scores[:, 17:]], axis=1)
    points[:, _REORDERED], ordered[:, _REORDERED] = points[:, _TAKEN_FROM], ordered[:, _TAKEN_FROM]
    return points, ordered


def draw_dwpose(keypoints: Numbers, scores: Numbers, size: tuple[int, int]) -> Image:
    """The skeletons of N people on black (H, W, 3): ``keypoints`` (N, 134, 2) pixels, OpenPose order, ``scores``.

    Limbs are ellipses at 0.6 of their colour, joints discs on top; then hands, then the face.
    """
    canvas = np.zeros((*size, 3), np.uint8)
    people = [(points, score > CONFIDENT) for points, score in zip(keypoints, scores, strict=True)]
    for colour, (start, end) in zip(_WHEEL, _LIMBS, strict=False):
        for points, drawn in people:
            if drawn[start] and drawn[end]:
                _limb(canvas, points[start], points[end], _LIMB_WIDTH, colour)
    canvas = (canvas * DIMMED).astype(np.uint8)
    for at, colour in enumerate(_WHEEL):
        for points, drawn in people:
            if drawn[at]:
                cv2.circle(canvas, _pixel(points[at]), _DISC, colour, thickness=-1)
    for points, drawn in people:
        for hand in _HANDS:
            _hand(canvas, points[hand], drawn[hand])
    for points, drawn in people:
        for point in points[_FACE][drawn[_FACE]]:
            if min(_pixel(point)) > 0:
                cv2.circle(canvas, _pixel(point), _FACE_DISC, (255, 255, 255), thickness=-1)
    return canvas


def wan_order(keypoints: Numbers, scores: Numbers) -> tuple[Numbers, Numbers]:
    """COCO-WholeBody key points (133, 2) with scores (133,) as Wan2.2-Animate draws them: (20, 2), (20,).

    OpenPose's 18, then the left and the right toe. Neck and toes are the means of two points each, score included.
    """
    both = np.column_stack([keypoints, scores])
    ordered = (both[_WAN_FIRST] + both[_WAN_SECOND]) / 2
    return ordered[:, :2], ordered[:, 2]


def draw_wan_pose(keypoints: Numbers, scores: Numbers, size: tuple[int, int], *, head: bool = True) -> Image:
    """One person's skeleton on black, RGB (H, W, 3).

    ``keypoints`` (20, 2) in pixels and their ``scores`` (20,) are in the order of :func:`wan_order`. Points that are
    not finite are not seen. Without ``head``, nose, eyes and ears are left out.
    """
    canvas = np.zeros((*size, 3), np.uint8)
    width = max(int(min(size) / 200) - 1, 1)
    drawn = (scores >= WAN_CONFIDENT) & np.isfinite(keypoints).all(axis=-1)
    if not head:
        drawn = drawn & ~np.isin(np.arange(len(drawn)), _WAN_HEAD)
    for colour, (start, end) in zip(_WAN_COLOURS, _WAN_LIMBS, strict=False):
        if drawn[start] and drawn[end]:
            _limb(canvas, keypoints[start], keypoints[end], width, _dimmed(colour))
    for point, colour in zip(keypoints[drawn], np.array(_WAN_COLOURS)[drawn].tolist(), strict=True):
        cv2.circle(canvas, _pixel(point), width, colour, thickness=-1)
    return canvas


def _dimmed(colour: Colour) -> Sequence[int]:
    return [int(DIMMED * channel) for channel in colour]


def _limb(canvas: Image, start: Numbers, end: Numbers, width: int, colour: Sequence[int]) -> None:
    x, y = start - end
    middle = (start + end) / 2
    axes = int((x**2 + y**2) ** 0.5 / 2), width  # in the points' own precision, as the published drawing
    angle = int(math.degrees(math.atan2(y, x)))
    cv2.fillConvexPoly(canvas, cv2.ellipse2Poly(_pixel(middle), axes, angle, 0, 360, 1), colour)


def _hand(canvas: Image, points: Numbers, drawn: NDArray[np.bool_]) -> None:
    pixels = [_pixel(point) for point in points]
    shown = [known and min(pixel) > 0 for pixel, known in zip(pixels, drawn, strict=True)]
    for number, (start, end) in enumerate(_FINGERS):
        if shown[start] and shown[end]:
            colour = [255 * channel for channel in colorsys.hsv_to_rgb(number / len(_FINGERS), 1, 1)]
            cv2.line(canvas, pixels[start], pixels[end], colour, thickness=_BONE_WIDTH)
    for pixel, visible in zip(pixels, shown, strict=True):
        if visible:
            cv2.circle(canvas, pixel, _DISC, (0, 0, 255), thickness=-1)


def _pixel(point: Numbers) -> tuple[int, int]:
    return int(point[0]), int(point[1])
