"""Rotations, by roma: axis-angle, matrix, quaternion and the 6D form in the layouts found in the field.

All functions take and return torch tensors of any leading shape and are differentiable. Matrices act on column
vectors; axis-angle is axis times angle in radians; quaternions are (w, x, y, z) as in SMPL's and HumanML3D's code.
"""

from typing import Literal

import roma
from torch import Tensor

Layout = Literal["interleaved", "columns", "rows"]
"""How six numbers hold a rotation (Zhou et al., CVPR 2019: two of its vectors).

- ``interleaved``: a 3x2 matrix read row by row: values 0, 2, 4 are the first column (SPIN, HMR, CLIFF; also the file
  ``smpl_mean_params.npz``).
- ``columns``: values 0, 1, 2 are the first column, 3, 4, 5 the second (4D-Humans, HumanML3D).
- ``rows``: values 0, 1, 2 are the first row, 3, 4, 5 the second (PyTorch3D).
"""

_SMALLEST = 1e-12  # clamps the norms of degenerate 6D vectors, as the official codes do: zero columns, not NaN


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """(..., 3) -> (..., 3, 3)."""
    return roma.rotvec_to_rotmat(axis_angle)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3), the angle in [0, pi]."""
    return roma.rotmat_to_rotvec(matrix)


def axis_angle_to_quaternion(axis_angle: Tensor) -> Tensor:
    """(..., 3) -> (..., 4) unit quaternion (w, x, y, z)."""
    return roma.quat_xyzw_to_wxyz(roma.rotvec_to_unitquat(axis_angle))


def quaternion_to_axis_angle(quaternion: Tensor) -> Tensor:
    """(..., 4) quaternion (w, x, y, z) of any length but 0 -> (..., 3), the angle in [0, pi]."""
    return roma.unitquat_to_rotvec(_unit_xyzw(quaternion))


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 4) unit quaternion (w, x, y, z), of either sign."""
    return roma.quat_xyzw_to_wxyz(roma.rotmat_to_unitquat(matrix))


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """(..., 4) quaternion (w, x, y, z) of any length but 0 -> (..., 3, 3)."""
    return roma.unitquat_to_rotmat(_unit_xyzw(quaternion))


def six_d_to_matrix(six_d: Tensor, layout: Layout) -> Tensor:
    """(..., 6) -> (..., 3, 3) by Gram-Schmidt; ``layout`` says how the numbers are stored."""
    vectors = six_d.unflatten(-1, (3, 2)) if layout == "interleaved" else six_d.unflatten(-1, (2, 3)).mT
    matrix = roma.special_gramschmidt(vectors, epsilon=_SMALLEST)
    return matrix.mT if layout == "rows" else matrix


def matrix_to_six_d(matrix: Tensor, layout: Layout) -> Tensor:
    """(..., 3, 3) -> (..., 6), stored in that ``layout``."""
    if layout == "interleaved":
        return matrix[..., :2].flatten(-2)
    return (matrix[..., :2, :] if layout == "rows" else matrix[..., :2].mT).flatten(-2)


def _unit_xyzw(quaternion: Tensor) -> Tensor:
    return roma.quat_normalize(roma.quat_wxyz_to_xyzw(quaternion))
