"""Which components made a run, part by part."""

from collections.abc import Iterator

from attrs import frozen

from posesyn_core.components import Component, Kind
from posesyn_core.errors import UserError
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Choice


@frozen
class Part:
    """A part of the recipe with the component that it chose; None if its plugin is no longer installed."""

    name: str
    kind: Kind
    choice: Choice
    component: Component | None


def parts(run: Run) -> Iterator[Part]:
    """Everything that the recipe chose."""
    recipe = run.recipe
    chosen: list[tuple[str, Kind, Choice | None]] = [
        ("data set", Kind.READER, recipe.dataset),
        ("estimator", Kind.ESTIMATOR, recipe.estimator),
        ("estimator in EEM", Kind.ESTIMATOR, recipe.eem),
        ("captioner", Kind.CAPTIONER, recipe.captioner),
        ("motion generator", Kind.MOTION, recipe.motion),
        ("estimator of references", Kind.ESTIMATOR, recipe.reference),
        ("reference people", Kind.READER, recipe.reference_dataset),
        ("animator", Kind.ANIMATOR, recipe.animator),
        *(("filter", Kind.FILTER, choice) for choice in recipe.filters),
        *(("real training data", Kind.READER, choice) for choice in recipe.real),
        *(("test data", Kind.READER, choice) for choice in recipe.test),
    ]
    for name, kind, choice in chosen:
        if choice is not None:
            yield Part(name, kind, choice, _component(run, kind, choice))


def _component(run: Run, kind: Kind, choice: Choice) -> Component | None:
    try:
        return run.registry.find(kind, choice.name).component
    except UserError:
        return None
