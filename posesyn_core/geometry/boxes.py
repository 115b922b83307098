"""Person boxes: x0, y0, x1, y1 in pixels of the full image."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import SampleError
from posesyn_core.values import FloatArray

MARGIN = 0.12
"""A box about joints is widened on every side by this share of its longer side: bodies are wider than skeletons."""


def joint_boxes(joints2d: ArrayLike, labelled: NDArray[np.bool_] | None = None) -> FloatArray:
    """Boxes (..., 4) about joints (..., J, 2), widened by ``MARGIN``.

    Only those ``labelled`` (..., J) count, of which there must be at least one.
    """
    joints = np.asarray(joints2d, np.float64)
    known = np.ones((*joints.shape[:-1], 1), bool) if labelled is None else labelled[..., None]
    low = np.where(known, joints, np.inf).min(-2)
    high = np.where(known, joints, -np.inf).max(-2)
    margin = MARGIN * (high - low).max(-1, keepdims=True)
    return np.concatenate([low - margin, high + margin], -1).astype(np.float32)


def check_box(box: ArrayLike, width: float, height: float) -> None:
    """SampleError unless ``box`` (4,) is finite, has an area, and touches an image of that size."""
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    shown = f"({x0:g}, {y0:g}, {x1:g}, {y1:g})"
    if not np.isfinite([x0, y0, x1, y1]).all():
        raise SampleError("the person box has numbers that are not finite")
    if x1 <= x0 or y1 <= y0:
        raise SampleError(f"the person box {shown} has no area")
    if x1 <= 0 or y1 <= 0 or x0 >= width - 1 or y0 >= height - 1:
        raise SampleError(f"the person box {shown} lies outside the image of {width:g}x{height:g} pixels")
