"""Stage 6: keep the synthesised frames that the estimator confirms (Eq. 6)."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import evolve

from posesyn_core.boxes import joint_boxes
from posesyn_core.components import FrameFilter, Kind
from posesyn_core.errors import SampleError
from posesyn_core.inference import predict
from posesyn_core.pipeline.executor import Unit, fill
from posesyn_core.pipeline.run import Clip, FilteredFrame, Run
from posesyn_core.pipeline.tables import Row
from posesyn_core.values import LabelledFrame, Sample, SmplParams, Verdict

PART = 512
LEAST_INSIDE = 0.5
"""A frame with fewer of its joints inside the image is rejected."""

Item = tuple[str, int, LabelledFrame]


def filter_frames(run: Run) -> dict[str, Any]:
    """Fill the table ``filter``: every drawn frame with its labels, its error and whether it is kept."""
    run.require("animate")
    recipe = run.recipe
    estimator = run.create(Kind.ESTIMATOR, recipe.estimator, "estimator")
    network = run.network(recipe.estimator, estimator, "estimator")
    judge: FrameFilter = run.create(Kind.FILTER, recipe.filter, "filter")

    def work(batches: Iterator[list[Unit[Item]]]) -> Iterator[Row[FilteredFrame]]:
        in_flight: deque[list[Unit[Item]]] = deque()

        def samples() -> Iterator[list[Sample]]:
            for batch in batches:
                in_flight.append(batch)
                yield [_as_sample(frame) for _, (_, _, frame) in batch]

        for estimates in predict(estimator, samples(), network=network, workers=recipe.machine.workers):
            yield from _judged(judge, in_flight.popleft(), estimates)

    total, rejected = fill(
        run.frames, _frames(run), work, part=PART, batch=recipe.machine.batch_size, label="filter",
        total=run.require("animate")["frames"],
    )  # fmt: skip
    kept = sum(1 for _, keep in _verdicts(run) if keep)
    return {"frames": total, "rejected": rejected, "kept": kept}


def _verdicts(run: Run) -> Iterator[tuple[str, bool]]:
    return ((unit, verdict["keep"]) for unit, verdict in run.frames.column("verdict"))


def _frames(run: Run) -> Iterator[Unit[Item]]:
    for clip in run.clips.values():
        for number, frame in enumerate(labelled_frames(clip)):
            yield frame.id, (clip.plan.id, number, frame)


def labelled_frames(clip: Clip) -> Iterator[LabelledFrame]:
    """A clip's frames with the labels of its plan; joints outside the image have confidence 0."""
    plan = clip.plan
    boxes = joint_boxes(plan.joints2d)
    inside = np.all((plan.joints2d >= 0) & (plan.joints2d < (clip.width, clip.height)), axis=-1)
    relative = plan.joints3d - plan.joints3d[:, :1]
    for at, path in enumerate(clip.frames):
        yield LabelledFrame(
            id=f"{plan.id}/{at:04d}",
            image=path,
            box=boxes[at],
            joints2d=plan.joints2d[at],
            confidence=inside[at],
            camera=plan.camera,
            joints3d=relative[at],
            smpl=SmplParams(plan.global_orient[at], plan.body_pose[at], plan.betas, plan.transl[at]),
            caption=plan.caption,
            source="synthesised",
        )


def _as_sample(frame: LabelledFrame) -> Sample:
    return Sample(frame.id, frame.image, frame.box, "smpl24", frame.joints2d, frame.confidence, frame.camera)


def _judged(judge: FrameFilter, batch: list[Unit[Item]], estimates: list[Any]) -> Iterator[Row[FilteredFrame]]:
    """Verdicts on the frames that could be judged; the others are rejected with their reason."""
    reasons = [_fault(frame, estimate) for (_, (_, _, frame)), estimate in zip(batch, estimates, strict=True)]
    sound = [at for at, reason in enumerate(reasons) if reason is None]
    verdicts = iter(judge.judge([batch[at][1][2] for at in sound], [estimates[at] for at in sound]))
    for (name, (clip, number, frame)), reason in zip(batch, reasons, strict=True):
        if reason is not None:
            yield Row(name, rejected=reason)
            continue
        verdict: Verdict = next(verdicts)
        yield Row(name, FilteredFrame(clip, number, evolve(frame, error_mm=verdict.error), verdict))


def _fault(frame: LabelledFrame, estimate: Any) -> str | None:
    if isinstance(estimate, SampleError):
        return str(estimate)
    if frame.confidence.mean() < LEAST_INSIDE:
        return "the motion leaves the image"
    return None
