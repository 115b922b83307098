"""Labels that the estimator under training would give itself say nothing of its errors."""

from collections.abc import Iterator

from posesyn_core.recipe import Choice, Recipe, structure


def self_labelled(recipe: Recipe) -> list[str]:
    """A sentence for each data set that the estimator, with the same weights, would label for itself."""
    mine = recipe.eem or recipe.estimator
    return [
        f"[{where}] labeller = {labeller.name!r} is the estimator itself: its labels would agree with its own errors; "
        "name another 2D estimator, or other weights"
        for where, labeller in _labellers(recipe)
        if (labeller.name, labeller.options.get("weights")) == (mine.name, mine.options.get("weights"))
    ]


def _labellers(recipe: Recipe) -> Iterator[tuple[str, Choice]]:
    """(section, labeller) of all that label."""
    if recipe.labeller is not None and recipe.score.labels != "ground_truth":
        yield "labeller", recipe.labeller
    readers = (("dataset", recipe.dataset), *((f"real.{at}", choice) for at, choice in enumerate(recipe.real)))
    for where, choice in readers:
        if "labeller" in choice.options:
            yield where, structure(choice.options["labeller"], Choice, where)
