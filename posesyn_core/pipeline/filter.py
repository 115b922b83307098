"""Stage 6: keep the synthesised frames that the estimator confirms (Eq. 6).

The stage ``animate`` has every frame judged as it is drawn, before it is written. Here the verdicts become a table; if
the filter of the recipe is another by now, they are passed anew on the estimates that ``animate`` kept: no network
runs twice.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from attrs import evolve

from posesyn_core.components import FrameFilter
from posesyn_core.errors import SampleError, UserError
from posesyn_core.inference.predict import Result
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.judging import filter_of, judge_batch, label_frames, make_filter
from posesyn_core.pipeline.rejections import most_frequent
from posesyn_core.pipeline.run import Clip, DrawnFrame, FilteredFrame, Judgement, Run
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work
from posesyn_core.values import LabelledFrame

Item = tuple[Clip, int, LabelledFrame]
_DETAILS = re.compile(r" \([^()]*\)")


def filter_frames(run: Run, executor: Executor = LOCAL) -> dict[str, Any]:
    """Fill the table ``filter``: every drawn frame with its labels, its error and whether it is kept.

    UserError if a frame is to be kept that ``animate`` dropped.
    """
    run.require("animate")
    filled = executor.fill(Verdicts(run))
    verdicts = [verdict for _, verdict in run.frames.column("verdict")]
    kept = sum(verdict["keep"] for verdict in verdicts)
    reasons = most_frequent(reason for verdict in verdicts for reason in _reasons(verdict))
    told = {"drop_reasons": reasons} if reasons else {}
    return {"frames": filled.units, **filled.figures(), "kept": kept, "dropped": len(verdicts) - kept, **told}


def _reasons(verdict: Mapping[str, Any]) -> Iterator[str]:
    """Why a frame was dropped, by each filter that did; without what is said in brackets, such as distances."""
    for part in verdict.get("parts") or (verdict,):
        if not part["keep"]:
            reason = _DETAILS.sub("", part["reason"])
            yield f"{part['filter']}: {reason}" if "filter" in part else reason


class Verdicts(Work[Item, FilteredFrame]):
    """Every drawn frame gets its verdict."""

    stage, part = "filter", 512

    @property
    def table(self) -> Table[FilteredFrame]:
        return self.run.frames

    @property
    def batch(self) -> int:
        return self.run.recipe.machine.batch_size

    def total(self) -> int:
        return self.run.require("animate")["frames"]

    def units(self) -> Iterator[Unit[Item]]:
        for clip in self.run.clips.values():
            for number, frame in enumerate(labelled_frames(clip)):
                yield frame.id, (clip, number, frame)

    def content(self, unit: Item) -> Any:
        clip, number, frame = unit
        return clip.filter, frame, clip.frames[number]

    @cached_property
    def judge(self) -> FrameFilter:
        return make_filter(self.run)

    def rows(self, batches: Iterator[list[Unit[Item]]]) -> Iterator[Row[FilteredFrame]]:
        present = filter_of(self.run)
        for batch in batches:
            yield from map(_row, batch, _judgements(self.judge, present, batch))


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


_REMEDY = "set animate.keep_dropped = true and draw the clips anew with --restart animate"


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
