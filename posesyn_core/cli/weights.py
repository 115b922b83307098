"""``posesyn weights``: does a checkpoint file fit, and as safetensors, please."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.registry import Registry

if TYPE_CHECKING:
    from posesyn_core.files.checkpoints import Fit, WeightFormat

SHOWN = 20
"""Names of a kind that are listed; the rest is counted."""


@click.group(short_help="Check and convert checkpoints of published models.")
def weights() -> None:
    """Check whether a checkpoint file fits a component, and convert it to safetensors.

    Files are read as data only; no code in them is executed.
    """


@weights.command("check", short_help="Check whether a checkpoint fits, which variant it is, and what is missing.")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def check(registry: Registry, name: str, file: Path) -> None:
    """Compare FILE with the network of the component NAME (e.g. spin), parameter by parameter.

    Exits with 2 if the file does not fit.
    """
    fit = weight_format(registry, name).check(file)
    click.echo("\n".join(describe(fit)))
    if not fit.fits:
        raise UserError(f"{str(file)!r} does not fit {name}; is it the checkpoint of another model or variant?")


@weights.command("convert", short_help="Convert a checkpoint to safetensors, with its official parameter names.")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.pass_obj
def convert(registry: Registry, name: str, file: Path, out: Path) -> None:
    """Convert FILE, a checkpoint of the component NAME, to OUT (.safetensors)."""
    if out.suffix != ".safetensors":
        raise UserError(f"the converted weights are safetensors: name the file {out.stem}.safetensors")
    weight_format(registry, name).convert(file, out)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def weight_format(registry: Registry, name: str) -> "WeightFormat":
    """The format of the component of that name; UserError naming those that have one."""
    components = [registered.component for kind in Kind for registered in registry.of_kind(kind)]
    makers = {component.name: component.weights for component in components if component.weights is not None}
    if name not in makers:
        raise UserError(f"no component {name!r} with weights is installed; there are: {', '.join(sorted(makers))}")
    return makers[name]()


def describe(fit: "Fit") -> list[str]:
    """Lines that say how a file fits."""
    lines = [f"{'fits' if fit.fits else 'does not fit'}: {fit.variant or 'no known variant'}"]
    kinds = {
        "missing": fit.missing,
        "unexpected": fit.unexpected,
        "shape": fit.wrong_shape,
        "not finite": fit.not_finite,
        "ignored": fit.ignored,
    }
    for kind, names in kinds.items():
        lines += [f"  {kind:<11} {name}" for name in names[:SHOWN]]
        if len(names) > SHOWN:
            lines.append(f"  {kind:<11} ... and {len(names) - SHOWN} more")
    return lines
