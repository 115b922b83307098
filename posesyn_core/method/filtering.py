"""Filtering of synthesised frames: keep those on which the estimator nearly agrees with the label (Eq. 6)."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.contracts.options import option
from posesyn_core.geometry.arrays import Array
from posesyn_core.geometry.skeletons import HUMANML22
from posesyn_core.values import FloatArray, LabelledFrame, PoseEstimate, Verdict

Reduction = Literal["mean", "sum"]


def pose_error_3d(pred: Array, target: Array, reduction: Reduction = "mean") -> Array:
    """Eq. 6: (N,) distances in mm between predicted and true joints (N, J, 3) in mm, root-relative.

    Joint 0 is the root; it is subtracted from both and left out (n = 2..N). ``reduction="sum"`` is the formula as
    printed. The paper's threshold of 120 mm fits a mean over the joints (summed over 23 joints it would keep nothing,
    while their Table 5 still keeps 6.6 % at 40), so ``"mean"`` is the default. Numpy or torch.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', not {reduction!r}")
    difference: Any = (pred - pred[:, :1]) - (target - target[:, :1])
    distances = (difference[:, 1:] ** 2).sum(-1) ** 0.5
    return distances.mean(-1) if reduction == "mean" else distances.sum(-1)


@frozen
class TpeErrorConfig:
    """Options of the filter by the estimator's own error."""

    tau: float = option(120.0, "largest error in mm that is kept (tau, Table 5)", above=0)
    reduction: Reduction = option("mean", "over the joints: mean, or sum for Eq. 6 as printed")


@frozen
class TpeError:
    """Keeps a frame if the estimator's joints are within tau of its label: the 22 joints shared with the motion."""

    config: TpeErrorConfig

    def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
        """One verdict per frame; a frame that lacks a 3D label, or whose error is not finite, is dropped."""
        pred = _millimetres(estimate.joints3d for estimate in estimates)
        labels = (frame.labels3d() for frame in frames)
        target = _millimetres(np.where(each[:, 3:] > 0, each[:, :3], np.nan) for each in labels)
        return [self._verdict(float(error)) for error in pose_error_3d(pred, target, self.config.reduction)]

    def _verdict(self, error: float) -> Verdict:
        if not np.isfinite(error):
            return Verdict(False, error, "the 3D error is not finite: the label or the estimate is missing or broken")
        if error > self.config.tau:
            return Verdict(False, error, f"3D error {error:.1f} mm exceeds tau = {self.config.tau:g} mm")
        return Verdict(True, error)


def _millimetres(joints: Iterable[FloatArray]) -> NDArray[np.float64]:
    """(N, 22, 3) mm: the joints that motion and estimator share, of SMPL-24 joints in metres."""
    return np.array([each[: len(HUMANML22)] for each in joints], np.float64).reshape(-1, len(HUMANML22), 3) * 1000
