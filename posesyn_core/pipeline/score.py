"""Stage 1: score every sample with the estimator (EEM, Eq. 1)."""

from collections import deque
from collections.abc import Iterator, Sequence, Sized
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core.components import DatasetReader, Kind
from posesyn_core.contracts.results import calling
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.errors import SampleError
from posesyn_core.geometry.joints import check_estimate, estimated
from posesyn_core.geometry.skeletons import shared_root
from posesyn_core.inference.predict import predict
from posesyn_core.method import eem
from posesyn_core.pipeline.entries import entries_of, with_unique_ids
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.labels import Label, Labels, labels_of
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work
from posesyn_core.values import PoseEstimate, Sample, ScoredSample

MM = 1000.0
Entry = Sample | str
"""A sample, or why there is none."""
Batch = list[Unit[Entry]]


def score(run: Run, executor: Executor = LOCAL) -> dict[str, Any]:
    """Fill the table ``score``: error and pseudo-label of every sample, or why it was rejected."""
    filled = executor.fill(Scores(run))
    return {"samples": filled.units, **filled.figures()}


class Scores(Work[Entry, ScoredSample]):
    """Every entry of the data set gets its error."""

    stage, part = "score", 256

    @property
    def table(self) -> Table[ScoredSample]:
        return self.run.scored

    @property
    def batch(self) -> int:
        return self.run.recipe.machine.batch_size

    @cached_property
    def reader(self) -> DatasetReader:
        return self.run.create(Kind.READER, self.run.recipe.dataset, "dataset")

    def units(self) -> Iterator[Unit[Entry]]:
        return with_unique_ids(entries_of(self.run, self.reader))

    def total(self) -> int | None:
        if not isinstance(self.reader, Sized):
            return None
        with calling(self.reader.__len__):
            return len(self.reader)

    @cached_property
    def estimator(self) -> tuple[Any, LoadedNetwork | None]:
        """The estimator that EEM asks, and its network on its engine."""
        recipe = self.run.recipe
        choice, where = (recipe.eem, "eem") if recipe.eem is not None else (recipe.estimator, "estimator")
        estimator = self.run.create(Kind.ESTIMATOR, choice, where)
        return estimator, self.run.network(choice, estimator, where)

    @cached_property
    def labels(self) -> Labels:
        return labels_of(self.run)

    def rows(self, batches: Iterator[Batch]) -> Iterator[Row[ScoredSample]]:
        in_flight: deque[Batch] = deque()
        estimator, network = self.estimator
        least = self.run.recipe.score.min_weight

        def readable() -> Iterator[list[Sample]]:
            for batch in batches:
                in_flight.append(batch)
                yield [sample for _, sample in batch if isinstance(sample, Sample)]

        for estimates in predict(estimator, readable(), network=network, workers=self.run.recipe.machine.workers):
            batch = in_flight.popleft()
            samples = [sample for _, sample in batch if isinstance(sample, Sample)]
            scored = iter(score_batch(samples, estimates, self.labels(samples), least))
            yield from (next(scored) if isinstance(it, Sample) else Row(name, rejected=it) for name, it in batch)


def score_batch(
    samples: Sequence[Sample],
    estimates: Sequence[PoseEstimate | SampleError],
    labels: Sequence[Label | SampleError],
    min_weight: float,
) -> list[Row[ScoredSample]]:
    """Eq. 1 for a batch; samples whose labels are alike are computed together. One row per sample, in order."""
    rows: list[Row[ScoredSample] | None] = [None] * len(samples)
    groups: dict[tuple[str, int, str], list[tuple[int, PoseEstimate, Label]]] = {}
    for at, (sample, estimate, label) in enumerate(zip(samples, estimates, labels, strict=True)):
        if isinstance(estimate, SampleError) or isinstance(label, SampleError):
            fault = estimate if isinstance(estimate, SampleError) else label
            rows[at] = Row(sample.id, rejected=str(fault))
        else:
            alike = label.joint_set, label.points.shape[-1], estimate.joint_set
            groups.setdefault(alike, []).append((at, estimate, label))
    for (joint_set, *_), members in groups.items():
        boxes = np.stack([samples[at].box for at, _, _ in members])
        scored = _errors([e for _, e, _ in members], [label for _, _, label in members], boxes, joint_set, min_weight)
        for (at, estimate, label), error, joint_errors in zip(members, *scored, strict=True):
            rows[at] = _row(samples[at], estimate, label, float(error), joint_errors)
    return [row for row in rows if row is not None]


def _errors(
    estimates: Sequence[PoseEstimate],
    labels: Sequence[Label],
    boxes: NDArray[np.floating],
    joint_set: str,
    min_weight: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eq. 1 in pixels of the 256-pixel crop, or for 3D labels in mm."""
    truth = np.stack([label.points for label in labels])
    predicted, known = estimated(estimates, joint_set, truth.shape[-1])
    if truth.shape[-1] == 3:
        predicted, truth = MM * predicted, MM * truth
    else:
        predicted, truth = eem.normalise_to_crop(predicted, boxes), eem.normalise_to_crop(truth, boxes)
    return eem.projection_error(
        predicted,
        truth,
        eem.joint_weights(joint_set),
        shared_root(estimates[0].joint_set, joint_set),
        np.stack([label.visible for label in labels]) & known,
        min_weight=min_weight,
    )


def _row(
    sample: Sample, estimate: PoseEstimate, label: Label, error: float, joint_errors: NDArray[np.float64]
) -> Row[ScoredSample]:
    try:
        check_estimate(estimate)
    except SampleError as fault:
        return Row(sample.id, rejected=str(fault))
    if not label.visible.any():
        return Row(sample.id, rejected="no joint is labelled")
    if not np.isfinite(error):
        return Row(sample.id, rejected="too few of the joints that the error weighs are labelled, or the root is not")
    return Row(sample.id, ScoredSample(sample, error, joint_errors.astype(np.float32), estimate, label.joint_set))
