"""Synthesised frames under judgement: the estimator looks at them afresh, the filter keeps or drops them (Eq. 6)."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from attrs import frozen

from posesyn_core.components import FrameFilter, Kind, PoseEstimator, SplitEstimator
from posesyn_core.contracts.results import calling, expect, name_of
from posesyn_core.contracts.sections import Machine
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.inference.predict import Result, predict
from posesyn_core.method.filtering import AllOf
from posesyn_core.pipeline.run import Judgement, Run
from posesyn_core.values import ClipPlan, EncodedImage, LabelledFrame, PoseEstimate, Sample, SmplParams, Verdict

LEAST_INSIDE = 0.5
"""A frame with fewer of its joints inside the image can't be judged."""


@frozen
class Judge:
    """The estimator on its engine with the filter, as a run's recipe chose them."""

    estimator: PoseEstimator | SplitEstimator
    network: LoadedNetwork | None
    filter: FrameFilter
    machine: Machine

    @classmethod
    def of(cls, run: Run) -> "Judge":
        """Make both. UserError as in ``Run.create`` and ``Run.network``."""
        recipe = run.recipe
        estimator = run.create(Kind.ESTIMATOR, recipe.estimator, "estimator")
        network = run.network(recipe.estimator, estimator, "estimator")
        return cls(estimator, network, make_filter(run), recipe.machine)

    def judge(self, frames: Iterable[LabelledFrame]) -> Iterator[Judgement]:
        """One judgement per frame, in order; ``frames`` is read a few batches ahead, so that reading, cropping and
        computing overlap (:func:`posesyn_core.inference.predict.predict`)."""
        in_flight: deque[list[LabelledFrame]] = deque()

        def samples() -> Iterator[list[Sample]]:
            stream = iter(frames)
            while batch := list(islice(stream, self.machine.batch_size)):
                in_flight.append(batch)
                yield [as_sample(frame) for frame in batch]

        for results in predict(self.estimator, samples(), network=self.network, workers=self.machine.workers):
            yield from judge_batch(self.filter, in_flight.popleft(), results)


def filter_of(run: Run) -> str:
    """The run's filters with their options, as JSON: what a verdict depends on beside the frame and the estimate."""
    plain = [{"name": chosen.name, **chosen.options} for chosen in run.recipe.filters]
    return json.dumps(plain if len(plain) > 1 else plain[0], sort_keys=True)


def make_filter(run: Run) -> FrameFilter:
    """The run's filter, or all of them as one. UserError as in ``Run.create``."""
    recipe = run.recipe
    sections = zip(recipe.filters, recipe.filter_sections(), strict=True)
    made = {choice.label: run.create(Kind.FILTER, choice, where) for choice, where in sections}
    if len(made) < len(recipe.filters):
        raise UserError("two filters of the recipe are called the same: give each its own key 'label'")
    return AllOf(made) if len(made) > 1 else next(iter(made.values()))


def judge_batch(chosen: FrameFilter, frames: Sequence[LabelledFrame], results: Sequence[Result]) -> list[Judgement]:
    """What the filter says of frames and the estimator's ``results`` on them; some have a fault instead."""
    faults = [_fault(frame, result) for frame, result in zip(frames, results, strict=True)]
    sound = [(f, r) for f, r, fault in zip(frames, results, faults, strict=True) if fault is None]
    estimates = [result for _, result in sound if isinstance(result, PoseEstimate)]
    with calling(chosen.judge):
        verdicts = expect(chosen.judge([frame for frame, _ in sound], estimates), Verdict, len(sound), chosen.judge)
    for verdict in verdicts:
        _check(verdict, chosen)
    pairs = zip(estimates, verdicts, strict=True)
    return [Judgement(*next(pairs)) if fault is None else Judgement(fault=fault) for fault in faults]


def _check(verdict: Verdict, chosen: FrameFilter) -> None:
    """UserError if a filter's verdict does not hold what it should; a frame without an error can't be kept."""
    keep, error, reason = verdict.keep, verdict.error, verdict.reason
    number = isinstance(error, int | float | np.number) and not (keep and np.isnan(error))
    if not isinstance(keep, bool | np.bool_) or not number or not isinstance(reason, str):
        raise UserError(
            f"{name_of(chosen.judge)} returned a Verdict of {keep!r}, {error!r} and {reason!r}, where a truth value, a "
            "number and a text are needed"
        )


def _fault(frame: LabelledFrame, result: Result) -> str | None:
    if isinstance(result, SampleError):
        return str(result)
    if frame.confidence.mean() < LEAST_INSIDE:
        return "the motion leaves the image"
    return None


def as_sample(frame: LabelledFrame) -> Sample:
    """The frame as an estimator is to see it: without its 3D labels."""
    return Sample(
        frame.id,
        frame.image,
        frame.box,
        frame.joint_set,
        frame.joints2d,
        frame.confidence,
        frame.camera,
        neighbours=frame.neighbours,
    )


def label_frames(plan: ClipPlan, images: Sequence[EncodedImage], width: int, height: int) -> Iterator[LabelledFrame]:
    """The images of a drawn plan with its labels; joints outside the image have confidence 0."""
    boxes = joint_boxes(plan.joints2d)
    inside = np.all((plan.joints2d >= 0) & (plan.joints2d < (width, height)), axis=-1)
    relative = plan.joints3d - plan.joints3d[:, :1]
    person = plan.reference_estimate.smpl
    shape_known = person is None or person.shape_known
    for at, image in enumerate(images):
        yield LabelledFrame(
            id=f"{plan.id}/{at:04d}",
            image=image,
            box=boxes[at],
            joints2d=plan.joints2d[at],
            confidence=inside[at],
            camera=plan.camera,
            joints3d=relative[at],
            smpl=SmplParams(
                *(plan.global_orient[at], plan.body_pose[at], plan.betas, plan.transl[at]), shape_known=shape_known
            ),
            caption=plan.caption,
            source="synthesised",
            neighbours=plan.reference.neighbours,
        )
