"""What the report says of label fidelity and of the diversity of the kept poses."""

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from posesyn_core.errors import UserError
from posesyn_core.pipeline.diversity import ALIKE_MM, COVERED_MM, diversity
from posesyn_core.pipeline.fidelity import measured
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.thresholds import errors_by_filter, limit_of
from posesyn_core.recipe import Choice

SIDE = 420
"""Pixels of the map's width, and its height at most but for the bar below."""
BAR_MM = 100


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


def _filters(run: Run) -> list[tuple[str, float, str]]:
    """(filter, percent of the judged frames that it keeps, median of its errors with its unit) of several filters."""
    if len(run.recipe.filters) < 2 or not run.frames.parts():
        return []
    kept: dict[str, list[bool]] = {choice.label: [] for choice in run.recipe.filters}
    for _, verdict in run.frames.column("verdict"):
        for part in verdict.get("parts") or ():
            kept.setdefault(part["filter"], []).append(part["keep"])
    errors = errors_by_filter(run)
    return [
        (
            choice.label,
            100 * float(np.mean(kept[choice.label])),
            f"{np.median(errors[choice.label]):.3g} {_unit(run, choice)}".strip(),
        )
        for choice in run.recipe.filters
        if kept[choice.label]
    ]


def _unit(run: Run, choice: Choice) -> str:
    try:
        return limit_of(run, choice).unit
    except UserError:  # a filter without threshold, or whose plugin is gone
        return ""


def _map(kept: NDArray[np.float64], mined: NDArray[np.float64]) -> Markup:
    """Kept poses as dots and mined ones as rings, in the plane in which they differ most; a bar tells the scale."""
    everything = np.concatenate([kept, mined])
    low, span = everything.min(axis=0), max(float(np.ptp(everything, axis=0).max()), 1.0)
    scale = (SIDE - 20) / span
    height = round(20 + scale * float(np.ptp(everything[:, 1])) + 30)
    places = [(10 + scale * (each - low)).round(1).tolist() for each in (kept, mined)]
    dots = [Markup('<circle class="kept" cx="{}" cy="{}" r="2"/>').format(x, y) for x, y in places[0]]
    rings = [Markup('<circle class="mined" cx="{}" cy="{}" r="4"/>').format(x, y) for x, y in places[1]]
    bar = Markup('<path class="mark bar" d="M10 {y}h{width}"/><text x="{text}" y="{below}">{mm} mm</text>').format(
        y=height - 10, width=round(BAR_MM * scale, 1), text=round(18 + BAR_MM * scale, 1), below=height - 6, mm=BAR_MM
    )
    label = "Map of poses: kept frames as dots, mined poses as rings"
    return Markup('<svg class="map" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">{3}</svg>').format(
        SIDE, height, label, Markup("").join([*dots, *rings, bar])
    )
