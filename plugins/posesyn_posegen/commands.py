"""``posesyn posegen``: the command that trains the generator."""

from pathlib import Path

import click

from posesyn_core.components import Kind
from posesyn_core.recipe import settings_of
from posesyn_core.registry import Registry


@click.group()
def posegen() -> None:
    """Train the motion generator posegen."""


@posegen.command("train")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the training.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of posegen; may be repeated.")
@click.pass_obj
def train_command(registry: Registry, out: Path, settings: tuple[str, ...]) -> None:
    """Train a generator of poses against an estimator.

    \b
    posesyn posegen train --out posegen --set estimator=starter --set animator=reprojection \\
        --set real.name=world --set real.split=real --set real.count=800

    `posesyn plugins show posegen` lists the options. Interrupted, the same command goes on, and ends with the same
    bytes. The folder's weights.safetensors is what `motion.weights` takes.
    """
    options = {**settings_of(settings), "weights": "train"}
    made = registry.create(Kind.MOTION, "posegen", options, "posegen")
    for line in made.train(out):
        figures = ", ".join(f"{name} {value:.4g}" for name, value in line.items() if name != "epoch")
        click.echo(f"epoch {line['epoch']}: {figures}")
    click.echo(f"weights: {out / 'weights.safetensors'}")
