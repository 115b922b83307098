"""``posesyn check``: what a recipe needs and this machine lacks; is a run what its stages wrote."""

import sys
from pathlib import Path

import click

from posesyn_core.pipeline.preflight import GB, disk_bytes, lacks
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry


@click.command(short_help="What a recipe needs and is not there; or whether a run's files are whole.")
@click.argument("what", metavar="RECIPE|RUN", type=click.Path(path_type=Path))
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Folder for the run, whose disk must have room.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a recipe key, e.g. score.hard=50.")
@click.pass_obj
def check(registry: Registry, what: Path, folder: Path | None, settings: tuple[str, ...]) -> None:
    """Of a RECIPE (a file): look for all that a run of it needs, before it starts: components and their libraries, the
    head of every weight file, every data set's layout, devices, engines, room on the disk. Each missing thing is a line
    with where to get it; `posesyn run` looks for the same first. Ends with 0 if nothing is missing, else with 2.

    Of a RUN (a folder): read every table, picture, export and weight file and compare it with its checksum. Each damage
    is a line with the command that repairs it: `posesyn STAGE RUN --repair` sets the damaged files aside and makes them
    again, byte by byte. Ends with 0 if all is whole, else with 1.

    \b
    posesyn check examples/paper-hmr2.toml
    posesyn check runs/mine
    """
    if what.is_dir():
        _check_run(registry, what)
    chosen = load_recipe(what, settings)
    found = lacks(chosen, registry, folder or Path("runs") / chosen.name)
    for fault in found:
        click.echo(f"- {fault}")
    estimate = f"a whole run is estimated to write {disk_bytes(chosen) / GB:.1f} GB"
    click.echo(f"{len(found)} missing; {estimate}" if found else f"nothing is missing; {estimate}")
    sys.exit(2 if found else 0)


def _check_run(registry: Registry, folder: Path) -> None:
    """Tell a run's damages, and end with the exit code."""
    from posesyn_core.pipeline.checking import damages
    from posesyn_core.pipeline.run import open_run

    run, found = open_run(folder, registry), 0
    for damage in damages(run):
        found += 1
        click.echo(f"{damage.path.relative_to(run.folder)} {damage.fault}: {damage.command(folder)}")
    click.echo(f"{found} damaged" if found else "all files of the run are what was written")
    sys.exit(1 if found else 0)
