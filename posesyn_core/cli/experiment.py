"""``posesyn experiment``: the paper's tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve

from posesyn_core.cli.figures import tell
from posesyn_core.cli.numbers import Positives
from posesyn_core.contracts.results import calling, expect_one
from posesyn_core.contracts.worlds import World
from posesyn_core.errors import UserError
from posesyn_core.files.reading import read_text
from posesyn_core.registry import Registry

if TYPE_CHECKING:
    from rich.table import Table

    from posesyn_core.experiments.runner import CoverageResult, Result
    from posesyn_core.experiments.tables import Experiment

TABLES = ("table1", "table2", "table3", "table4", "table5", "table7")


@click.command(short_help="Reproduce one of the paper's tables beside the published figures.")
@click.argument("table")
@click.option("--world", default="", help="A base recipe provided by a plugin, e.g. free.")
@click.option("--recipe", type=click.Path(path_type=Path), help="Your own base recipe instead.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of seeds.")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Folder; default runs/<table>.")
@click.option("--taus", type=Positives(), help="Thresholds of table5 in mm, e.g. 200,160,120,80,40.")
@click.option("--other", help='Table 4: another estimator in EEM, e.g. \'{name="hybrik", weights="..."}\'.')
@click.option("--hybrik", help="Table 4: HybrIK in EEM, with its weights; format as for --other.")
@click.option(
    "--control/--no-control", default=True, help="Also train on real data alone (a row that the paper does not have)."
)
@click.option(
    "--labeller2d", help="Table 7: the component whose 2D joints replace the annotations; format as for --other."
)
@click.option(
    "--labeller3d", help="Table 7: the component whose 3D joints replace the annotations; format as for --other."
)
@click.option("--nerf", help="Table 1: the animator of PoseGen and Ours-N; format as for --other; default anerf.")
@click.option("--rows", multiple=True, metavar="TEXT", help="Only rows whose name contains this text; repeatable.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a recipe key in all runs.")
@click.pass_obj
def experiment(
    registry: Registry,
    table: str,
    world: str,
    recipe: Path | None,
    seeds: int,
    folder: Path | None,
    taus: list[float] | None,
    rows: tuple[str, ...],
    settings: tuple[str, ...],
    other: str | None,
    hybrik: str | None,
    control: bool,
    labeller2d: str | None,
    labeller3d: str | None,
    nerf: str | None,
) -> None:
    """Do or resume one run for every row of TABLE and every seed, and print the paper's table.

    \b
    posesyn experiment table3 --world free --seeds 3
    posesyn experiment table5 --recipe my.toml --set filter.reduction=mean

    The base recipe needs a data set to mine, real data, test data and finetune.steps. Label its test sets as the paper
    does (key 'label': 3DPW, EMDB, CMU 171204, CMU 171026, HuMMan) to see the paper's figures beside yours. Rows that
    need a missing plugin or estimator are listed with what they lack. Plugins add further tables (poseaug-table1 to 7)
    with their own base recipes.
    """
    from posesyn_core.experiments import runner, tables

    others = _others(registry)
    if table not in (*TABLES, *others):
        raise UserError(
            f"there is no table {table!r}; known are {', '.join((*TABLES, *sorted(others)))}{registry.broken()}"
        )
    base = _world(registry, world, recipe)
    base = evolve(
        base,
        other=other or base.other,
        hybrik=hybrik or base.hybrik,
        labeller2d=labeller2d or base.labeller2d,
        labeller3d=labeller3d or base.labeller3d,
        nerf=nerf or base.nerf,
    )
    folder = (folder or Path("runs") / table).absolute()
    laboratory = runner.Laboratory(base, folder, registry, tell, settings, rows)
    if table in others:
        for printed in others[table](laboratory, range(seeds)):
            _print(printed)
        return
    if table == "table2":
        _print(_coverage_table(runner.run_coverage(laboratory, range(seeds))))
        return
    chosen: Experiment
    if table == "table5":
        chosen = tables.table5(taus or base.taus or tables.PAPER_TAUS)
    elif table == "table1":
        chosen = tables.table1(laboratory.recipe(0).estimator.name, base.posegen)
    else:
        chosen = {"table3": tables.TABLE3, "table4": tables.TABLE4, "table7": tables.TABLE7}[table]
    chosen = chosen if control else chosen.without_control()
    results = runner.run_experiment(chosen, laboratory, range(seeds))
    _print(_error_table(chosen, results))
    for result in results:
        if result.missing:
            click.echo(f"{result.row.name}: not run: {result.missing}")
    if chosen.reading:
        click.echo(f"read as: {chosen.reading}")
    notes = {name: found for result in results for name, found in result.notes.items()}
    for name, found in notes.items():
        click.echo(f"* {name}: {'; '.join(found)}")
    click.echo(f"figures: {folder / 'results.json'}")


def _others(registry: Registry) -> dict[str, Any]:
    """The tables of plugins, by name."""
    return registry.gathered("register_experiments")


def _world(registry: Registry, name: str, recipe: Path | None) -> World:
    if (recipe is None) == (not name):
        raise UserError("name a base recipe: either --world free or --recipe FILE")
    if recipe is not None:
        return World(read_text(recipe, "recipe"))
    worlds = registry.gathered("register_worlds")
    if name not in worlds:
        known = ", ".join(sorted(worlds)) or "none"
        raise UserError(f"there is no world {name!r}; known are {known}{registry.broken()}")
    with calling(worlds[name]):
        return expect_one(worlds[name](), World, worlds[name])


METRICS = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "pckh": "PCKh %"}


def _error_table(experiment: "Experiment", results: "Sequence[Result]") -> "Table":
    from rich.table import Table

    done = [result for result in results if not result.missing]
    notes = {name for result in done for name in result.notes}
    table = Table("method", title=f"{experiment.title}\nerrors in mm, PCKh in %; in brackets the paper's")
    if experiment.shows_pass:
        table.add_column("Pass", justify="right")
    columns = list(_columns(done))
    for name, metrics in columns:
        mark = "*" if name in notes else ""
        table.add_column(f"{name}{mark}\n{' / '.join(METRICS[metric] for metric in metrics)}", justify="right")
    for result in done:
        passed = [_passed(result)] if experiment.shows_pass else []
        table.add_row(result.row.name, *passed, *(_cell(result, name, metrics) for name, metrics in columns))
    return table


def _columns(results: "Sequence[Result]") -> Iterator[tuple[str, tuple[str, ...]]]:
    """(test set, its metrics): 3D errors and PCKh apart, "Mean" last of each; one set has no mean of its own."""
    measured: dict[str, set[str]] = {}
    for result in results:
        for figures in result.figures.values():
            for name, by_metric in figures.items():
                measured.setdefault(name, set()).update(by_metric)
    for group in (("mpjpe", "pa_mpjpe"), ("pckh",)):
        having = [name for name, metrics in measured.items() if metrics & set(group)]
        for name in having if len(having) != 2 else having[-1:]:
            yield name, tuple(metric for metric in group if metric in measured[name])


def _passed(result: "Result") -> str:
    from posesyn_core.experiments.runner import spread

    paper = "" if result.row.passed is None else f" ({result.row.passed:.1f} %)"
    return f"{spread(list(result.passed.values()))[0]:.1f} %{paper}"


def _cell(result: "Result", name: str, metrics: Sequence[str]) -> str:
    """A row's figures of one test set, the paper's in brackets; a dash where there is none."""
    published = result.row.published.get(name, {})
    ours = " / ".join(_figure([figures.get(name, {}).get(m) for figures in result.figures.values()]) for m in metrics)
    paper = " / ".join(f"{published[m]:.1f}" for m in metrics if m in published)
    return f"{ours} ({paper})" if paper else ours


def _figure(values: Sequence[float | None]) -> str:
    from posesyn_core.experiments.runner import spread

    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, deviation = spread(known)
    return f"{mean:.1f}" + (f" ± {deviation:.1f}" if len(known) > 1 else "")


def _coverage_table(results: "Sequence[CoverageResult]") -> "Table":
    from rich.table import Table

    from posesyn_core.experiments.runner import spread

    def columns(result: "CoverageResult") -> tuple[float, float, float]:
        mean, deviation, least = (spread(values)[0] for values in zip(*result.figures.values(), strict=True))
        return mean, deviation, least

    first, paper = columns(results[0])[2], results[0].row.least
    table = Table("motions", title="Table 2: PA-MPJPE to the true poses in mm; in brackets the paper's")
    for name in ("mean ± std", "min", "min against (a)"):
        table.add_column(name, justify="right")
    for result in results:
        mean, deviation, least = columns(result)
        row = result.row
        table.add_row(
            row.name,
            f"{mean:.1f} ± {deviation:.1f} ({row.mean:.1f} ± {row.deviation:.1f})",
            f"{least:.1f} ({row.least:.1f})",
            f"{100 * (least / first - 1):+.1f} % ({100 * (row.least / paper - 1):+.1f} %)",
        )
    return table


def _print(table: "Table") -> None:
    from rich.console import Console

    Console().print(table)
