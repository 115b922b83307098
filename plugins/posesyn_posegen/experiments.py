"""Doing PoseGen's own tables: ``posesyn experiment posegen-table5 --world free --nerf reprojection``.

The recipe is PoseSyn's; its motion generator, captioner, mining and filter give way to PoseGen's as in PoseSyn's own
table (``posesyn_core.experiments.tables.POSEGEN``), and its animator to ``--nerf``. There are as many poses as our run
would have frames at most, but in Figure 6. The reference run, which the rows share, has all of PoseGen. Published
figures stand beside ours where a test set is labelled as the paper's (AGORA, 3DPW, SKI-Pose, 3DHP).
"""

import json
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.experiments.runner import Laboratory, Result, inline, run_experiment
from posesyn_core.experiments.tables import POSEGEN, Experiment
from posesyn_core.files.paths import write_atomic
from posesyn_core.recipe import Recipe
from posesyn_posegen.tables import Table, table_of

if TYPE_CHECKING:
    from rich.table import Table as Printed

TITLES = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "nmje": "NMJE", "pck": "PCK %"}


def do_table(name: str, laboratory: Laboratory, seeds: Sequence[int]) -> "list[Printed]":
    """Do or resume the runs of a table, write ``<name>.json``, and return the table for printing."""
    recipe = laboratory.recipe(0)
    if recipe.score.hard < 1:
        raise UserError("these tables count poses: let score.hard be a number of samples, not a share")
    table = table_of(name, recipe.estimator.name, int(recipe.score.hard))
    done = run_experiment(
        Experiment(name, table.title, table.rows), evolve(laboratory, settings=_settings(laboratory, recipe)), seeds
    )
    plain = [{"row": r.row.name, "figures": r.figures, "missing": r.missing, "paper": r.row.published} for r in done]
    write_atomic(laboratory.folder / f"{name}.json", json.dumps(plain, indent=1) + "\n")
    return [_printed(table, done, tuple(choice.label for choice in recipe.test))]


def _settings(laboratory: Laboratory, recipe: Recipe) -> tuple[str, ...]:
    """The laboratory's, after those that make a recipe PoseGen's."""
    if not recipe.real:
        raise UserError("these tables need [[real]] data: PoseGen takes its real poses and people from the first")
    filled = {
        "estimator": inline(recipe.estimator),
        "nerf": laboratory.world.nerf,
        "real": inline(recipe.real[0]),
        "poses": str(max(1, recipe.synthesize.max_frames // recipe.animate.frame_stride)),
    }
    own = [setting.format(**filled) for setting in (*POSEGEN, *laboratory.world.posegen)]
    return (*own, *laboratory.settings)


def _printed(table: Table, done: Sequence[Result], tests: Sequence[str]) -> "Printed":
    from rich.table import Table as Printed

    shown = Printed("method", title=f"{table.title}\nin brackets the published figures")
    labels = [label for label in tests if label == table.data] or [*tests]
    columns = [(label, metric) for label in labels for metric in _measured(done, label) or table.metrics]
    for label, metric in columns:
        shown.add_column(f"{label}\n{TITLES.get(metric, metric)}", justify="right")
    for name, values in table.quoted.items():
        known = dict(zip(table.metrics, values, strict=True))
        shown.add_row(name, *(f"({known[m]:.1f})" if m in known else "-" for _, m in columns))
    for result in done:
        shown.add_row(result.row.name, *(_cell(result, table, *column) for column in columns))
    return shown


def _measured(done: Sequence[Result], label: str) -> tuple[str, ...]:
    """The metrics of a test set that were measured, of those that the tables have."""
    found = {metric for result in done for figures in result.figures.values() for metric in figures.get(label, {})}
    return tuple(metric for metric in TITLES if metric in found)


def _cell(result: Result, table: Table, label: str, metric: str) -> str:
    if result.missing:
        return result.missing
    values = [f[label][metric] for f in result.figures.values() if metric in f.get(label, {})]
    ours = f"{statistics.mean(values):.1f}" if values else "-"
    ours += f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    published = result.row.published.get(table.data, {}).get(metric)
    return ours if published is None else f"{ours} ({published:.1f})"
