"""Several rounds of mining and training: what the paper stops short of.

Round k is a complete run in ``round-k``; its estimator is what round k - 1 made of its own. The errors of all rounds
stand in ``rounds.json`` and as a chart in ``report.html``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.evaluate import SHIPPED
from posesyn_core.pipeline.finetune import POSESYN, weights_of
from posesyn_core.pipeline.locks import run_lock
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.recipe import Recipe
from posesyn_core.registry import Registry
from posesyn_core.report.rounds import write_rounds_report
from posesyn_core.runs.stages import run_all

Tell = Callable[[str, Mapping[str, Any]], None]


def run_rounds(
    folder: Path, recipe: Recipe, registry: Registry, tell: Tell, restart: str | None = None
) -> list[dict[str, float]]:
    """Do ``recipe.rounds`` rounds below ``folder``, going on where an earlier call stopped.

    ``restart`` names the stage from which the first round is done again; all later rounds
    are set aside.

    Returns the error of the estimator before the first and after every round (``round``, ``mpjpe``, ``pa_mpjpe``; no
    errors without test data). UserError if the recipe does not train.
    """
    if recipe.finetune.steps == 0:
        raise UserError(f"rounds = {recipe.rounds} needs a training in each: set finetune.steps")
    with run_lock(folder):
        return _run_rounds(folder, recipe, registry, tell, restart)


def _run_rounds(
    folder: Path, recipe: Recipe, registry: Registry, tell: Tell, restart: str | None
) -> list[dict[str, float]]:
    if restart is not None:
        set_aside(folder, [folder / f"round-{later}" for later in range(recipe.rounds, 1, -1)])
    runs: list[Run] = []
    for number in range(1, recipe.rounds + 1):
        runs.append(_next(folder / f"round-{number}", recipe, registry, runs, restart if number == 1 else None))
        tell(f"round {number}", {"of": recipe.rounds})
        run_all(runs[-1], tell)
    errors = errors_by_round(runs)
    write_atomic(folder / "rounds.json", json.dumps(errors, indent=1) + "\n")
    write_rounds_report(folder / "report.html", recipe.name, errors)
    return errors


def _next(folder: Path, recipe: Recipe, registry: Registry, before: Sequence[Run], restart: str | None) -> Run:
    """The run of a round: the first is the recipe's own, the later ones start from what the last one trained."""
    once = evolve(recipe, rounds=1, name=f"{recipe.name}-{folder.name}")
    if before:
        trained = {**recipe.estimator.options, "weights": str(weights_of(before[-1], POSESYN))}
        if not recipe.body and (body := before[-1].bodies.file):  # trained weights may lack what a checkpoint brings
            trained.setdefault("body", str(body))
        finetune = evolve(recipe.finetune, real_only=False, from_scratch=False)
        once = evolve(once, estimator=evolve(recipe.estimator, options=trained), finetune=finetune)
    return create_run(folder, once, registry, restart)


def errors_by_round(runs: Sequence[Run]) -> list[dict[str, float]]:
    """Round 0 is the estimator as shipped."""
    measured = [run.require("evaluate")["variants"] for run in runs]
    if not measured[0]:
        return [{"round": number} for number in range(len(runs) + 1)]
    figures = [measured[0][SHIPPED], *(variants[POSESYN] for variants in measured)]
    return [{"round": at, "mpjpe": one["mpjpe"], "pa_mpjpe": one["pa_mpjpe"]} for at, one in enumerate(figures)]
