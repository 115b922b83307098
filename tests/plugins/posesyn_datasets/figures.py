"""A standing figure in any joint set, for small data sets of known content."""

import numpy as np
from numpy.typing import NDArray

from posesyn_core.geometry.skeletons import convert, joint_set

_BODY = {  # half of a person of 1.7 m: x to their left, y down from the pelvis, z away from the camera
    "hip": (0.1, 0.09, 0.0),
    "knee": (0.11, 0.51, -0.04),
    "ankle": (0.1, 0.92, 0.02),
    "shoulder": (0.18, -0.42, 0.0),
    "elbow": (0.22, -0.14, 0.05),
    "wrist": (0.25, 0.1, -0.03),
}


def figure(name: str, yaw: float = 0.0) -> NDArray[np.float64]:
    """Joints (J, 3) in metres of the set, camera axes (y down), pelvis near 0; turned by ``yaw`` about the vertical.

    Joints that are neither limbs nor between them stand one above the other on the axis, each at a height of its own.
    """
    names = joint_set(name).points
    points = np.full((len(names), 3), np.nan)
    for at, joint in enumerate(names):
        side, _, part = joint.partition("_")
        if side in ("left", "right") and part in _BODY:
            points[at] = np.array(_BODY[part]) * (1 if side == "left" else -1, 1, 1)
    derived, known = convert(points, None, name, name)
    rest = ~known
    points[rest] = np.stack([0.01 * np.arange(rest.sum()), -0.02 * np.arange(rest.sum()), np.zeros(rest.sum())], -1)
    points[known] = derived[known]
    cos, sin = np.cos(yaw), np.sin(yaw)
    return points @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
