"""``posesyn superseded``: what other settings have taken the place of."""

from pathlib import Path

import click

from posesyn_core.cli.asking import confirm
from posesyn_core.pipeline import superseded as places
from posesyn_core.pipeline.locks import run_lock
from posesyn_core.registry import Registry

GIGABYTE = 1e9


@click.command(short_help="List, restore or delete superseded results of a run.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--restore", "restored", metavar="TIME", help="Restore the results set aside at that time, with their recipe."
)
@click.option(
    "--delete",
    "deleted",
    metavar="TIME",
    multiple=True,
    help="Delete the results set aside at that time for good; repeatable.",
)
@click.option("--delete-all", is_flag=True, help="Delete all superseded results for good.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.pass_obj
def superseded(
    registry: Registry, folder: Path, restored: str | None, deleted: tuple[str, ...], delete_all: bool, yes: bool
) -> None:
    """List the superseded results in RUN/.superseded: those made with other settings than the present ones.

    --restart and changed inputs move old results there. Nothing is deleted unless you ask for it.

    \b
    posesyn superseded runs/mine
    posesyn superseded runs/mine --restore 2026-05-01T120000Z
    posesyn superseded runs/mine --delete-all
    """
    from posesyn_core.pipeline.restoring import restore
    from posesyn_core.pipeline.run import open_run

    run = open_run(folder, registry)
    if restored is not None:
        with run_lock(folder):
            replaced = restore(run.folder, restored)
        click.echo(f"{restored} is back" + (f"; what stood in its place is in {str(replaced)!r}" if replaced else ""))
    elif deleted or delete_all:
        chosen = places.named(run.folder, () if delete_all else deleted)
        if not chosen:
            click.echo("nothing is set aside")
            return
        size = sum(one.size for one in chosen) / GIGABYTE
        question = f"Delete {', '.join(one.folder.name for one in chosen)} ({size:.2f} GB) for good?"
        if not yes:
            confirm(question, "--yes deletes without asking")
        with run_lock(folder):
            freed = places.delete(run.folder, [one.folder.name for one in chosen])
        click.echo(f"{freed / GIGABYTE:.2f} GB are free again")
    else:
        for one in places.superseded(run.folder):
            click.echo(f"{one.folder.name}  {one.size / GIGABYTE:7.2f} GB  {', '.join(one.stages)}")
