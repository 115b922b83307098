"""``posesyn t2mgpt``: the commands that train the motion generator."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from posesyn_t2mgpt.config import TransformerOptions, VqOptions

Command = Callable[..., None]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


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
    for name, description in (
        ("--exclude", "Text file with one name per line: motions or recordings to leave out."),
        ("--validation", "Motions (npz) to measure on; never trained on."),
        ("--motions", "Motions (npz) to train on."),
    ):
        command = click.option(name, type=_FILE, required=name != "--exclude", help=description)(command)
    target = click.option(
        "--out", type=click.Path(path_type=Path), required=True, help="Weights to write (.safetensors)."
    )
    return target(command)


@click.group()
def t2mgpt() -> None:
    """Train the motion generator t2mgpt."""


@t2mgpt.command()
@_data_options
@_options_of(VqOptions)
def train_vq(motions: Path, validation: Path, exclude: Path | None, out: Path, **options: Any) -> None:
    """Learn the codes of motion (VQ-VAE).

    The defaults are the published ones and want a GPU for hours. Interrupted, the same command goes on.
    """
    from posesyn_t2mgpt import train
    from posesyn_t2mgpt.motions import load_motions

    train.train_vq(
        load_motions(motions, exclude), load_motions(validation, exclude), out, VqOptions(**options), click.echo
    )


@t2mgpt.command()
@_data_options
@click.option("--vq", type=_FILE, required=True, help="Weights of train-vq.")
@click.option("--text-encoder", type=click.Choice(["hashed", "clip"]), default="hashed", show_default=True)
@click.option("--clip", default="openai/clip-vit-base-patch32", show_default=True, help="Folder or hub id of CLIP.")
@_options_of(TransformerOptions)
def train_transformer(
    motions: Path,
    validation: Path,
    exclude: Path | None,
    out: Path,
    vq: Path,
    text_encoder: str,
    clip: str,
    **options: Any,
) -> None:
    """Learn which codes follow which, given a text and an initial pose.

    The file written holds the VQ-VAE as well: it is all that the generator needs.
    Interrupted, the same command goes on.
    """
    from posesyn_t2mgpt import train
    from posesyn_t2mgpt.motions import load_motions
    from posesyn_t2mgpt.text import make_text_encoder

    train.train_transformer(
        load_motions(motions, exclude),
        load_motions(validation, exclude),
        vq,
        out,
        TransformerOptions(**options),
        make_text_encoder(text_encoder, clip),
        text_encoder,
        click.echo,
    )
