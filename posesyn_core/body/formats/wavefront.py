"""Wavefront OBJ: the surface of one posed body."""

import numpy as np
from numpy.typing import NDArray

from posesyn_core.values import FloatArray


def wavefront(vertices: FloatArray, faces: NDArray[np.int64]) -> str:
    """A mesh as Wavefront OBJ, metres; turned upright (x right, y up, z towards the viewer), as its readers expect."""
    points = vertices * np.array([1, -1, -1])
    lines = ["# metres; camera frame turned by 180 degrees about x: x right, y up, z towards the camera"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    return "\n".join(lines) + "\n"
