"""``posesyn check``: what a recipe needs and this machine lacks; is a run what its stages wrote."""

import sys
from pathlib import Path

import click

from posesyn_core.pipeline.locks import run_lock
from posesyn_core.pipeline.order import RECIPE
from posesyn_core.pipeline.preflight import GB, disk_bytes, lacks
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry


@click.command(short_help="Check what a recipe needs, or whether a run's files are intact.")
@click.argument("what", metavar="RECIPE|RUN", type=click.Path(path_type=Path))
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Run folder, to check for free disk space.")
@click.option("--repair", is_flag=True, help="Bring back the recipe of a RUN, where it is damaged.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a recipe key, e.g. score.hard=50.")
@click.pass_obj
def check(registry: Registry, what: Path, folder: Path | None, repair: bool, settings: tuple[str, ...]) -> None:
    """Given a RECIPE (a file), list everything that it needs and this machine lacks: components and their libraries,
    weight files, data sets, devices, engines and disk space. Each line says where to get the missing thing.
    `posesyn run` makes the same check before it starts. Exits with 0 if nothing is missing, otherwise with 2.

    Given a RUN (a folder), compare every table, picture, export and weight file with its checksum. Each line names a
    damaged file and the command that repairs it: `posesyn STAGE RUN --repair` sets damaged files aside and makes them
    again, byte for byte. Exits with 0 if everything is intact, otherwise with 1.

    \b
    posesyn check examples/paper-hmr2.toml
    posesyn check runs/mine
    """
    if what.is_dir():
        _check_run(registry, what, repair)
    chosen = load_recipe(what, settings)
    found = lacks(chosen, registry, folder or Path("runs") / chosen.name)
    for fault in found:
        click.echo(f"- {fault}")
    estimate = f"a whole run is estimated to write {disk_bytes(chosen) / GB:.1f} GB"
    click.echo(f"{len(found)} missing; {estimate}" if found else f"nothing is missing; {estimate}")
    sys.exit(2 if found else 0)


def _check_run(registry: Registry, folder: Path, repair: bool) -> None:
    """List a run's damaged files, and exit with the code."""
    from posesyn_core.pipeline.checking import damages
    from posesyn_core.pipeline.recipes import recipe_is_sound, recover_recipe
    from posesyn_core.pipeline.run import open_run

    if not recipe_is_sound(folder) and repair:
        with run_lock(folder):
            place = set_aside(folder, [folder / RECIPE])
            recover_recipe(folder)
        click.echo(f"the recipe is as it was written; what stood in its place is in {str(place)!r}")
    elif not recipe_is_sound(folder):
        click.echo(f"{RECIPE} is not what was written: posesyn check {folder} --repair\n1 damaged")
        sys.exit(1)
    run, found = open_run(folder, registry), 0
    for damage in damages(run):
        found += 1
        click.echo(f"{damage.path.relative_to(run.folder)} {damage.fault}: {damage.command(folder)}")
    click.echo(f"{found} damaged" if found else "all files of the run are intact")
    sys.exit(1 if found else 0)
