"""Crops that show only a part of the body, so that the network learns to complete it (4D-Humans' "extreme cropping").

Each kind keeps the keypoints of a part of the body; the new box is centred on their extent and 1.2 times as large,
times a factor of the kind.
"""

from collections.abc import Mapping

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

_PADDING = 1.2


@frozen
class Part:
    """A part of the body: the joints (of the 44) that show it, and how much larger its box is."""

    joints: tuple[int, ...]
    factor: float = 1.1


_BELOW_HIPS = {10, 11, 13, 14, *range(19, 27), 29, 30}
_HEAD = (0, 1, 2, 5, *range(15, 19), 37, 38, 42, 43)
PARTS: Mapping[str, Part] = {
    "to_hips": Part(tuple(joint for joint in range(44) if joint not in _BELOW_HIPS)),
    "to_shoulders": Part((*_HEAD, 33, 34), 1.2),
    "head": Part(_HEAD, 1.3),
    "torso": Part((1, 2, 5, 8, 9, 12, 27, 28, 33, 34, 37, 39, 40, 41)),
    "right_arm": Part((2, 3, 4, 31, 32, 33)),
    "left_arm": Part((5, 6, 7, 34, 35, 36)),
    "legs": Part((*range(8, 15), *range(19, 31), 39)),
    "right_leg": Part((9, 10, 11, 22, 23, 24, 25, 26, 27)),
    "left_leg": Part((12, 13, 14, 19, 20, 21, 28, 29, 30)),
}

_FULL: Mapping[int, tuple[tuple[float, str], ...]] = {
    0: ((0.7, "to_hips"), (0.9, "to_shoulders"), (1.0, "head")),
    1: (
        *((0.2, "to_hips"), (0.3, "to_shoulders"), (0.4, "head"), (0.5, "torso"), (0.6, "right_arm")),
        *((0.7, "left_arm"), (0.8, "legs"), (0.9, "right_leg"), (1.0, "left_leg")),
    ),
}
_UPPER: Mapping[int, tuple[tuple[float, str], ...]] = {
    0: ((0.9, "to_shoulders"), (1.0, "head")),
    1: ((0.2, "to_shoulders"), (0.4, "head"), (0.6, "torso"), (0.8, "right_arm"), (1.0, "left_arm")),
}
"""For each level: the kinds with the upper ends of their shares of the draws, for full and for upper bodies."""

_LIMBS = ((2, 33), (3, 32), (4, 31), (5, 34), (6, 35), (7, 36), (10, 26), (11, 25), (13, 29), (14, 30))
"""Shoulders, elbows, wrists, knees and ankles in the first and in the second block."""
_LEGS = _LIMBS[6:]
_UPPER_BODY = (0, 1, 15, 16, 17, 18, 33, 34, 37, 38, 42, 43)

Floats = NDArray[np.float64]


def extreme_crop(box: ArrayLike, keypoints: ArrayLike, draw: float, level: int = 1) -> Floats:
    """The square (4: centre x, y, and its side twice) about a part of the body chosen by ``draw`` in [0, 1).

    ``box`` (4: centre x, y, width, height) of the person and ``keypoints`` (44, 3: x, y, confidence) in pixels. A
    person who shows neither the full nor the upper body keeps the box.
    """
    points, box = np.asarray(keypoints, np.float64), np.asarray(box, np.float64)
    full, upper = shown(points)
    if full or upper:
        choices = (_FULL if full else _UPPER)[level]
        box = part_box(PARTS[next(name for end, name in choices if draw < end)], box, points)
    return np.array([box[0], box[1], box[2:].max(), box[2:].max()])


def shown(keypoints: Floats) -> tuple[bool, bool]:
    """Whether the keypoints (44, 3) show the full body, and else whether the upper body alone."""
    visible = keypoints[:, 2] > 0
    full = bool(visible[np.array(_LIMBS)].any(1).all())
    legs = bool(visible[np.array(_LEGS)].any())
    return full, not full and not legs and int(visible[list(_UPPER_BODY)].sum()) >= 2


def part_box(part: Part, box: Floats, keypoints: Floats) -> Floats:
    """The box (4: centre x, y, width, height) about a part; ``box`` itself where too little of it is labelled."""
    kept = keypoints[list(part.joints)]
    kept = kept[kept[:, 2] > 0]
    if kept[:, 2].sum() <= 1:
        return box
    low, high = kept[:, :2].min(0), kept[:, :2].max(0)
    return np.concatenate([(low + high) / 2, (high - low) * _PADDING * part.factor])
