"""``posesyn sweep``: what other thresholds of a filter would keep."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from posesyn_core.cli.numbers import Positives
from posesyn_core.errors import UserError
from posesyn_core.registry import Registry

if TYPE_CHECKING:
    from posesyn_core.pipeline.thresholds import Limit
    from posesyn_core.report.figures import Threshold

SHARES = (2, 1.5, 1, 0.75, 0.5)
"""For other errors: of the run's own threshold."""


@click.command(short_help="List how many frames other thresholds of a filter would keep (Table 5).")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--filter", "name", help="Which of the run's filters, by name or label.  [default: the first]")
@click.option(
    "--taus",
    type=Positives(),
    help="Thresholds.  [default: 200,160,120,80,40 mm and the run's own; for other units, shares of the run's own]",
)
@click.pass_obj
def sweep(registry: Registry, folder: Path, name: str | None, taus: list[float] | None) -> None:
    """List what share of a run's frames each threshold of a filter keeps: for tau, the column "Pass" of the paper's
    Table 5.

    Nothing is drawn or computed again: `posesyn filter` left the error of every frame, also of those that it dropped.
    To choose a tau of the list:

    \b
    posesyn filter RUN --set filter.tau=80 --restart filter

    A smaller tau takes seconds. A larger one needs frames that were dropped before they were written, unless the
    recipe says animate.keep_dropped = true. Which tau makes the best estimator is another question:
    `posesyn experiment table5` trains one for each. Of several filters, each is listed by itself, with the frames that
    the others drop as well (`--filter keypoint_agreement`).
    """
    from posesyn_core.pipeline.run import open_run
    from posesyn_core.pipeline.thresholds import chosen_filter, errors_by_filter, limit_of
    from posesyn_core.report import figures

    run = open_run(folder, registry)
    run.require("filter")
    limit = limit_of(run, chosen_filter(run, name))
    errors = errors_by_filter(run)[limit.choice.label]
    if not len(errors):
        raise UserError("the filter could judge no frame, so there is nothing to list; rejected.parquet says why")
    own = [float(f"{share * limit.value:.6g}") for share in SHARES]
    wanted = taus or (sorted({*figures.PAPER_PASS, limit.value}, reverse=True) if limit.unit == "mm" else own)
    _print(figures.thresholds(run, errors, wanted, limit), limit, len(errors))


def _print(rows: "list[Threshold]", limit: "Limit", judged: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"What each threshold of {limit.choice.label} keeps of {judged} frames")
    for name in (limit.option, "frames", "Pass", "in the paper"):
        table.add_column(name, justify="right")
    for row in rows:
        tau = f"{row.tau:g} {limit.unit}" + (" (chosen)" if row.chosen else "")
        paper = "" if row.paper is None else f"{row.paper:.1f} %"
        table.add_row(tau, str(row.kept), f"{row.passed:.1f} %", paper)
    Console().print(table)
