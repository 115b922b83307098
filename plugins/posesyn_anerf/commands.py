"""``posesyn anerf``: train fields, and measure them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from posesyn_anerf.config import TrainingOptions
from posesyn_core.errors import UserError

if TYPE_CHECKING:
    from posesyn_anerf.pictures import Pictures
    from posesyn_anerf.weights import Person

Command = Callable[..., None]
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def anerf() -> None:
    """Train radiance fields of people (A-NeRF), and measure them."""


def _source(command: Command) -> Command:
    """Where pictures come from: recorded ones, or the studio."""
    for name, settings in {
        "--seed-of-poses": {"type": int, "default": 0, "help": "Of the studio's draw of poses."},
        "--size": {"type": click.IntRange(16), "default": 160, "help": "Pixels of the studio's pictures."},
        "--poses": {"type": click.IntRange(2), "default": 160, "help": "Poses that the studio draws of the motions."},
        "--body": {"type": _FILE, "help": "SMPL file of the studio's person [default: the free body]."},
        "--motions": {"type": _FILE, "help": "npz of motions (joints, y up): a rendered person performs them."},
        "--data": {"type": _FILE, "help": "Pictures of somebody: A-NeRF's official data file (.h5)."},
    }.items():
        command = click.option(name, **settings, show_default="default" in settings)(command)  # type: ignore[arg-type]
    return command


def _training_options(command: Command) -> Command:
    for field in reversed(attrs.fields(TrainingOptions)):
        name = f"--{field.name.replace('_', '-')}"
        command = click.option(
            name, type=field.type, default=field.default, show_default=True, help=field.metadata["doc"]
        )(command)
    return command


def _pictures(
    data: Path | None, motions: Path | None, body: Path | None, poses: int, size: int, seed: int, between: bool = False
) -> "tuple[Pictures, Person]":
    """The pictures to train on or to measure on, and whose they are."""
    import numpy as np

    from posesyn_anerf.pictures import read_h5
    from posesyn_anerf.studio import UNIT, Motions, draw_pictures
    from posesyn_anerf.weights import Person
    from posesyn_core.body.model import load_body

    if (data is None) == (motions is None):
        raise UserError("name either --data (recorded pictures) or --motions (a rendered person performs them)")
    if data is not None:
        pictures = read_h5(data)
        return pictures, Person(rest_pose=np.asarray(pictures.rest_pose, np.float32))
    assert motions is not None
    loaded, betas = load_body(body), np.zeros(10, np.float32)
    pictures = draw_pictures(Motions(motions, poses, seed), size, betas, loaded, between)
    rest = np.asarray(pictures.rest_pose, np.float32)
    return pictures, Person(rest, UNIT, betas, loaded.shape_space)


@anerf.command("train")
@_source
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Weights to write (.safetensors).")
@click.option("--half", is_flag=True, help="Write them in float16.")
@_training_options
def train_command(
    data: Path | None,
    motions: Path | None,
    body: Path | None,
    poses: int,
    size: int,
    seed_of_poses: int,
    out: Path,
    half: bool,
    **options: Any,
) -> None:
    """Learn the field of one person from pictures by known cameras.

    The defaults are the published ones and want a GPU for a day. Interrupted, the same command goes on.
    """
    from posesyn_anerf.training import train

    pictures, person = _pictures(data, motions, body, poses, size, seed_of_poses)
    click.echo(f"{len(pictures.images)} pictures of {len(pictures.skts)} poses")
    train(pictures, out, TrainingOptions(**options), person, click.echo, half=half)
