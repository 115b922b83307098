"""Filtering of synthesised frames: keep those on which the estimator nearly agrees with the label (Eq. 6)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.components import FrameFilter
from posesyn_core.contracts.options import option
from posesyn_core.contracts.results import calling, expect
from posesyn_core.geometry.arrays import Array, namespace
from posesyn_core.geometry.joints import estimated, places_of
from posesyn_core.geometry.skeletons import HUMANML22, SMPL24, conversion, joint_set, shared_root
from posesyn_core.values import FilterVerdict, LabelledFrame, PoseEstimate, Verdict

Reduction = Literal["mean", "sum"]
MM = 1000.0
LEAST_KNOWN = 0.5
"""Share of the joints that estimator and label could share, below which a frame can't be judged."""
HANDS = SMPL24.joints[len(HUMANML22) :]
"""They depend on the body model, so they don't count."""


def pose_error_3d(
    pred: Array, target: Array, reduction: Reduction = "mean", root: Sequence[int] = (0,), known: Any = None
) -> Array:
    """Eq. 6: (N,) distances in mm between predicted and true joints (N, J, 3) in mm, relative to their root.

    ``root`` holds the joint that is the root, which is left out (n = 2..N), or those of several whose mean is.
    ``known`` (N, J) leaves further joints out, down to ``LEAST_KNOWN`` of them; with fewer, or without the root, the
    error is not a number. ``reduction="sum"`` is the formula as printed. The paper's threshold of 120 mm fits a mean
    over the joints (summed over 23 joints it would keep nothing, while their Table 5 still keeps 6.6 % at 40), so
    ``"mean"`` is the default. Numpy or torch.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', not {reduction!r}")
    places = [at for at in range(pred.shape[1]) if len(root) > 1 or at not in root]
    roots = list(root)
    difference: Any = (pred - pred[:, roots].mean(1)[:, None]) - (target - target[:, roots].mean(1)[:, None])
    distances = (difference[:, places] ** 2).sum(-1) ** 0.5
    if isinstance(distances, np.ndarray):
        distances = np.ascontiguousarray(distances)  # else a row's sum has other bits in a batch of another size
    if known is None or known.all():
        return distances.mean(-1) if reduction == "mean" else distances.sum(-1)
    xp, counted = namespace(distances), known[:, places]
    count = counted.sum(-1)
    total = xp.where(counted, distances, 0.0).sum(-1)
    usable = (count >= LEAST_KNOWN * len(places)) & known[:, roots].all(1)
    return xp.where(usable, total / xp.where(count > 0, count, 1) if reduction == "mean" else total, xp.nan)


@frozen
class AllOf:
    """Several filters as one, by their names: a frame must pass all of them."""

    filters: Mapping[str, FrameFilter]

    def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
        """One verdict per frame, with what each filter says of it."""
        columns = [_column(name, one, frames, estimates) for name, one in self.filters.items()]
        return [_of_all(parts) for parts in zip(*columns, strict=True)]


def _column(
    name: str, one: FrameFilter, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]
) -> list[FilterVerdict]:
    with calling(one.judge):
        verdicts = expect(one.judge(frames, estimates), Verdict, len(frames), one.judge)
    return [FilterVerdict(name, verdict.keep, verdict.error, verdict.reason) for verdict in verdicts]


def _of_all(parts: tuple[FilterVerdict, ...]) -> Verdict:
    reasons = (f"{part.filter}: {part.reason}" for part in parts if not part.keep)
    return Verdict(all(part.keep for part in parts), parts[0].error, "; ".join(reasons), parts)


@frozen
class TpeErrorConfig:
    """Options of the filter by the estimator's own error."""

    tau: float = option(120.0, "largest error in mm that is kept (tau, Table 5)", above=0, threshold="mm")
    reduction: Reduction = option("mean", "over the joints: mean, or sum for Eq. 6 as printed")


@frozen
class TpeError:
    """Keeps a frame if the estimator's joints are within tau of its label.

    The joints are those of the label that the estimator has too; of SMPL's, the 22 that motions share.
    """

    config: TpeErrorConfig

    def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
        """One verdict per frame; a frame that lacks a 3D label, or whose error is not finite, is dropped.

        UserError if the joint sets of estimator and label have no root in common.
        """
        errors = np.full(len(frames), np.nan)
        alike = places_of((e.joint_set, f.joint_set) for e, f in zip(estimates, frames, strict=True))
        for places in alike.values():
            errors[places] = self._errors([frames[at] for at in places], [estimates[at] for at in places])
        return [self._verdict(float(error)) for error in errors]

    def _errors(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> NDArray[np.float64]:
        """(N,) Eq. 6 of frames that are all of one joint set, and estimates that are."""
        name, labels = frames[0].joint_set, np.array([frame.labels3d() for frame in frames], np.float64)
        source = estimates[0].joint_set
        predicted, known = estimated(estimates, name, 3, np.float64)
        known = known & (labels[..., 3] > 0) & np.isfinite(labels).all(-1)
        shared, points = (conversion(source, name) != 0).any(1), joint_set(name).points
        counted = [at for at in np.flatnonzero(shared).tolist() if points[at] not in HANDS]
        root = [counted.index(at) for at in shared_root(source, name)]
        pred, target = MM * predicted[:, counted].astype(np.float64), MM * labels[:, counted, :3]
        return pose_error_3d(pred, target, self.config.reduction, root, known[:, counted])

    def _verdict(self, error: float) -> Verdict:
        if not np.isfinite(error):
            return Verdict(False, error, "the 3D error is not finite: the label or the estimate is missing or broken")
        if error > self.config.tau:
            return Verdict(False, error, f"3D error {error:.1f} mm exceeds tau = {self.config.tau:g} mm")
        return Verdict(True, error)
