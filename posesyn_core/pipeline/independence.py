"""Labels that the estimator under training would give itself say nothing of its errors."""

from collections.abc import Iterator
from typing import Any

import attrs

from posesyn_core.components import Kind
from posesyn_core.recipe import Choice, Recipe, structure
from posesyn_core.registry import Registry


def self_labelled(recipe: Recipe, registry: Registry) -> list[str]:
    """A sentence for each data set that the estimator, with the same weights, would label for itself."""
    mine = recipe.eem or recipe.estimator
    own = _weights(registry, (Kind.ESTIMATOR,), mine)
    return [
        f"[{where}] labeller = {labeller.name!r} is the estimator itself: its labels would agree with its own errors; "
        "name another 2D estimator, or other weights"
        for where, labeller in _labellers(recipe)
        if labeller.name == mine.name and _weights(registry, (Kind.KEYPOINTS, Kind.ESTIMATOR), labeller) == own
    ]


def _weights(registry: Registry, kinds: tuple[Kind, ...], choice: Choice) -> Any:
    """The weights that a choice names, or gets if it names none, by the first of ``kinds`` that has it."""
    found = next((r for kind in kinds if (r := registry.components.get((kind, choice.name)))), None)
    fields = attrs.fields_dict(found.component.config) if found is not None else {}
    usual = fields["weights"].default if "weights" in fields else None
    return choice.options.get("weights", usual)


def _labellers(recipe: Recipe) -> Iterator[tuple[str, Choice]]:
    """(section, labeller) of all that label."""
    if recipe.labeller is not None and recipe.score.labels != "ground_truth":
        yield "labeller", recipe.labeller
    readers = (("dataset", recipe.dataset), *((f"real.{at}", choice) for at, choice in enumerate(recipe.real)))
    for where, choice in readers:
        if "labeller" in choice.options:
            yield where, structure(choice.options["labeller"], Choice, where)
