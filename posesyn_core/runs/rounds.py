"""Several rounds of mining and training: what the paper stops short of.

Round k is a complete run in ``round-k``; its estimator is what round k - 1 made of its own. Where the folder holds a
single run already, that run is the first round. The errors of all rounds are in ``rounds.json`` and as a chart in
``report.html`` (``rounds.html`` beside a first round's own report); the recipe is in ``rounds.toml``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.evaluate import SHIPPED
from posesyn_core.pipeline.finetune import POSESYN, weights_of
from posesyn_core.pipeline.locks import run_lock
from posesyn_core.pipeline.order import RECIPE
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.recipe import Recipe, unstructure
from posesyn_core.registry import Registry
from posesyn_core.report.rounds import write_rounds_report
from posesyn_core.runs.stages import run_all

ROUNDS = "rounds.toml"
"""The recipe of all rounds."""
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
    runs: list[Run] = []
    for number in range(1, recipe.rounds + 1):
        place = folder if number == 1 and _holds_a_run(folder) else folder / f"round-{number}"
        with run_lock(place):
            runs.append(_next(place, recipe, registry, runs, restart if number == 1 else None))
            if restart is not None and number == 1:
                set_aside(folder, [folder / f"round-{later}" for later in range(recipe.rounds, 1, -1)])
            write_atomic(folder / ROUNDS, tomli_w.dumps(unstructure(recipe)))
            tell(f"round {number}", {"of": recipe.rounds})
            run_all(runs[-1], tell)
    errors = errors_by_round(runs)
    write_atomic(folder / "rounds.json", json.dumps(errors, indent=1) + "\n")
    pages = [str((run.folder / "report.html").relative_to(folder.absolute())) for run in runs]
    write_rounds_report(rounds_report(folder), recipe.name, errors, pages)
    return errors


def _holds_a_run(folder: Path) -> bool:
    """Whether the first round is the folder's own run."""
    return (folder / RECIPE).is_file()


def rounds_report(folder: Path) -> Path:
    """The page of all rounds; a first round in the folder itself keeps its own ``report.html``."""
    return folder / ("rounds.html" if _holds_a_run(folder) else "report.html")


def recipe_of_runs(folder: Path) -> Path:
    """The recipe of the run in ``folder``, or of its rounds; UserError if there is neither."""
    found = next((path for path in (folder / ROUNDS, folder / RECIPE) if path.is_file()), None)
    if found is None:
        raise UserError(f"{str(folder)!r} is not a run (it has no recipe.toml); start one with `posesyn run RECIPE`")
    return found


def _next(folder: Path, recipe: Recipe, registry: Registry, before: Sequence[Run], restart: str | None) -> Run:
    """The run of a round: the first is the recipe's own, the later ones start from what the last one trained."""
    first = not before and _holds_a_run(folder)
    once = evolve(recipe, rounds=1, name=recipe.name if first else f"{recipe.name}-{folder.name}")
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
