"""Stage 6: keep the synthesised frames that the estimator confirms (Eq. 6).

The stage ``animate`` has every frame judged as it is drawn, before it is written. Here the verdicts become a table; if
the filter of the recipe is another by now, they are passed anew on the estimates that ``animate`` kept: no network
runs twice.
"""

from collections.abc import Iterator
from typing import Any

from attrs import evolve

from posesyn_core.components import FrameFilter, Kind
from posesyn_core.errors import SampleError, UserError
from posesyn_core.inference.predict import Result
from posesyn_core.pipeline.executor import Unit, fill
from posesyn_core.pipeline.judging import filter_of, judge_batch, label_frames
from posesyn_core.pipeline.run import Clip, DrawnFrame, FilteredFrame, Judgement, Run
from posesyn_core.pipeline.tables import Row
from posesyn_core.values import LabelledFrame

PART = 512

Item = tuple[Clip, int, LabelledFrame]


def filter_frames(run: Run) -> dict[str, Any]:
    """Fill the table ``filter``: every drawn frame with its labels, its error and whether it is kept.

    UserError if a frame is to be kept that ``animate`` dropped.
    """
    run.require("animate")
    judge: FrameFilter = run.create(Kind.FILTER, run.recipe.filter, "filter")
    present = filter_of(run)

    def work(batches: Iterator[list[Unit[Item]]]) -> Iterator[Row[FilteredFrame]]:
        for batch in batches:
            yield from map(_row, batch, _judgements(judge, present, batch))

    total, rejected = fill(
        run.frames, _frames(run), work, part=PART, batch=run.recipe.machine.batch_size, label="filter",
        total=run.require("animate")["frames"],
    )  # fmt: skip
    kept = sum(keep for _, keep in run.frames.column("verdict.keep"))
    return {"frames": total, "rejected": rejected, "kept": kept}


def _frames(run: Run) -> Iterator[Unit[Item]]:
    for clip in run.clips.values():
        for number, frame in enumerate(labelled_frames(clip)):
            yield frame.id, (clip, number, frame)


def labelled_frames(clip: Clip) -> Iterator[LabelledFrame]:
    """A clip's frames with the labels of its plan, those that were not written among them."""
    return label_frames(clip.plan, [drawn.image for drawn in clip.frames], clip.width, clip.height)


def _judgements(judge: FrameFilter, present: str, batch: list[Unit[Item]]) -> Iterator[Judgement]:
    """As found when the frames were drawn, or by the ``present`` filter if that was another."""
    stale = [unit for unit in batch if unit[1][0].filter != present]
    frames = [frame for _, (_, _, frame) in stale]
    try:
        anew = iter(judge_batch(judge, frames, [_result(clip.frames[at]) for _, (clip, at, _) in stale]))
    except SampleError as error:  # a filter that looks at images
        raise UserError(f"the filter can't judge frames that were not kept ({error}): {_REMEDY}") from error
    return (next(anew) if clip.filter != present else clip.frames[at].judgement for _, (clip, at, _) in batch)


def _result(drawn: DrawnFrame) -> Result:
    found = drawn.judgement
    return SampleError(found.fault or "") if found.estimate is None else found.estimate


_REMEDY = "set animate.keep_rejected = true and draw the clips anew with --restart animate"


def _row(unit: Unit[Item], found: Judgement) -> Row[FilteredFrame]:
    name, (clip, number, frame) = unit
    if found.verdict is None:
        return Row(name, rejected=found.fault)
    if found.keep and not clip.frames[number].on_disk:
        raise UserError(
            f"frame {name} passes this filter, but was dropped as it was drawn (filter {clip.filter}): {_REMEDY}"
        )
    labelled = evolve(frame, error_mm=found.verdict.error)
    return Row(name, FilteredFrame(clip.plan.id, number, labelled, found.verdict))
