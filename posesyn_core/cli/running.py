"""``posesyn run`` and one command per stage."""

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from posesyn_core.cli.asking import confirm
from posesyn_core.cli.figures import print_result, print_rounds, tell
from posesyn_core.contracts.engines import ENGINE_PRECISIONS
from posesyn_core.contracts.sections import ExecutorChoice
from posesyn_core.errors import UserError
from posesyn_core.pipeline.locks import run_lock, shard_lock
from posesyn_core.pipeline.order import ENGINE_OF_STAGE, STAGES, with_engine
from posesyn_core.pipeline.programs import approve, programs, require_approval, unapproved
from posesyn_core.recipe import Recipe, load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.photographs import recipe_of

if TYPE_CHECKING:
    from posesyn_core.pipeline.executor import Executor
    from posesyn_core.pipeline.run import Run

_TEACHES: Mapping[str, str] = {
    "score": "Score every image with the estimator (EEM, Eq. 1).",
    "select": "Select the hardest and the easiest images (Eq. 2-3).",
    "caption": "Describe the people in the hard images.",
    "synthesize": "Expand the hard poses into motions (MSM, Eq. 4-5).",
    "animate": "Animate people from easy images with the motions (Eq. 7-11).",
    "filter": "Keep the frames on which the estimator agrees with the label (Eq. 6).",
    "export": "Export the kept frames as data-set files.",
    "finetune": "Train the estimator on real and synthesised frames.",
    "evaluate": "Evaluate the estimator before and after training, on held-out data.",
    "report": "Write report.html, which shows everything the run did.",
}


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that change a recipe.

    It gets ``settings``, a tuple of KEY=VALUE for :func:`posesyn_core.recipe.load_recipe`, ``restart``, the stage to
    begin again with or None, and ``yes``, whether to start the recipe's programs without asking.
    """

    @functools.wraps(command)
    def with_settings(*args: Any, overrides: tuple[str, ...], restart: str | None, yes: bool, **others: Any) -> Any:
        machine = {f"machine.{name}": others.pop(name) for name in ("workers", "batch_size", "device")}
        cluster = {"executor.name": others.pop("executor"), "executor.address": others.pop("address")}
        given = (f"{key}={value}" for key, value in {**machine, **cluster}.items() if value is not None)
        return command(*args, settings=(*overrides, *given), restart=restart, yes=yes, **others)

    decorated: Callable[..., Any] = with_settings
    for decorate in (
        click.option("--yes", is_flag=True, help="Start programs named by the recipe without asking."),
        click.option("--restart", type=click.Choice(STAGES), help="Redo this stage and whatever depends on it."),
        click.option("--address", help="Address of the Ray cluster: auto (default), local, or host:port."),
        click.option(
            "--executor",
            type=click.Choice(("local", "ray")),
            help="Where the work is done: in this process, or on a Ray cluster.",
        ),
        click.option(
            "--device", help="Torch device for the networks: cpu, cuda, mps. Same as --set machine.device=..."
        ),
        click.option(
            "--batch-size", type=click.IntRange(1), help="Samples processed together; does not change the results."
        ),
        click.option(
            "--workers", type=click.IntRange(1), help="Threads that read and draw; does not change the results."
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Set a recipe key, e.g. score.hard=50; repeatable.",
        ),
    ):
        decorated = decorate(decorated)
    return decorated


def engine_options(stage: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command ``--engine`` and ``--precision`` if the stage has networks: ``engine`` and ``precision``."""
    if stage not in ENGINE_OF_STAGE:
        return lambda command: command
    whose = ", ".join(ENGINE_OF_STAGE[stage])
    name = click.option("--engine", help=f"Engine for the networks ({whose}): torch, compile, onnx, tensorrt.")
    precision = click.option(
        "--precision", type=click.Choice(ENGINE_PRECISIONS), help="Numeric precision of that engine."
    )
    return lambda command: name(precision(command))


@click.command(short_help="Run the whole loop; continues where it stopped.")
@click.argument("recipe", metavar="RECIPE_OR_PHOTOS", type=click.Path(path_type=Path))
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Run folder; default runs/<name of the recipe>.")
@click.option(
    "--shard", metavar="I/N", help="Do only part I of N (counted from 0) and leave the rest to other processes."
)
@recipe_options
@engine_options("run")
@click.pass_obj
def run(
    registry: Registry,
    recipe: Path,
    folder: Path | None,
    shard: str | None,
    settings: tuple[str, ...],
    restart: str | None,
    yes: bool,
    engine: str | None,
    precision: str | None,
) -> None:
    """Run all stages: score, select, caption, synthesize, animate, filter, export, finetune, evaluate, report.

    RECIPE_OR_PHOTOS is a recipe (a TOML file), or photographs without annotations: a folder, a picture or a video, in
    which BlazePose finds the people and labels their joints in 2D.

    \b
    posesyn run ~/photos
    posesyn run examples/mpii.toml --set dataset.root=/data/mpii
    posesyn run examples/mpii.toml --set score.hard=50 --run runs/small

    Start an interrupted run again and it continues (`posesyn resume RUN` needs only the folder). A run keeps its
    recipe; only --workers, --batch-size, --device and the engines may change. --restart STAGE redoes a stage, and later
    stages if its results have changed. Nothing is deleted: old results move to RUN/.superseded (`posesyn superseded`).

    Processes started with --shard 0/4, 1/4, 2/4 and 3/4 share the work of one run, on any machines that see the same
    folder; the first does what cannot be shared.
    """
    loaded = load_recipe(recipe, settings) if recipe.suffix == ".toml" else recipe_of(recipe, settings)
    execute(registry, with_engine(loaded, "run", engine, precision), folder, restart, yes, shard)


@click.command(short_help="Continue a run with its own recipe.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--shard", metavar="I/N", help="Do only part I of N (counted from 0) and leave the rest to other processes."
)
@recipe_options
@engine_options("run")
@click.pass_obj
def resume(
    registry: Registry,
    folder: Path,
    shard: str | None,
    settings: tuple[str, ...],
    restart: str | None,
    yes: bool,
    engine: str | None,
    precision: str | None,
) -> None:
    """Continue the run in the folder RUN with the recipe that it was started with: all stages, as `posesyn run` does.

    \b
    posesyn resume runs/mine
    posesyn resume runs/mine --restart filter --set filter.tau=80
    posesyn resume runs/mine --set rounds=3
    """
    from posesyn_core.runs.rounds import recipe_of_runs

    chosen = with_engine(load_recipe(recipe_of_runs(folder), settings), "run", engine, precision)
    execute(registry, chosen, folder, restart, yes, shard)


def execute(
    registry: Registry,
    recipe: Recipe,
    folder: Path | None,
    restart: str | None = None,
    yes: bool = False,
    shard: str | None = None,
) -> None:
    """Run all stages of ``recipe`` as :func:`complete` does, and print the result."""
    complete(registry, recipe, folder, restart, yes, shard)()


def complete(
    registry: Registry,
    recipe: Recipe,
    folder: Path | None,
    restart: str | None = None,
    yes: bool = False,
    shard: str | None = None,
) -> Callable[[], None]:
    """Run all stages of ``recipe`` in ``folder`` (default runs/<name>), printing each stage's figures.

    The user is asked before programs of the recipe are started, but with ``yes``. ``shard`` ("0/4") leaves the other
    shards' parts to other processes. Returns what prints the result.
    """
    from posesyn_core.pipeline.run import create_run
    from posesyn_core.runs.rounds import rounds_report, run_rounds
    from posesyn_core.runs.stages import run_all

    _ask_for_programs(registry, recipe, yes)
    folder = folder or Path("runs") / recipe.name
    executor = _executor(recipe.executor, shard, wait=True)
    if recipe.rounds > 1:
        if shard is not None:
            raise UserError("--shard shares one run: set rounds = 1, or run the rounds in one process")
        return functools.partial(
            print_rounds, run_rounds(folder, recipe, registry, tell, restart), rounds_report(folder)
        )
    with _lock(folder, shard):
        opened = create_run(folder, recipe, registry, restart)
        run_all(opened, tell, executor)
    return functools.partial(print_result, opened)


def _executor(choice: ExecutorChoice, shard: str | None, wait: bool) -> "Executor":
    """What does the parts: a cluster, one shard of several processes, or this process."""
    from posesyn_core.pipeline.executor import LOCAL
    from posesyn_core.pipeline.shards import Shard, ShardExecutor

    if choice.name == "ray":
        from posesyn_core.pipeline.cluster import RayExecutor

        if shard is not None:
            raise UserError("--shard and the executor ray both share a run: choose one of them")
        return RayExecutor(choice)
    return LOCAL if shard is None else ShardExecutor(Shard.parse(shard), wait)


def _lock(folder: Path, shard: str | None) -> AbstractContextManager[None]:
    """The lock of the run, or of a shard of it."""
    from posesyn_core.pipeline.shards import Shard

    if shard is None:
        return run_lock(folder)
    return shard_lock(folder, Shard.parse(shard).index, Shard.parse(shard).count)


def _ask_for_programs(registry: Registry, recipe: Recipe, yes: bool) -> None:
    """Have the user approve the programs that a recipe starts; UserError where nobody can be asked."""
    new = unapproved(programs(recipe, registry))
    if not new:
        return
    if not yes:
        if not sys.stdin.isatty():
            require_approval(new)
        for program in new:
            click.echo(f"the recipe's {program.key} starts this program: {program.command}")
        confirm("May it run on this machine?", "--yes says so")
    approve(new)


def stage_commands() -> list[click.Command]:
    """A command for every stage."""
    return [_stage_command(stage) for stage in STAGES]


def _stage_command(stage: str) -> click.Command:
    @click.command(stage, short_help=_TEACHES[stage])
    @click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
    @click.option("--recipe", type=click.Path(path_type=Path), help="Recipe of a new run.")
    @click.option(
        "--shard", metavar="I/N", help="Do only part I of N (counted from 0); the last shard completes the stage."
    )
    @click.option("--repair", "repairs", is_flag=True, help="Set the stage's damaged files aside and make them again.")
    @recipe_options
    @engine_options(stage)
    @click.pass_obj
    def command(
        registry: Registry,
        folder: Path,
        recipe: Path | None,
        shard: str | None,
        repairs: bool,
        settings: tuple[str, ...],
        restart: str | None,
        yes: bool,
        engine: str | None = None,
        precision: str | None = None,
    ) -> None:
        from posesyn_core.pipeline.run import create_run, open_run
        from posesyn_core.pipeline.shards import PartsMissing
        from posesyn_core.runs.stages import SPREAD_STAGES, require_some, run_stage

        if shard is not None and stage not in SPREAD_STAGES:
            raise UserError(f"{stage} can't be shared: run it once, without --shard")

        if recipe is None:
            opened = open_run(folder, registry)  # says what is wrong if there is no run
            if stage == "report" and not settings and restart is None:  # may look at a run that is being worked on
                tell(stage, run_stage(opened, stage))
                return
        with _lock(folder, shard):
            chosen = with_engine(load_recipe(recipe or folder / "recipe.toml", settings), stage, engine, precision)
            _ask_for_programs(registry, chosen, yes)
            opened = create_run(folder, chosen, registry, restart)
            if repairs:
                _repair(opened, stage)
            try:
                figures = run_stage(opened, stage, _executor(chosen.executor, shard, wait=False))
            except PartsMissing as missing:
                click.echo(
                    f"{missing}: run this command again after the other shards have finished, to complete the stage"
                )
                return
        tell(stage, figures)
        _print_outdated(opened)
        require_some(stage, figures)

    command.help = (
        f"{_TEACHES[stage]}\n\nRUN is the run folder. Finished work is not repeated unless you ask for it with "
        f"--restart {stage}. A new run needs --recipe."
    )
    return command


def _repair(opened: "Run", stage: str) -> None:
    """Set damaged files of a stage aside, and say so."""
    from posesyn_core.pipeline.checking import repair

    found, place = repair(opened, stage)
    for damage in found:
        click.echo(f"{damage.path.relative_to(opened.folder)} {damage.fault}")
    click.echo(f"set aside in {str(place)!r}" if place is not None else f"nothing of {stage} is damaged")


def _print_outdated(opened: "Run") -> None:
    """Say which later stages were made from something else by now."""
    outdated = opened.ledger.outdated()
    if outdated:
        click.echo(
            f"out of date, because their inputs have changed: {', '.join(outdated)}; `posesyn resume {opened.folder}` "
            "redoes them and sets the old results aside"
        )
