"""Doing an experiment: a run for every row and seed, each taking over what it shares with another.

The folder gets ``seed-S/<row>`` (complete runs) and ``results.json``. Started again, it goes on where it stopped.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import numpy as np
from attrs import Factory, evolve, frozen

from posesyn_core.components import Kind
from posesyn_core.contracts.worlds import World
from posesyn_core.errors import NothingLeft, UserError
from posesyn_core.experiments.tables import TABLE2, Coverage, Experiment, Row
from posesyn_core.files.paths import write_atomic
from posesyn_core.method import metrics
from posesyn_core.pipeline.finetune import POSESYN, REAL_ONLY, weights_of
from posesyn_core.pipeline.run import HARD, Run, create_run, fork_run
from posesyn_core.recipe import Choice, Recipe, parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_all, run_stage

Figures = Mapping[str, Mapping[str, float]]
"""By test set ("Mean" last), then by metric."""
C = TypeVar("C", bound=Choice)
Tell = Callable[[str, Mapping[str, Any]], None]
OURS = "ours"
ALONE = ("finetune.real_only=false", "evaluate.shipped=false")
"""Settings of all runs but the reference: the baselines that the rows share are trained and measured once."""
MM = 1000.0


@frozen
class Result:
    """What came out of one row for every seed, or in ``missing`` why there is nothing.

    ``passed`` is the share of kept frames in percent; ``notes`` by test set say what makes its figures other than the
    published ones.
    """

    row: Row
    figures: Mapping[int, Figures]
    passed: Mapping[int, float]
    missing: str = ""
    notes: Mapping[str, Sequence[str]] = Factory(dict)


@frozen
class CoverageResult:
    """PA-MPJPE in mm over the motions of one row of Table 2, by seed: mean, standard deviation, least."""

    row: Coverage
    figures: Mapping[int, tuple[float, float, float]]


@frozen
class Laboratory:
    """Where experiments happen: a world, a folder, the plugins, and settings that hold for all runs.

    ``rows`` are parts of names: only rows with one of them are done; none = all.
    """

    world: World
    folder: Path
    registry: Registry
    tell: Tell
    settings: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    def wants(self, row: str) -> bool:
        """Whether a row of that name is to be done."""
        return not self.rows or any(part in row for part in self.rows)

    def recipe(self, seed: int, *settings: str) -> Recipe:
        """The world's recipe with ``settings``; readers that have a seed get the experiment's."""
        recipe = parse_recipe(self.world.recipe, [*self.settings, *settings], "the experiment's recipe")
        return evolve(
            recipe,
            seed=seed,
            dataset=self._seeded(recipe.dataset, seed),
            real=tuple(self._seeded(choice, seed) for choice in recipe.real),
            test=tuple(self._seeded(choice, seed) for choice in recipe.test),
        )

    def _seeded(self, choice: C, seed: int) -> C:
        config = self.registry.find(Kind.READER, choice.name).component.config
        if "seed" not in attrs.fields_dict(config):
            return choice
        return evolve(choice, options={**choice.options, "seed": seed})

    def reference(self, seed: int, *settings: str) -> Run:
        """The run of the paper's own method, which the others take shared stages from."""
        return create_run(self.folder / f"seed-{seed}" / OURS, self.recipe(seed, *settings), self.registry)

    def other(self, reference: Run, seed: int, name: str, *settings: str) -> Run:
        """The run of another row."""
        folder = self.folder / f"seed-{seed}" / "".join(c if c.isalnum() else "-" for c in name).strip("-")
        return fork_run(reference, folder, self.recipe(seed, *settings))


def run_experiment(experiment: Experiment, laboratory: Laboratory, seeds: Sequence[int]) -> list[Result]:
    """Run or resume all rows for every seed.

    A row whose plugins or estimators are not there is reported in ``Result.missing``. UserError for a mistake that
    concerns all rows.
    """
    laboratory = evolve(laboratory, settings=(*experiment.settings, *laboratory.settings))
    references = {}
    for seed in seeds:
        references[seed] = laboratory.reference(seed)
        run_all(references[seed], _told(laboratory, OURS, seed))
    results = [_run_row(row, laboratory, references) for row in experiment.rows if laboratory.wants(row.name)]
    plain = [
        {
            "row": r.row.name,
            "missing": r.missing,
            "figures": r.figures,
            "passed": r.passed,
            "paper": r.row.published,
            "notes": r.notes,
        }
        for r in results
    ]
    write_atomic(laboratory.folder / "results.json", json.dumps(plain, indent=1) + "\n")
    return results


def _run_row(row: Row, laboratory: Laboratory, references: Mapping[int, Run]) -> Result:
    figures: dict[int, Figures] = {}
    passed: dict[int, float] = {}
    notes: Mapping[str, Sequence[str]] = {}
    for seed, reference in references.items():
        run = reference
        if row.settings:
            try:
                settings = _filled(row, laboratory.world, reference)
                run = laboratory.other(reference, seed, row.name, *settings, *ALONE)
                run_all(run, _told(laboratory, row.name, seed))
            except (UserError, NothingLeft) as error:
                return Result(row, {}, {}, missing=str(error))
        if row.variant == REAL_ONLY and run.require("finetune")["variants"] == [POSESYN]:
            return Result(row, {}, {}, missing="the recipe has no [[real]] data, or leaves it out (finetune.real_only)")
        figures[seed], notes = _figures(run, row), run.require("evaluate").get("notes", {})
        kept = run.require("filter")
        passed[seed] = 100 * kept["kept"] / max(kept["frames"], 1)
    return Result(row, figures, passed, notes=notes)


def _filled(row: Row, world: World, reference: Run) -> list[str]:
    """The row's settings with the world's estimators in their braces."""
    weights, recipe = weights_of(reference, REAL_ONLY), reference.recipe
    names = {name: getattr(world, name) for name in ("other", "hybrik", "labeller2d", "labeller3d", "nerf")}
    lacking = [name for name, value in names.items() if not value and _asks(row, name)]
    if lacking:
        raise UserError(f"needs --{lacking[0]}: which component takes that part")
    if not recipe.real and _asks(row, "real"):
        raise UserError("the recipe has no [[real]] data, whose poses it needs")
    filled = {name: value.replace("{real_only}", str(weights)) for name, value in names.items()}
    filled["estimator"], filled["real"] = inline(recipe.estimator), inline(*recipe.real[:1])
    hard, frames = reference.require("select")[HARD], reference.require("filter")["frames"]
    filled["poses"] = str(max(1, round(frames / max(hard, 1))))
    return [setting.format(**filled) for setting in row.settings]


def _asks(row: Row, name: str) -> bool:
    return any(f"{{{name}}}" in setting for setting in row.settings)


def inline(*choices: Choice) -> str:
    """A component with its options as an inline table of TOML, for a setting; "" for none."""
    return "".join(_toml({"name": choice.name, **choice.options}) for choice in choices)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)  # texts, numbers and truths are written alike


def _told(laboratory: Laboratory, row: str, seed: int) -> Tell:
    return lambda stage, summary: laboratory.tell(f"{row}, seed {seed}: {stage}", summary)


def _figures(run: Run, row: Row) -> Figures:
    evaluated = run.require("evaluate")
    if row.variant not in evaluated["variants"]:
        raise UserError("the recipe trains and tests nothing: an experiment needs finetune.steps, real and test data")
    labels = [choice.label for choice in run.recipe.test]  # the books sort by name
    by_set = {label: evaluated["sets"][label][row.variant] for label in labels}
    return {**by_set, "Mean": evaluated["variants"][row.variant]}


def run_coverage(laboratory: Laboratory, seeds: Sequence[int]) -> list[CoverageResult]:
    """Table 2: how near the motions come to the true poses of the hard samples. Nothing is drawn or trained."""
    wanted = [row for row in TABLE2 if laboratory.wants(row.name)]
    found: dict[str, dict[int, tuple[float, float, float]]] = {row.name: {} for row in wanted}
    for seed in seeds:
        reference = laboratory.reference(seed, *laboratory.world.truth)
        _synthesize(reference, _told(laboratory, OURS, seed))
        for row in wanted:
            run = reference
            if row.settings:
                run = laboratory.other(reference, seed, row.name, *laboratory.world.truth, *row.settings)
                _synthesize(run, _told(laboratory, row.name, seed))
            found[row.name][seed] = coverage(run)
    write_atomic(laboratory.folder / "results.json", json.dumps(found, indent=1) + "\n")
    return [CoverageResult(row, found[row.name]) for row in wanted]


def _synthesize(run: Run, tell: Tell) -> None:
    for stage in ("score", "select", "caption", "synthesize"):
        tell(stage, run_stage(run, stage))


def coverage(run: Run) -> tuple[float, float, float]:
    """Mean, standard deviation and least PA-MPJPE (mm) of each motion's poses to the truth, averaged over motions.

    UserError if the hard samples have no 3D truth.
    """
    truth = {one.scored.sample.id: one.scored.sample.joints3d for one in run.of_role(HARD)}
    rows = []
    for motion in run.motions.values():
        pose = truth[motion.sample_id]
        if pose is None:
            raise UserError("Table 2 compares with the true poses: name a dataset whose samples have joints3d")
        target = np.broadcast_to(pose[None, :22] * MM, motion.joints.shape).astype(np.float64)
        # The motion is y up, the truth y down: half a turn about x, which the similarity takes out like any other.
        errors = metrics.pa_mpjpe(motion.joints.astype(np.float64) * MM, target)
        rows.append((errors.mean(), errors.std(), errors.min()))
    if not rows:
        raise UserError("no motion was synthesised: there is nothing to compare")
    mean, deviation, least = np.mean(rows, axis=0)
    return float(mean), float(deviation), float(least)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (0 for a single value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
