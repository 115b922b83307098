"""The official evaluation: MPJPE and PA-MPJPE on 14 joints, and PCK of the 2D joints."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.method.metrics import mpjpe, pa_mpjpe
from posesyn_hmr2.joints import EVALUATED, PELVIS

_MM = 1000.0
_SCALE_UNIT = 200.0

Floats = NDArray[np.floating]


def errors_mm(predicted: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """MPJPE and PA-MPJPE (N,) in mm of joints (N, 44, 3) in metres, both less joint 39, on the 14 joints of LSP."""
    joints = list(EVALUATED)
    ours, theirs = (points - points[:, PELVIS : PELVIS + 1] for points in (predicted, truth))
    return _MM * mpjpe(ours[:, joints], theirs[:, joints]), _MM * pa_mpjpe(ours[:, joints], theirs[:, joints])


def keypoint_l2(predicted: Floats, labelled: Floats) -> Floats:
    """(N,) the mean over all 44 joints of confidence * squared distance of (N, 44, 2) from (N, 44, 3), crop units."""
    return (labelled[..., 2] * ((predicted - labelled[..., :2]) ** 2).sum(-1)).mean(-1)


def pck(
    predicted: Floats, labelled: Floats, scale: ArrayLike, box_size: ArrayLike, thresholds: ArrayLike = (0.05, 0.1)
) -> tuple[Floats, Floats]:
    """The share of people whose joint is nearer to its label than each of T thresholds times their box.

    2D joints (N, 44, 2) and labels (N, 44, 3) in crop units; ``box_size`` (N,) of the crop in pixels, ``scale`` (N, 2)
    of the person's box / 200, whose longer side is the unit. Joints of confidence up to 0.5 do not count. Returns the
    shares (T, 44), NaN for joints that nobody has, and their means (T,) over the other joints.
    """
    unit = np.asarray(box_size) / (_SCALE_UNIT * np.asarray(scale)).max(-1)
    distance = np.linalg.norm(predicted - labelled[..., :2], axis=-1) * unit[:, None]
    counted = labelled[..., 2] > 0.5
    hits = (distance < np.asarray(thresholds)[:, None, None]) & counted
    people = counted.sum(0)
    shares = np.where(people > 0, hits.sum(1) / np.maximum(people, 1), np.nan)
    return shares, np.nanmean(shares, axis=-1)
