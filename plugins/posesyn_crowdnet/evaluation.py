"""The errors that 3DCrowdNet reports on 3DPW: of a neutral prediction against the gendered truth, mesh by mesh."""

from typing import Any

import numpy as np

from posesyn_core.geometry.arrays import like
from posesyn_core.metrics import mpjpe, pa_mpjpe, pve

EVALUATED = [1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16]
"""The 14 of Human3.6M's 17 joints that count."""


def errors_3dpw(pred: Any, truth: Any, h36m_regressor: Any, pelvis: Any) -> dict[str, Any]:
    """``mpjpe``, ``pa_mpjpe`` and ``mpvpe`` (N,) in mm of meshes (N, V, 3) in metres.

    ``h36m_regressor`` (17, V) is J_regressor_h36m_correct.npy: joints are relative to its pelvis, which is not among
    the 14 that count. ``pelvis`` (V,) is the pelvis row of SMPL's own regressor: vertices are relative to that.
    """
    rows, root = like(np.asarray(h36m_regressor), pred), like(np.asarray(pelvis), pred)
    ours, theirs = 1000 * (rows @ pred), 1000 * (rows @ truth)
    ours, theirs = ours - ours[:, :1], theirs - theirs[:, :1]
    counted, expected = ours[:, EVALUATED], theirs[:, EVALUATED]
    return {
        "mpjpe": mpjpe(counted, expected),
        "pa_mpjpe": pa_mpjpe(counted, expected),
        "mpvpe": pve(1000 * pred, 1000 * truth, 1000 * (root @ pred), 1000 * (root @ truth)),
    }
