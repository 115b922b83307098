"""What the report says of label fidelity and of the diversity of the kept poses."""

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from posesyn_core.pipeline.diversity import ALIKE_MM, COVERED_MM, diversity
from posesyn_core.pipeline.fidelity import measured
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.thresholds import errors_by_filter

SIDE = 420
"""Pixels of the map's sides."""


def fidelity(run: Run) -> dict[str, Any]:
    """What judges measured, what each of several filters keeps, and how the kept poses differ."""
    found = diversity(run)
    return {
        "measured": measured(run),
        "filters": _filters(run),
        "diversity": found,
        "map": None if found is None else _map(found.kept, found.mined),
        "alike": ALIKE_MM,
        "covered": COVERED_MM,
    }


def _filters(run: Run) -> list[tuple[str, float, float]]:
    """(filter, percent of the judged frames that it keeps, median of its errors) of several filters."""
    if len(run.recipe.filters) < 2 or not run.frames.parts():
        return []
    kept: dict[str, list[bool]] = {choice.label: [] for choice in run.recipe.filters}
    for _, verdict in run.frames.column("verdict"):
        for part in verdict.get("parts") or ():
            kept.setdefault(part["filter"], []).append(part["keep"])
    errors = errors_by_filter(run)
    return [
        (name, 100 * float(np.mean(passed)), float(np.median(errors[name])))
        for name, passed in kept.items()
        if passed and name in errors
    ]


def _map(kept: NDArray[np.float64], mined: NDArray[np.float64]) -> Markup:
    """Kept poses as small dots and mined ones as rings, in the plane in which they differ most."""
    everything = np.concatenate([kept, mined])
    low, span = everything.min(axis=0), max(float(np.ptp(everything, axis=0).max()), 1.0)
    places = [(10 + (SIDE - 20) * (each - low) / span).round(1).tolist() for each in (kept, mined)]
    dots = [
        Markup('<circle cx="{}" cy="{}" r="2" fill="currentColor" fill-opacity="0.35"/>').format(x, y)
        for x, y in places[0]
    ]
    rings = [
        Markup('<circle cx="{}" cy="{}" r="4.5" fill="none" stroke="#d1495b" stroke-width="1.6"/>').format(x, y)
        for x, y in places[1]
    ]
    label = "Map of poses: kept frames as dots, mined poses as rings"
    return Markup('<svg viewBox="0 0 {0} {0}" width="{0}" height="{0}" role="img" aria-label="{1}">{2}</svg>').format(
        SIDE, label, Markup("").join([*dots, *rings])
    )
