"""``posesyn preview``: clips to look at."""

from pathlib import Path

import click

from posesyn_core.registry import Registry


@click.command(short_help="Show drawn clips beside the maps that led the animator (PNG, mp4).")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--clips", type=click.IntRange(1), default=4, show_default=True, help="How many, spread over all.")
@click.option("--every", type=click.IntRange(1), default=8, show_default=True, help="Show every n-th frame in strips.")
@click.option("--maps", help="Which maps instead of the animator's own, e.g. depth,normal,semantic_map,dwpose.")
@click.option("--video", is_flag=True, help="Write mp4 as well (needs posesyn[video]).")
@click.pass_obj
def preview(registry: Registry, folder: Path, clips: int, every: int, maps: str | None, video: bool) -> None:
    """Write strips of the clips that `posesyn animate` drew to RUN/previews, and print their names.

    A strip has a column for every 8th frame: the frame with its error, and below it the maps of the planned body that
    the animator was led by (a skeleton where it needs none). An error on red says that the filter dropped the frame;
    it is grey unless the recipe kept it (animate.keep_dropped = true).

    \b
    posesyn preview runs/demo
    posesyn preview runs/demo --clips 2 --video --maps depth,normal
    """
    from posesyn_core.pipeline.run import open_run
    from posesyn_core.report.previews import write_previews

    kinds = [kind.strip() for kind in maps.split(",")] if maps else []
    for path in write_previews(open_run(folder, registry), count=clips, every=every, video=video, maps=kinds):
        click.echo(path)
