"""Orientation-aligned motion guidance: lay a motion onto the reference person's orientation (Eq. 9)."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.geometry.arrays import Array, as_given, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["anchored", "literal", "heading"]


def align_orientation(global_orient: Array, initial: Array, mode: Mode = "anchored") -> Array:
    """Eq. 9: the motion's orientations (L, 3), turned as a whole so that the first one is ``initial`` (3,).

    All are axis-angle, in one frame: take a motion's y-up orientations through :func:`orient_to_camera` first, or its
    turns come out mirrored. With R_S,l the rotation of frame l and R_init that of the reference person:

    - ``anchored``: R_l = R_S,l R_S,1^-1 R_init, the rotation since the first frame. Turns accumulate as in the motion.
    - ``literal``: R_l = R_S,l R_S,l-1^-1 R_init with R_1 = R_init, the formula as printed. Each frame takes only the
      rotation since the frame before, so the person trembles about the initial orientation and never turns.
    - ``heading``: R_l = Y R_S,l with Y the turn about the vertical that brings R_S,1 nearest to R_init. Only the
      heading is aligned, so that a body that bends, lies or stands on its hands in frame 1 still does.

    Returns (L, 3) axis-angle, numpy or torch as ``global_orient``; an empty motion stays empty.
    """
    from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle

    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
    orient = to_tensor(global_orient)
    motion, start = axis_angle_to_matrix(orient), axis_angle_to_matrix(to_tensor(initial).to(orient))
    if mode == "heading":
        return as_given(matrix_to_axis_angle(_turn(start @ motion[:1].mT) @ motion), global_orient)
    since = motion[:1] if mode == "anchored" else motion[[0, *range(len(motion) - 1)]]
    return as_given(matrix_to_axis_angle(motion @ since.mT @ start), global_orient)


def _turn(rotation: "Tensor") -> "Tensor":
    """The rotation about the vertical y in rotations (..., 3, 3): the nearest one that leaves the vertical alone."""
    import torch

    angle = torch.atan2(rotation[..., 0, 2] - rotation[..., 2, 0], rotation[..., 0, 0] + rotation[..., 2, 2])
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).unflatten(-1, (3, 3))


def camera_to_y_up(points: ArrayLike) -> NDArray[np.floating]:
    """Points (..., 3) of the camera frame (x right, y down, z away) in the motion frame's axes (y up), and back.

    Half a turn about x: a person facing the camera then faces +z with the left at +x, as HumanML3D's do.
    """
    given = np.asarray(points)
    return given * np.array([1, -1, -1], given.dtype)


def orient_to_camera(global_orient: Array) -> Array:
    """Root orientations (..., 3) axis-angle of a y-up motion, in the camera frame: that half turn, applied after them.

    It undoes itself, so it also takes orientations of the camera frame to y up.
    """
    import torch

    from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle

    orient = to_tensor(global_orient)
    half_turn = torch.tensor([1.0, -1.0, -1.0], dtype=orient.dtype, device=orient.device)
    return as_given(matrix_to_axis_angle(half_turn[:, None] * axis_angle_to_matrix(orient)), global_orient)
