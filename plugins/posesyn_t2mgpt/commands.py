"""``posesyn t2mgpt``: the commands that train the motion generator."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from posesyn_core.errors import UserError
from posesyn_t2mgpt.config import TransformerOptions, VqOptions

if TYPE_CHECKING:
    from posesyn_t2mgpt.motions import MotionSet

Command = Callable[..., None]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DATA = click.Path(exists=True, path_type=Path)


def _options_of(config: type) -> Callable[[Command], Command]:
    """A command-line option for every field of an attrs class, with its default and its sentence."""

    def add(command: Command) -> Command:
        for field in reversed(attrs.fields(config)):
            name = f"--{field.name.replace('_', '-')}"
            help_text = field.metadata["doc"]
            command = click.option(name, type=field.type, default=field.default, show_default=True, help=help_text)(
                command
            )
        return command

    return add


def _data_options(command: Command) -> Command:
    for name, kind, required, description in (
        ("--exclude", _FILE, False, "Text file with one name per line: motions or recordings to leave out."),
        ("--validation", _DATA, False, "Motions to validate on [default: val.txt of the folder]."),
        ("--motions", _DATA, True, "Motions to train on: an npz, or a folder laid out as HumanML3D (its train.txt)."),
    ):
        command = click.option(name, type=kind, required=required, help=description)(command)
    target = click.option(
        "--out", type=click.Path(path_type=Path), required=True, help="Weights to write (.safetensors)."
    )
    return target(command)


def _data(motions: Path, validation: Path | None, exclude: Path | None) -> "tuple[MotionSet, MotionSet]":
    """The motions to train on and those to measure on; says how many could not be used."""
    from posesyn_t2mgpt.motions import load_motions

    if validation is None and not motions.is_dir():
        raise UserError("--validation is missing: only a folder laid out as HumanML3D has a split of its own")
    parts = load_motions(motions, exclude), load_motions(validation or motions, exclude, "val")
    for name, part in zip(("training", "validation"), parts, strict=True):
        click.echo(f"{name}: {len(part)} motions" + (f", {part.left_out} left out" if part.left_out else ""))
    return parts


@click.group()
def t2mgpt() -> None:
    """Train the motion generator t2mgpt."""


@t2mgpt.command("train-vq")
@_data_options
@_options_of(VqOptions)
def train_vq_command(motions: Path, validation: Path | None, exclude: Path | None, out: Path, **options: Any) -> None:
    """Train the VQ-VAE, which turns motions into codes.

    The defaults are the published ones and take hours on a GPU. If interrupted, run the same command again to continue.
    """
    from posesyn_t2mgpt.train_vq import train_vq

    train_vq(*_data(motions, validation, exclude), out, VqOptions(**options), click.echo)


@t2mgpt.command("train-transformer")
@_data_options
@click.option("--vq", type=_FILE, required=True, help="Weights of train-vq.")
@click.option("--text-encoder", type=click.Choice(["hashed", "clip"]), default="hashed", show_default=True)
@click.option("--clip", default="openai/clip-vit-base-patch32", show_default=True, help="Folder or hub id of CLIP.")
@_options_of(TransformerOptions)
def train_transformer_command(
    motions: Path,
    validation: Path | None,
    exclude: Path | None,
    out: Path,
    vq: Path,
    text_encoder: str,
    clip: str,
    **options: Any,
) -> None:
    """Train the transformer, which predicts codes from a text and an initial pose.

    The file written also contains the VQ-VAE, so the generator needs nothing else. If interrupted, run the same command
    again to continue.
    """
    from posesyn_t2mgpt.text import make_text_encoder
    from posesyn_t2mgpt.train_transformer import train_transformer

    train_transformer(
        *_data(motions, validation, exclude),
        vq,
        out,
        TransformerOptions(**options),
        make_text_encoder(text_encoder, clip, options["device"]),
        text_encoder,
        click.echo,
    )
