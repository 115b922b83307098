"""The page of a run in several rounds: the error after each, and the way to their reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from posesyn_core.files.paths import write_atomic
from posesyn_core.report import charts
from posesyn_core.report.page import colours, template

METRICS = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE"}


def write_rounds_report(path: Path, name: str, errors: Sequence[Mapping[str, float]], pages: Sequence[str]) -> None:
    """Write the page atomically. ``errors`` has ``round`` (0 = as shipped) and, with test data, the errors in mm.

    ``pages`` are the places of the rounds' own reports, as seen from ``path``.
    """
    series = {
        title: np.array([(one["round"], one[metric]) for one in errors])
        for metric, title in METRICS.items()
        if all(metric in one for one in errors)
    }
    alt = "Held-out error in millimetres before the first round and after each"
    chart = charts.lines(series, "round", "held-out error (mm)", alt) if series else None
    page = template("rounds.html").render(
        name=name, errors=errors, metrics=METRICS, chart=chart, pages=pages, colours=colours()
    )
    write_atomic(path, page)
