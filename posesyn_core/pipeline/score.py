"""Stage 1: score every sample with the estimator (EEM, Eq. 1)."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core import eem, skeletons
from posesyn_core.components import Kind
from posesyn_core.errors import SampleError
from posesyn_core.inference import predict
from posesyn_core.pipeline.executor import Unit, fill
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.tables import Row
from posesyn_core.values import PoseEstimate, Sample, SampleOrRejection, ScoredSample

PART = 256
Batch = list[Unit[Sample | str]]


def score(run: Run) -> dict[str, Any]:
    """Fill the table ``score``: error and pseudo-label of every sample, or why it was refused."""
    recipe = run.recipe
    choice, where = (recipe.eem, "eem") if recipe.eem is not None else (recipe.estimator, "estimator")
    estimator = run.create(Kind.ESTIMATOR, choice, where)
    network = run.network(choice, estimator, where)
    labeller = None if recipe.score.labels == "ground_truth" else _labeller(run)
    reader = run.create(Kind.READER, recipe.dataset, "dataset")

    def work(batches: Iterator[Batch]) -> Iterator[Row[ScoredSample]]:
        in_flight: deque[Batch] = deque()

        def readable() -> Iterator[list[Sample]]:
            for batch in batches:
                in_flight.append(batch)
                yield [sample for _, sample in batch if isinstance(sample, Sample)]

        for estimates in predict(estimator, readable(), network=network, workers=recipe.machine.workers):
            batch = in_flight.popleft()
            samples = [sample for _, sample in batch if isinstance(sample, Sample)]
            labels = None if labeller is None else labeller(samples)
            scored = iter(score_batch(samples, estimates, labels, recipe.score.min_weight))
            yield from (next(scored) if isinstance(it, Sample) else Row(name, rejected=it) for name, it in batch)

    units = _with_unique_ids(reader.samples())
    total, rejected = fill(
        run.scored, units, work, part=PART, batch=recipe.machine.batch_size, label="score", total=_length(reader)
    )
    return {"samples": total, "rejected": rejected}


def _labeller(run: Run) -> Any:
    """The estimator whose 2D joints stand in for the ground truth (Table 7)."""
    from posesyn_core.recipe import Choice

    choice = Choice(run.recipe.score.labels)
    estimator = run.create(Kind.ESTIMATOR, choice, "score.labels")
    network = run.network(choice, estimator, "score.labels")

    def label(samples: list[Sample]) -> list[PoseEstimate | SampleError]:
        return next(iter(predict(estimator, iter([samples]), network=network, workers=run.recipe.machine.workers)))

    return label


def _with_unique_ids(entries: Iterator[SampleOrRejection]) -> Iterator[Unit[Sample | str]]:
    """(id, sample or reason); a repeated id is rejected under a name of its own."""
    seen: dict[str, int] = {}
    for entry in entries:
        name, content = (entry.id, entry) if isinstance(entry, Sample) else entry
        count = seen[name] = seen.get(name, 0) + 1
        if count == 1:
            yield name, content
        else:
            yield f"{name} (repeat {count})", "the data set has this id more than once; only the first is used"


def _length(reader: Any) -> int | None:
    return len(reader) if hasattr(reader, "__len__") else None


def score_batch(
    samples: Sequence[Sample],
    estimates: Sequence[PoseEstimate | SampleError],
    labels: Sequence[PoseEstimate | SampleError] | None,
    min_weight: float,
) -> list[Row[ScoredSample]]:
    """Eq. 1 for a batch; samples of one joint set are computed together. One row per sample, in order."""
    rows: list[Row[ScoredSample] | None] = [None] * len(samples)
    groups: dict[str, list[int]] = {}
    for at, (sample, estimate) in enumerate(zip(samples, estimates, strict=True)):
        label = labels[at] if labels is not None else None
        fault = next((e for e in (estimate, label) if isinstance(e, SampleError)), None)
        if fault is not None:
            rows[at] = Row(sample.id, rejected=str(fault))
        else:
            groups.setdefault(sample.joint_set if label is None else "smpl24", []).append(at)
    for joint_set, members in groups.items():
        scored = _errors(
            [samples[at] for at in members],
            [_estimate(estimates[at]) for at in members],
            None if labels is None else [_estimate(labels[at]) for at in members],
            joint_set,
            min_weight,
        )
        for at, error, joint_errors in zip(members, *scored, strict=True):
            rows[at] = _row(samples[at], _estimate(estimates[at]), float(error), joint_errors)
    return [row for row in rows if row is not None]


def _estimate(value: PoseEstimate | SampleError) -> PoseEstimate:
    assert isinstance(value, PoseEstimate)
    return value


def _errors(
    samples: list[Sample],
    estimates: list[PoseEstimate],
    labels: list[PoseEstimate] | None,
    joint_set: str,
    min_weight: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    boxes = np.stack([sample.box for sample in samples])
    predicted, derivable = skeletons.convert(np.stack([e.joints2d for e in estimates]), None, "smpl24", joint_set)
    if labels is None:
        truth = np.stack([sample.keypoints2d for sample in samples])
        visible = np.stack([sample.confidence for sample in samples]) > 0
    else:
        truth = np.stack([label.joints2d for label in labels])
        visible = np.ones(truth.shape[:2], bool)
    return eem.projection_error(
        eem.normalise_to_crop(predicted, boxes),
        eem.normalise_to_crop(truth, boxes),
        eem.joint_weights(joint_set),
        skeletons.joint_set(joint_set).root,
        visible & derivable,
        min_weight=min_weight,
    )


def _row(sample: Sample, estimate: PoseEstimate, error: float, joint_errors: NDArray[np.float64]) -> Row[ScoredSample]:
    if not np.isfinite(estimate.joints3d).all() or not np.isfinite(estimate.joints2d).all():
        return Row(sample.id, rejected="the estimator returned numbers that are not finite")
    if not sample.confidence.any():
        return Row(sample.id, rejected="no joint is labelled")
    if not np.isfinite(error):
        return Row(sample.id, rejected="too few of the joints that Eq. 1 weighs are labelled, or the root is not")
    return Row(sample.id, ScoredSample(sample, error, joint_errors.astype(np.float32), estimate))
