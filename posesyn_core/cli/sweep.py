"""``posesyn sweep``: what other thresholds of the filter would keep."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from posesyn_core.cli.numbers import Positives
from posesyn_core.errors import UserError
from posesyn_core.registry import Registry

if TYPE_CHECKING:
    from posesyn_core.report.figures import Threshold


@click.command(short_help="Show how many frames other filter thresholds would keep (Table 5).")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--taus", type=Positives(), default="200,160,120,80,40", show_default=True, help="Thresholds in mm.")
@click.pass_obj
def sweep(registry: Registry, folder: Path, taus: list[float]) -> None:
    """Show the share of a run's frames that each threshold tau keeps: the column "Pass" of the paper's Table 5.

    Nothing is recomputed, because the run has the error of every frame, including dropped ones. To apply a threshold:

    \b
    posesyn filter RUN --set filter.tau=80 --restart filter

    A smaller tau takes seconds. A larger tau needs frames that were dropped without being written, unless the recipe
    sets animate.keep_dropped = true. To find the tau that gives the best estimator, use `posesyn experiment table5`,
    which trains one for each.
    """
    from posesyn_core.pipeline.run import open_run
    from posesyn_core.report import figures

    run = open_run(folder, registry)
    run.require("filter")
    errors = figures.frame_errors(list(figures.judged_frames(run)))
    if not len(errors):
        raise UserError("the filter could judge no frame, so there is nothing to list; rejected.parquet says why")
    _print(figures.thresholds(run, errors, taus), len(errors))


def _print(rows: "list[Threshold]", judged: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"What each threshold keeps of {judged} frames")
    for name in ("tau", "frames", "Pass", "in the paper"):
        table.add_column(name, justify="right")
    for row in rows:
        tau = f"{row.tau:g} mm" + (" (chosen)" if row.chosen else "")
        paper = "" if row.paper is None else f"{row.paper:.1f} %"
        table.add_row(tau, str(row.kept), f"{row.passed:.1f} %", paper)
    Console().print(table)
