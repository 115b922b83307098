"""``posesyn predict``: an estimator on a few pictures, to look at."""

import mimetypes
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve, frozen

from posesyn_core.cli.numbers import Positive
from posesyn_core.components import Kind, PersonDetector, SplitEstimator
from posesyn_core.engines.batches import load_network
from posesyn_core.errors import UserError
from posesyn_core.progress import tell
from posesyn_core.recipe import Choice, parse_recipe
from posesyn_core.registry import Registry

if TYPE_CHECKING:
    from posesyn_core.engines.batches import LoadedNetwork
    from posesyn_core.inference.footage import Film
    from posesyn_core.inference.pictures import Found, Picture

SECTION = "estimator"


class Box(click.ParamType):
    """Four numbers x0,y0,x1,y1."""

    name = "x0,y0,x1,y1"

    def convert(
        self, value: str | tuple[float, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 4:
            self.fail(f"{value!r} is not four numbers x0,y0,x1,y1", param, ctx)
        return numbers


@click.command(short_help="Estimate the people in pictures: overlay, joints, mesh.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--estimator", default="starter", show_default=True, help="Estimator; see `posesyn plugins`.")
@click.option("--weights", help="Weights of the estimator, usually a file. Same as --set weights=...")
@click.option("--body", help="SMPL file, for weights that need it, or 'free'. Same as --set body=...")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set an option of the estimator.")
@click.option("--engine", default="torch", show_default=True, help="Engine that runs the network.")
@click.option("--box", "boxes", multiple=True, type=Box(), help="Box of a person, in pixels; repeatable.")
@click.option(
    "--keypoints",
    type=click.Path(path_type=Path),
    help="JSON with the people of each picture: boxes, and the 2D keypoints that some estimators need.",
)
@click.option("--detector", default="blazepose", show_default=True, help="Person detector.")
@click.option("--whole-picture", is_flag=True, help="Use no detector: each picture shows one person.")
@click.option("--stride", default=1, show_default=True, type=click.IntRange(1), help="Use every n-th frame of a video.")
@click.option("--smooth", type=Positive(), help="Seconds over which a video's tracks are smoothed, e.g. 0.1.")
@click.option("--out", default="predictions", show_default=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--mask-neighbours", is_flag=True, help="Hide other people in the picture from the estimator.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(("json", "obj", "glb", "bvh", "npz")),
    help="What to write; repeatable. Default: json, and of videos npz and glb too.",
)
@click.pass_obj
def predict(
    registry: Registry,
    paths: tuple[Path, ...],
    estimator: str,
    weights: str | None,
    body: str | None,
    settings: tuple[str, ...],
    engine: str,
    boxes: tuple[tuple[float, ...], ...],
    keypoints: Path | None,
    detector: str,
    whole_picture: bool,
    stride: int,
    out: Path,
    mask_neighbours: bool,
    formats: tuple[str, ...],
    smooth: float | None,
) -> None:
    """Estimate the people in each PATH: a picture, a folder of pictures, or a video.

    Writes NAME.overlay.jpg and NAME.json for every picture; with --format glb (or obj, bvh, npz) also a file for each
    person, NAME.0.glb, NAME.1.glb, ... The people are those that the detector finds, unless --box, --keypoints or
    --whole-picture say where they are.

    In a video people are followed from frame to frame. Writes NAME.overlay.mp4, NAME.json, and for each person followed
    NAME.0.npz (as AMASS has them) and NAME.0.glb (an animated body for Blender and others).

    \b
    posesyn predict photo.jpg
    posesyn predict holiday/ --out seen
    posesyn predict clip.mp4 --smooth 0.1 --format bvh
    posesyn predict photo.jpg --box 120,40,380,600
    posesyn predict photo.jpg --estimator hmr2 --weights epoch=35.ckpt --body SMPL_NEUTRAL.pkl --format obj
    posesyn predict *.jpg --estimator crowdnet --keypoints keypoints.json

    \b
    The keypoint file (box may be left out where there are keypoints, and keypoints where there is a box):
      {"joint_set": "coco17", "people": [
        {"image": "photo.jpg", "box": [120, 40, 380, 600], "keypoints": [[x, y, confidence], ...]}]}
    """
    given = (("weights", weights), ("body", body))
    overrides = [*settings, *(f"{name}={value}" for name, value in given if value is not None)]
    choice = _choice(estimator, engine, overrides)
    predicting = _Predicting.of(registry, choice, out, formats)
    if boxes or keypoints is not None:
        from posesyn_core.inference.pictures import pictures

        predicting.pictures(pictures(paths, boxes, keypoints), mask_neighbours)
        return
    from posesyn_core.inference.footage import open_film
    from posesyn_core.inference.pictures import find_people

    found = None if whole_picture else registry.create(Kind.DETECTOR, detector, {}, "--detector")
    films = [path for path in paths if (mimetypes.guess_type(path)[0] or "").startswith("video/")]
    others = [path for path in paths if path not in films]
    for film in films:
        try:
            opened = open_film(film, stride)
        except UserError as error:
            if len(paths) == 1:
                raise
            tell(str(error))
            continue
        predicting.film(opened, found, smooth or 0.0)
    if others:
        predicting.pictures(_readable(find_people(others, found)), mask_neighbours)


def _readable(found: "Iterable[Found]") -> "Iterator[Picture]":
    """The pictures; what can't be read, and where nobody is, is told. UserError if no picture is left."""
    read, unread = 0, 0
    for entry in found:
        if isinstance(entry, tuple):
            unread += 1
            tell(f"{entry[0]}: {entry[1]}")
            continue
        read += 1
        if not entry.people:
            tell(f"{entry.path}: nobody found; name the person with --box, or take --whole-picture")
        yield entry
    if unread:
        tell(f"{unread} of {read + unread} pictures could not be read")
    if not read:
        raise UserError("there is no picture that can be read; see the lines above")


def _choice(estimator: str, engine: str, settings: list[str]) -> Choice:
    """The estimator with options and engine, read as a recipe's section would be."""
    section = (f"{SECTION}.name={estimator}", f"{SECTION}.engine.name={engine}")
    return parse_recipe('dataset = "none"', [*section, *(f"{SECTION}.{setting}" for setting in settings)]).estimator


@frozen
class _Predicting:
    """An estimator at work: what it is, where it writes, and what."""

    estimator: Any
    network: "LoadedNetwork | None"
    caption: str
    out: Path
    formats: tuple[str, ...]

    @classmethod
    def of(cls, registry: Registry, choice: Choice, out: Path, formats: tuple[str, ...]) -> "_Predicting":
        from posesyn_core.inference.predict import exportable

        made = registry.create(Kind.ESTIMATOR, choice.name, choice.options, SECTION)
        network = None
        if isinstance(made, SplitEstimator):
            loader = registry.create(Kind.ENGINE, choice.engine.name, choice.engine.options, f"{SECTION}.engine")
            network = load_network(loader, exportable(choice.name, made))
        elif choice.engine.name != "torch":
            raise UserError(f"the estimator {choice.name!r} has no network of its own: leave --engine out")
        who = f"{choice.name}, weights {_weights(registry, choice)}"
        tell(f"estimator: {who}")
        return cls(made, network, who, out, formats)

    def pictures(self, shown: "Iterable[Picture]", masked: bool) -> None:
        """Predict pictures, with neighbours hidden if ``masked``, and print the files."""
        from posesyn_core.inference.neighbours import of_each_other
        from posesyn_core.inference.pictures import JSON, predict_pictures

        if masked:
            shown = (evolve(picture, people=of_each_other(picture.people)) for picture in shown)
        formats = self.formats or (JSON,)
        for path in predict_pictures(
            self.estimator, shown, self.out, network=self.network, formats=formats, caption=self.caption
        ):
            click.echo(path)

    def film(self, film: "Film", detector: PersonDetector | None, smooth: float) -> None:
        """Predict a film, and print the files."""
        from posesyn_core.inference.footage import USUAL, predict_film

        for written in predict_film(
            self.estimator, film, self.out, detector=detector, network=self.network,
            formats=self.formats or USUAL, smooth=smooth, caption=self.caption,
        ):  # fmt: skip
            click.echo(written)


def _weights(registry: Registry, choice: Choice) -> str:
    """What the estimator's weights are called; "its own" if it has no such option."""
    config = registry.check(Kind.ESTIMATOR, choice.name, choice.options, SECTION)
    named = str(getattr(config, "weights", "") or "its own")
    return Path(named).name
