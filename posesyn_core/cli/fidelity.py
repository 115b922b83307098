"""``posesyn fidelity``: does what was drawn agree with what was planned?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from posesyn_core.recipe import Choice, settings_of
from posesyn_core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posesyn_core.pipeline.fidelity import Fidelity


@click.command(short_help="Measure how faithfully animators draw what was planned.")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--judge", default="blazepose", show_default=True, help="The 2D estimator that looks at the frames.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set an option of the judge: model=rtmpose-l.onnx"
)
@click.option(
    "--every", type=click.IntRange(1), default=1, show_default=True, help="Look at every n-th frame of a clip."
)
@click.pass_obj
def fidelity(registry: Registry, folders: tuple[Path, ...], judge: str, settings: tuple[str, ...], every: int) -> None:
    """Measure for each RUN how far the drawn limbs are from their labels, how many limbs are missing, how much the
    person's colours change within a clip, and how sharp the frames are. Several runs are shown side by side.

    \b
    posesyn fidelity runs/reprojection runs/champ --judge rtmpose --set model=rtmpose-l.onnx

    Only frames on disk are measured. Unless the recipe sets animate.keep_dropped = true, these are the frames that the
    filter kept, which flatters the animator. Distances are in pixels of a 256-pixel crop around the person. The
    figures are saved in the run's folder and shown in its report.
    """
    from posesyn_core.pipeline.fidelity import measure
    from posesyn_core.pipeline.run import open_run

    chosen = Choice(judge, settings_of(settings))
    print_side_by_side([measure(open_run(folder, registry), chosen, every=every) for folder in folders])


def print_side_by_side(found: "Sequence[Fidelity]") -> None:
    """A column for each run."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Label fidelity, by {found[0].judge}: median px of a 256 crop, and share of lost limbs")
    table.add_column("")
    for one in found:
        table.add_column(f"{one.run} ({one.animator})", justify="right")
    for rows in zip(*(one.parts for one in found), strict=True):
        table.add_row(rows[0].name, *(f"{part.median:.1f} px, {100 * part.lost:.1f} % lost" for part in rows))
    table.add_row("identity drift (Lab)", *(f"{one.identity:.1f}" for one in found))
    table.add_row("sharpness / reference", *(f"{one.sharpness:.2f}" for one in found))
    table.add_row("frames", *(str(one.frames) for one in found))
    Console().print(table)
