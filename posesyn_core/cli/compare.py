"""``posesyn compare``: two checkpoints of an estimator on the same data."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from posesyn_core.cli.figures import METRIC_TITLES, print_figures
from posesyn_core.files.paths import write_atomic
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry

if TYPE_CHECKING:
    from posesyn_core.training.comparison import Difference


@click.command(short_help="Compare two checkpoints on a recipe's test sets, sample by sample.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("first")
@click.argument("second")
@click.option("--out", type=click.Path(path_type=Path), help="Write the differences to this JSON file.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a recipe key.")
@click.pass_obj
def compare(
    registry: Registry, recipe: Path, first: str, second: str, out: Path | None, settings: tuple[str, ...]
) -> None:
    """Evaluate RECIPE's estimator with the weights FIRST and SECOND on the recipe's test sets.

    \b
    posesyn compare my.toml starter runs/mine/finetune/posesyn/weights.safetensors

    Prints the errors of both and, for each metric, the mean difference over the samples with its 95 % bootstrap
    interval. If the interval contains zero, the difference may be due to chance.
    """
    from posesyn_core.pipeline.evaluate import measure_weights, test_sets
    from posesyn_core.pipeline.run import create_run
    from posesyn_core.training.comparison import differences

    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder) / "run", load_recipe(recipe, settings), registry)
        sets = test_sets(run)
        both = [measure_weights(run, {"weights": weights}, sets, weights) for weights in (first, second)]
    found = {at.label: differences(both[0][at.label], both[1][at.label]) for at in sets}
    for label, changes in found.items():
        titles = dict(zip((f"(1) {first}", f"(2) {second}"), (one[label].summary() for one in both), strict=True))
        print_figures(label, titles)
        for change in changes:
            click.echo(_sentence(change))
    if out is not None:
        plain = {label: [attrs.asdict(change) for change in changes] for label, changes in found.items()}
        write_atomic(out, json.dumps(plain, indent=1) + "\n")


def _sentence(change: "Difference") -> str:
    chance = "" if change.certain else ", contains zero: may be chance"
    return (
        f"{METRIC_TITLES[change.metric]}: (2) - (1) = {change.change:+.2f} "
        f"(95 % interval {change.low:+.2f} to {change.high:+.2f}{chance}); "
        f"(2) better on {change.better:.0f} % of {change.samples} samples"
    )
