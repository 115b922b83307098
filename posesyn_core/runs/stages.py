"""The stages by name, and running them in order."""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from posesyn_core.errors import NothingLeft, UserError
from posesyn_core.parallel.processes import process_place, wait_for_all
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.locks import run_lock
from posesyn_core.pipeline.order import BUILDS_ON, STAGES
from posesyn_core.pipeline.rejections import reasons_text, write_rejected
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.shards import ShardExecutor

_MODULES: Mapping[str, tuple[str, str]] = {
    "score": ("posesyn_core.pipeline.score", "score"),
    "select": ("posesyn_core.pipeline.select", "select"),
    "caption": ("posesyn_core.pipeline.caption", "caption"),
    "synthesize": ("posesyn_core.pipeline.synthesize", "synthesize"),
    "animate": ("posesyn_core.pipeline.animate", "animate"),
    "filter": ("posesyn_core.pipeline.filter", "filter_frames"),
    "export": ("posesyn_core.pipeline.export", "export"),
    "finetune": ("posesyn_core.pipeline.finetune", "finetune"),
    "evaluate": ("posesyn_core.pipeline.evaluate", "evaluate"),
}
"""Imported when they run: most need torch."""


SHARED_STAGE = "finetune"
"""The stage that several processes can do together (``torchrun``); in others they would do the same work twice."""


SPREAD_STAGES = ("score", "caption", "synthesize", "animate", "filter")
"""The stages whose parts an executor may spread over processes; the others one process does for all."""


def run_stage(run: Run, stage: str, executor: Executor = LOCAL) -> dict[str, Any]:
    """Do one stage, or return the figures of a finished one; plugins are told when it begins and ends.

    ``executor`` does the parts of the stage's tables. Its exceptions are passed on.
    """
    rank, processes = process_place()
    if processes > 1 and stage != SHARED_STAGE:
        raise UserError(f"only the stage {SHARED_STAGE} runs in several processes; start {stage} without torchrun")
    if stage == "report":
        return _report(run)
    with run_lock(run.folder):
        done = _begun(run, stage, rank, processes)
        if done is not None:
            return done
        if rank > 0:  # the first process keeps the books
            return _function(stage)(run)
        work = partial(_function(stage), run, executor) if stage in SPREAD_STAGES else partial(_function(stage), run)
        run.registry.notify("stage_started", run=run.folder, stage=stage)
        try:
            summary = work()
        except SystemExit as stop:
            raise UserError(
                f"{stage}: a component, or a library that it uses, ended the program (sys.exit({stop.code!r})): "
                "--debug shows where; mend it"
            ) from stop
        run.finish(stage, summary)
        write_rejected(run)
        run.registry.notify("stage_finished", run=run.folder, stage=stage, summary=summary)
    return summary


def _begun(run: Run, stage: str, rank: int, processes: int) -> dict[str, Any] | None:
    """The figures of a finished stage; None for one that is begun, or gone on with, by all processes."""
    if rank == 0:
        done = run.summary(stage)
        if done is None:
            run.begin(stage)
    if processes > 1:
        for earlier in BUILDS_ON[stage]:  # not complete: said before they wait for each other
            run.require(earlier)
        wait_for_all(run.recipe.machine.device)
    return done if rank == 0 else run.summary(stage)


_UNITS = {"score": "samples", "caption": "captions", "synthesize": "motions", "animate": "clips", "filter": "frames"}
"""What the figures of a stage call the units that may be rejected."""


def require_some(stage: str, figures: Mapping[str, Any]) -> None:
    """NothingLeft, with the most frequent reasons, if a stage's figures leave nothing to go on with."""
    if stage == "select":  # whose easy samples may be of no use
        name, rejected, dropped = "hard samples", figures.get("rejected", 0), 0
        total = rejected if figures["hard"] == 0 else rejected + 1
    elif stage == "export":
        name, total, rejected, dropped = "kept frames", figures["frames"], 0, 0
    elif stage in _UNITS:
        name = _UNITS[stage]
        total, rejected, dropped = figures[name], figures["rejected"], figures.get("dropped", 0)
    else:
        return
    if rejected + dropped < total:
        return
    told = [
        f"{count} {word}, most often for: {reasons_text(figures[reasons])}"
        for count, word, reasons in ((rejected, "rejected", "reasons"), (dropped, "dropped", "drop_reasons"))
        if count
    ]
    raise NothingLeft(
        f"nothing is left after {stage} of {total} {name}: {'; '.join(told) or 'there were none'} (rejected.parquet "
        f"lists what was rejected); mend the data or the settings and use --restart {stage}"
    )


def run_all(run: Run, tell: Callable[[str, Mapping[str, Any]], None], executor: Executor = LOCAL) -> None:
    """All stages in order; ``tell`` is called with the name and the figures of each as it ends.

    A mistake in the recipe's later sections is a UserError at once, not after hours of scoring; NothingLeft as in
    :func:`require_some`.
    """
    run.check()
    with run_lock(run.folder):
        for stage in STAGES:
            figures = _led(run, stage, executor)
            tell(stage, figures)
            require_some(stage, figures)


def _led(run: Run, stage: str, executor: Executor) -> Mapping[str, Any]:
    """A stage's figures, from the process that does it where one does it for all."""
    if stage in SPREAD_STAGES or executor.leads:
        return run_stage(run, stage, executor)
    assert isinstance(executor, ShardExecutor)
    executor.wait_until(lambda: stage == "report" or run.summary(stage) is not None, lambda: f"{stage} is not complete")
    return run.summary(stage) or {}


def _function(stage: str) -> Callable[..., dict[str, Any]]:
    module, name = _MODULES[stage]
    return getattr(importlib.import_module(module), name)


def _report(run: Run) -> dict[str, Any]:
    """The report is made anew every time: it is cheap, and shows how far the run has come."""
    from posesyn_core.report.page import write_report

    run.registry.notify("stage_started", run=run.folder, stage="report")
    summary = {"report": str(write_report(run)), "rejected": write_rejected(run)}
    run.registry.notify("stage_finished", run=run.folder, stage="report", summary=summary)
    return summary
