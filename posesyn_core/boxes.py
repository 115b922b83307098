"""Person boxes: x0, y0, x1, y1 in pixels of the full image."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import SampleError
from posesyn_core.values import FloatArray

MARGIN = 0.12
"""A box about joints is widened on every side by this share of its longer side: bodies are wider than skeletons."""


def joint_boxes(joints2d: ArrayLike, labelled: NDArray[np.bool_] | None = None) -> FloatArray:
    """Boxes (..., 4) about joints (..., J, 2), widened by ``MARGIN``; NaN where no joint is ``labelled`` (..., J)."""
    joints = np.asarray(joints2d, np.float64)
    if labelled is None:
        labelled = np.ones(joints.shape[:-1], bool)
    low = np.where(labelled[..., None], joints, np.inf).min(-2)
    high = np.where(labelled[..., None], joints, -np.inf).max(-2)
    margin = MARGIN * (high - low).max(-1, keepdims=True)
    boxes = np.concatenate([low - margin, high + margin], -1)
    return np.where(labelled.any(-1)[..., None], boxes, np.nan).astype(np.float32)


def check_box(box: ArrayLike, width: float, height: float) -> None:
    """SampleError unless ``box`` (4,) is finite, has an area, and touches a picture of that size."""
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    if not np.isfinite([x0, y0, x1, y1]).all():
        raise SampleError("the person box is not finite")
    shown = f"({x0:.0f}, {y0:.0f}, {x1:.0f}, {y1:.0f})"
    if x1 <= x0 or y1 <= y0:
        raise SampleError(f"the person box {shown} has no area")
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise SampleError(f"the person box {shown} lies outside the image of {width:.0f} x {height:.0f} pixels")
