"""Stage 9: measure the estimator as shipped and after each training on held-out data."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.pipeline.finetune import weights_of
from posesyn_core.pipeline.run import Run
from posesyn_core.training.evaluate import evaluate as measure
from posesyn_core.values import Sample

SHIPPED = "shipped"
Figures = dict[str, float | int]


def evaluate(run: Run) -> dict[str, Any]:
    """Errors in mm of every variant on each of the recipe's ``test`` sets; per-sample values beside them.

    ``sets`` has the figures by set and variant, ``variants`` their means over the sets by variant.
    """
    trained = run.require("finetune")["variants"]
    if not run.recipe.test:
        return {"variants": {}, "sets": {}, "note": "the recipe names no test data"}
    sets = _test_sets(run)
    figures: dict[str, dict[str, Figures]] = {label: {} for label in sets}
    for variant in (SHIPPED, *trained):
        for label, summary in _measure_variant(run, variant, sets).items():
            figures[label][variant] = summary
    means = {variant: mean_over_sets([by[variant] for by in figures.values()]) for variant in (SHIPPED, *trained)}
    return {"samples": sum(map(len, sets.values())), "variants": means, "sets": figures}


def _test_sets(run: Run) -> dict[str, list[Sample]]:
    """The samples with 3D truth of every test set, by label."""
    sets: dict[str, list[Sample]] = {}
    for at, choice in enumerate(run.recipe.test):
        if choice.label in sets:
            raise UserError(f"two test sets are called {choice.label!r}; give one of them another 'label'")
        reader = run.create(Kind.READER, choice, f"test.{at}")
        sets[choice.label] = [
            entry for entry in reader.samples() if isinstance(entry, Sample) and entry.joints3d is not None
        ]
    return sets


def _measure_variant(run: Run, variant: str, sets: Mapping[str, Sequence[Sample]]) -> dict[str, Figures]:
    choice, machine = run.recipe.estimator, run.recipe.machine
    if variant != SHIPPED:
        choice = evolve(choice, options={**choice.options, "weights": str(weights_of(run, variant))})
    estimator = run.create(Kind.ESTIMATOR, choice, "estimator")
    network = run.network(choice, estimator, "estimator")
    figures = {}
    for label, samples in sets.items():
        result = measure(
            estimator,
            samples,
            batch_size=machine.batch_size,
            workers=machine.workers,
            network=network,
            label=f"evaluate {variant}",
        )
        result.write(run.folder / "evaluate" / variant / f"{label}.parquet")
        figures[label] = result.summary()
    return figures


def mean_over_sets(figures: Sequence[Figures]) -> Figures:
    """Counts summed, errors averaged: every set weighs the same, and only what all of them measured is kept."""
    shared = [name for name in figures[0] if all(name in one for one in figures)]
    return {
        name: sum(int(one[name]) for one in figures)
        if name in ("samples", "rejected")
        else round(statistics.mean(one[name] for one in figures), 3)
        for name in shared
    }
