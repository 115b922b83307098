"""What each of a run's filters found of its frames, and the thresholds on what they find."""

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.components import Kind
from posesyn_core.contracts.options import THRESHOLD
from posesyn_core.errors import UserError
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Choice


@frozen
class Limit:
    """A filter's threshold: the option that holds it, the unit of the filter's errors, and the run's own value."""

    choice: Choice
    option: str
    unit: str
    value: float


def chosen_filter(run: Run, name: str | None = None) -> Choice:
    """The run's filter of that name or label; without one, the first. UserError naming those that there are."""
    filters = run.recipe.filters
    found = filters[0] if name is None else next((each for each in filters if name in (each.label, each.name)), None)
    if found is None:
        raise UserError(f"the run has no filter {name!r}; it has {', '.join(each.label for each in filters)}")
    return found


def limit_of(run: Run, choice: Choice) -> Limit:
    """The threshold of one of the run's filters. UserError for a filter that has none."""
    config = run.registry.find(Kind.FILTER, choice.name).component.config
    field = next((field for field in attrs.fields(config) if THRESHOLD in field.metadata), None)
    if field is None:
        raise UserError(f"the filter {choice.name!r} has no threshold to sweep: none of its options is marked as one")
    value = choice.options.get(field.name, field.default)
    return Limit(choice, field.name, field.metadata[THRESHOLD], float(value))


def errors_by_filter(run: Run) -> dict[str, NDArray[np.float64]]:
    """By label, each filter's errors (N,) of the judged frames; one that is not finite passes no threshold."""
    verdicts = [verdict for _, verdict in run.frames.column("verdict")]
    found = {}
    for choice in run.recipe.filters:
        errors = np.array([_error(verdict, choice.label) for verdict in verdicts], np.float64)
        found[choice.label] = np.where(np.isfinite(errors), errors, np.inf)
    return found


def _error(verdict: Mapping[str, Any], label: str) -> float:
    """What a filter said, or if it is the only one, the verdict itself."""
    parts = verdict.get("parts") or [{"filter": label, **verdict}]
    return next((part["error"] for part in parts if part["filter"] == label), float("nan"))
