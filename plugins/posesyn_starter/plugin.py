"""What this plugin brings; the work is done in the modules that the factories import."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from posesyn_core.cli.running import complete, recipe_options
from posesyn_core.components import Component, Kind, Licence
from posesyn_core.contracts.worlds import World
from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.hookspecs import hookimpl
from posesyn_core.pipeline.order import RECIPE
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.photographs import recipe_of
from posesyn_starter.config import WorldConfig
from posesyn_starter.posecodes import PosecodeCaptioner, PosecodeConfig

LICENCE = Licence(
    code="our own (Apache-2.0); the rendered people are MakeHuman's (CC0)",
    weights="none",
    data="yours",
)

PHOTOGRAPHS = (
    *("score.hard=0.5", "score.easy=0.5", "finetune.steps=80", "finetune.real_only=false"),
    "dataset.detector.min_score=0.7",
)
"""What makes ``posesyn run FOLDER`` short enough for a demo: few steps, and people whom the detector is sure of."""


@hookimpl
def register_captioners() -> list[Component]:
    summary = "A sentence from the pseudo-label pose, by rules"
    return [Component(Kind.CAPTIONER, "posecode", summary, PosecodeCaptioner, PosecodeConfig, licence=LICENCE)]


@hookimpl
def register_readers() -> list[Component]:
    return [
        Component(Kind.READER, "world", "Rendered people with exact 3D truth", _world, WorldConfig, licence=LICENCE)
    ]


@hookimpl
def register_worlds() -> dict[str, Callable[[], World]]:
    return {"free": _free_world}


def _free_world() -> World:
    """The rendered world of the demo. No second estimator comes with PoseSyn: where the paper takes another one, the
    starter stands in as training on the real data alone leaves it."""
    other = '{name="starter", weights="{real_only}"}'
    return World(
        recipe=Path(__file__).with_name("experiment.toml").read_text(encoding="utf-8"),
        other=other,
        labeller2d=other,
        labeller3d=other,
        nerf='{name="anerf", size=160}',  # the size that its starter was trained at
        posegen=(
            *("motion.epochs=125", "motion.feedback_from=121", "motion.feedback_every=2", "motion.feedback_poses=10"),
            *("motion.learning_rate=1e-3", "motion.channels=128", "motion.middle=128", "motion.feedback_weight=2.0"),
        ),
        truth=('dataset.labels="3d"',),
        taus=(1000, 600, 400, 300, 220, 160, 110),
    )


@hookimpl
def register_commands(cli: click.Group) -> None:
    cli.add_command(demo)


@click.command(short_help="Run the whole loop with free components, in minutes.")
@click.option("--run", "folder", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
@click.option(
    "--photographs",
    type=click.Path(exists=True, path_type=Path),
    help="Also photographs without annotations, as a run in RUN/photographs: a folder, a picture or a video.",
)
@recipe_options
@click.pass_obj
def demo(
    registry: Registry,
    folder: Path,
    photographs: Path | None,
    settings: tuple[str, ...],
    restart: str | None,
    yes: bool,
) -> None:
    """Improve a small pose estimator on a rendered world, with nothing to download and no GPU.

    All stages run with real components: images are scored; the hardest are captioned and expanded into motions; people
    from easy images are animated with them; the frames are filtered and exported; then the estimator is fine-tuned and
    evaluated before and after. report.html in the run folder shows everything. An interrupted demo continues when you
    start it again.

    With --photographs the same is done with yours, which become a section of the report. picture.jpg in the run folder
    shows hard images, what the estimator saw, the frames made for them, and what it sees after training.
    """
    print_result = complete(
        registry, load_recipe(Path(__file__).with_name("demo.toml"), settings), folder, restart, yes
    )
    shown = [folder]
    try:
        if photographs is not None:
            own = tuple(setting for setting in settings if setting.startswith(("machine.", "executor.")))
            shown.insert(0, folder / "photographs")
            click.echo(f"photographs: {photographs}")
            complete(registry, recipe_of(photographs, (*PHOTOGRAPHS, *own)), shown[0], restart, yes)
    finally:  # the rendered people's result stands whatever becomes of the photographs
        print_result()
    _show(registry, shown, folder)
    if photographs is None:
        click.echo("with your own photographs beside it: posesyn demo --photographs FOLDER")


def _show(registry: Registry, runs: Sequence[Path], folder: Path) -> None:
    """Draw the picture of the runs, if there is a row to show (tau may have kept nothing), and put all on one page."""
    from posesyn_core.files.images import encode_jpeg
    from posesyn_core.pipeline.run import open_run
    from posesyn_core.report.page import DRAWN, write_report
    from posesyn_core.report.picture import picture

    try:
        write_atomic(folder / DRAWN, encode_jpeg(picture([open_run(run, registry) for run in runs])))
        click.echo(f"picture: {folder / DRAWN}")
    except UserError as error:
        click.echo(str(error))
    if (folder / RECIPE).is_file():  # several rounds have a page of their own
        write_report(open_run(folder, registry))


def _world(config: WorldConfig) -> Any:
    from posesyn_starter.world import WorldReader

    return WorldReader(config)
