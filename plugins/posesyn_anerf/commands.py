"""``posesyn anerf``: train fields, and measure them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
import numpy as np

from posesyn_anerf.config import TrainingOptions
from posesyn_anerf.pictures import Pictures, read_h5
from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic

if TYPE_CHECKING:
    from posesyn_anerf.weights import Person

Command = Callable[..., None]
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def anerf() -> None:
    """Train and measure radiance fields of people (A-NeRF)."""


def _source(command: Command) -> Command:
    """Where pictures come from: recorded ones, or the studio."""
    for name, settings in {
        "--seed-of-poses": {"type": int, "default": 0, "help": "Seed for the choice of poses."},
        "--size": {"type": click.IntRange(16), "default": 160, "help": "Pixels of the studio's pictures."},
        "--poses": {"type": click.IntRange(2), "default": 160, "help": "Poses that the studio draws of the motions."},
        "--body": {"type": _FILE, "help": "SMPL file of the studio's person [default: the free body]."},
        "--motions": {"type": _FILE, "help": "npz of motions (joints, y up): a rendered person performs them."},
        "--data": {"type": _FILE, "help": "Pictures of a person: A-NeRF's official data file (.h5)."},
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
    """Train a field of one person on pictures from known cameras.

    The defaults are the published ones and take a day on a GPU. If interrupted, run the same command again to continue.
    """
    from posesyn_anerf.training import train

    pictures, person = _pictures(data, motions, body, poses, size, seed_of_poses)
    click.echo(f"{len(pictures.images)} pictures of {len(pictures.skts)} poses")
    train(pictures, out, TrainingOptions(**options), person, click.echo, half=half)


@anerf.command("measure")
@_source
@click.option("--weights", default="starter", show_default=True, help="starter, or a file.")
@click.option("--held-out", default=0.1, show_default=True, help="As in the training: the share of its poses.")
@click.option("--seed", default=0, show_default=True, help="As in the training.")
@click.option("--limit", default=36, show_default=True, help="At most so many pictures, evenly spread.")
@click.option("--sheet", type=click.Path(path_type=Path), help="A picture to write: pairs, true above drawn.")
def measure_command(
    data: Path | None,
    motions: Path | None,
    body: Path | None,
    poses: int,
    size: int,
    seed_of_poses: int,
    weights: str,
    held_out: float,
    seed: int,
    limit: int,
    sheet: Path | None,
) -> None:
    """Compare a field with pictures of poses held out of its training: PSNR, and the pictures side by side.

    A rendered person is seen by the cameras of the training and by others between them.
    """
    from posesyn_anerf.measuring import measure
    from posesyn_anerf.rendering import renderer_of
    from posesyn_anerf.training import held_out_poses
    from posesyn_anerf.weights import load_field
    from posesyn_core.files.images import encode_png

    renderer = renderer_of(load_field(weights))
    views = {"the training's cameras": False} if data else {"the training's cameras": False, "other cameras": True}
    rows = []
    for name, between in views.items():
        pictures, _ = _pictures(data, motions, body, poses, size, seed_of_poses, between)
        kept = held_out_poses(len(pictures.skts), held_out, seed)
        found, pairs = measure(renderer, pictures, kept, limit)
        click.echo(
            f"{name}: PSNR {found.whole:.2f} dB of whole pictures, {found.person:.2f} dB about the person "
            f"({found.pictures} pictures of {len(kept)} held-out poses)"
        )
        shown = pairs[:: max(1, len(pairs) // 8)][:8]
        rows += [np.concatenate([pair[at] for pair in shown], axis=1) for at in (0, 1)]
    if sheet is not None:
        width = min(row.shape[1] for row in rows)
        write_atomic(sheet, encode_png(np.concatenate([row[:, :width] for row in rows])))
