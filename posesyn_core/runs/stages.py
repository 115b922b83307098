"""The stages by name, and running them in order."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from posesyn_core.errors import UserError
from posesyn_core.parallel.processes import process_place
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run, write_rejected

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


def run_stage(run: Run, stage: str) -> dict[str, Any]:
    """Do one stage, or return the figures of a finished one; plugins are told when it begins and ends."""
    rank, processes = process_place()
    if processes > 1 and stage != SHARED_STAGE:
        raise UserError(f"only the stage {SHARED_STAGE} runs in several processes; start {stage} without torchrun")
    if stage == "report":
        return _report(run)
    done = run.summary(stage)
    if done is not None:
        return done
    if rank > 0:  # the first process keeps the books
        return _function(stage)(run)
    run.registry.manager.hook.stage_started(run=run.folder, stage=stage)
    summary = _function(stage)(run)
    run.finish(stage, summary)
    write_rejected(run)
    run.registry.manager.hook.stage_finished(run=run.folder, stage=stage, summary=summary)
    return summary


def run_all(run: Run, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
    """All stages in order; ``tell`` is called with the name and the figures of each as it ends.

    A mistake in the recipe's later sections is a UserError at once, not after hours of scoring.
    """
    run.check()
    for stage in STAGES:
        tell(stage, run_stage(run, stage))


def _function(stage: str) -> Callable[[Run], dict[str, Any]]:
    module, name = _MODULES[stage]
    return getattr(importlib.import_module(module), name)


def _report(run: Run) -> dict[str, Any]:
    """The report is made anew every time: it is cheap, and shows how far the run has come."""
    from posesyn_core.report.page import write_report

    run.registry.manager.hook.stage_started(run=run.folder, stage="report")
    summary = {"report": str(write_report(run)), "rejected": write_rejected(run)}
    run.registry.manager.hook.stage_finished(run=run.folder, stage="report", summary=summary)
    return summary
