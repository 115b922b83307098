"""``posesyn predict``: an estimator on a few pictures, to look at."""

from pathlib import Path

import click

from posesyn_core.components import Kind, SplitEstimator
from posesyn_core.engines.batches import load_network
from posesyn_core.errors import UserError
from posesyn_core.recipe import Choice, parse_recipe
from posesyn_core.registry import Registry

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


@click.command(short_help="Estimate the people in a few pictures: overlay, joints, mesh.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--estimator", default="spin", show_default=True, help="Which estimator; see `posesyn plugins`.")
@click.option("--weights", help="Its weights, usually a file. Same as --set weights=...")
@click.option("--body", help="The SMPL file for weights that need it, or 'free'. Same as --set body=...")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set an option of the estimator.")
@click.option("--engine", default="torch", show_default=True, help="What runs the network.")
@click.option("--box", "boxes", multiple=True, type=Box(), help="A person in the picture, in pixels; repeatable.")
@click.option(
    "--keypoints",
    type=click.Path(path_type=Path),
    help="JSON with the people of each picture: boxes, and the 2D keypoints that some estimators need.",
)
@click.option("--out", default="predictions", show_default=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--mesh", is_flag=True, help="Write each body as OBJ.")
@click.pass_obj
def predict(
    registry: Registry,
    images: tuple[Path, ...],
    estimator: str,
    weights: str | None,
    body: str | None,
    settings: tuple[str, ...],
    engine: str,
    boxes: tuple[tuple[float, ...], ...],
    keypoints: Path | None,
    out: Path,
    mesh: bool,
) -> None:
    """Estimate the people in IMAGES; writes NAME.overlay.jpg, NAME.json and, with --mesh, NAME.0.obj, NAME.1.obj, ...

    Without --box or --keypoints a picture is taken for one person.

    \b
    posesyn predict photo.jpg --box 120,40,380,600
    posesyn predict photo.jpg --estimator hmr2 --weights epoch=35.ckpt --body SMPL_NEUTRAL.pkl --mesh
    posesyn predict *.jpg --estimator crowdnet --keypoints keypoints.json

    \b
    The keypoint file (box may be left out where there are keypoints, and keypoints where there is a box):
      {"joint_set": "coco17", "people": [
        {"image": "photo.jpg", "box": [120, 40, 380, 600], "keypoints": [[x, y, confidence], ...]}]}
    """
    given = (("weights", weights), ("body", body))
    overrides = [*settings, *(f"{name}={value}" for name, value in given if value is not None)]
    choice = _choice(estimator, engine, overrides)
    _predict(registry, choice, images, boxes, keypoints, out, mesh)


def _choice(estimator: str, engine: str, settings: list[str]) -> Choice:
    """The estimator with options and engine, read as a recipe's section would be."""
    section = (f"{SECTION}.name={estimator}", f"{SECTION}.engine.name={engine}")
    return parse_recipe('dataset = "none"', [*section, *(f"{SECTION}.{setting}" for setting in settings)]).estimator


def _predict(
    registry: Registry,
    choice: Choice,
    images: tuple[Path, ...],
    boxes: tuple[tuple[float, ...], ...],
    keypoints: Path | None,
    out: Path,
    mesh: bool,
) -> None:
    from posesyn_core.inference.pictures import pictures, predict_pictures
    from posesyn_core.inference.predict import exportable

    shown = pictures(images, boxes, keypoints)
    made = registry.create(Kind.ESTIMATOR, choice.name, choice.options, SECTION)
    network = None
    if isinstance(made, SplitEstimator):
        loader = registry.create(Kind.ENGINE, choice.engine.name, choice.engine.options, f"{SECTION}.engine")
        network = load_network(loader, exportable(choice.name, made))
    elif choice.engine.name != "torch":
        raise UserError(f"the estimator {choice.name!r} has no network of its own: leave --engine out")
    for path in predict_pictures(made, shown, out, network=network, meshes=mesh):
        click.echo(path)
