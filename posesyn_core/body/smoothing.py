"""Temporal smoothing of posed bodies: a Gaussian over the frames of a clip, the first and last repeated beyond them."""

import numpy as np
import roma
import torch
from scipy.ndimage import gaussian_filter1d

from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from posesyn_core.values import FloatArray


def smooth_rotations(axis_angle: FloatArray, sigma: float) -> FloatArray:
    """Rotations (L, ..., 3), axis-angle: each frame's weighted mean; ``sigma`` in frames, 0 = as they are.

    The mean is the chordal one: the rotation nearest to the mean matrix (Hartley et al., Rotation Averaging, 2013). A
    mean of axis-angle vectors would go wrong where the angle passes half a turn.
    """
    if sigma == 0:
        return axis_angle
    matrices = axis_angle_to_matrix(torch.from_numpy(np.asarray(axis_angle, np.float64)))
    mean = gaussian_filter1d(matrices.numpy(), sigma, axis=0, mode="nearest")
    return matrix_to_axis_angle(roma.special_procrustes(torch.from_numpy(mean))).numpy().astype(np.float32)


def smooth_positions(points: FloatArray, sigma: float) -> FloatArray:
    """Points (L, ..., 3) smoothed alike."""
    if sigma == 0:
        return points
    return gaussian_filter1d(np.asarray(points, np.float64), sigma, axis=0, mode="nearest").astype(np.float32)
