"""``posesyn preview``: clips to look at."""

from pathlib import Path

import click

from posesyn_core.registry import Registry


@click.command(short_help="Show clips beside the guidance maps of the animator (PNG, mp4).")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--clips", type=click.IntRange(1), default=4, show_default=True, help="Number of clips, spread over the run."
)
@click.option("--every", type=click.IntRange(1), default=8, show_default=True, help="Show every n-th frame.")
@click.option("--maps", help="Maps to show instead of the animator's own, e.g. depth,normal,semantic_map,dwpose.")
@click.option("--video", is_flag=True, help="Also write mp4 files (needs posesyn[video]).")
@click.pass_obj
def preview(registry: Registry, folder: Path, clips: int, every: int, maps: str | None, video: bool) -> None:
    """Write picture strips of the clips made by `posesyn animate` to RUN/previews, and print their paths.

    Each column of a strip shows one frame with its error and, below it, the guidance maps that the animator followed
    (a skeleton if it uses none). A red error marks a frame that the filter dropped; the frame itself is grey unless the
    recipe keeps dropped frames (animate.keep_dropped = true).

    \b
    posesyn preview runs/demo
    posesyn preview runs/demo --clips 2 --video --maps depth,normal
    """
    from posesyn_core.pipeline.run import open_run
    from posesyn_core.report.previews import write_previews

    kinds = [kind.strip() for kind in maps.split(",")] if maps else []
    for path in write_previews(open_run(folder, registry), count=clips, every=every, video=video, maps=kinds):
        click.echo(path)
