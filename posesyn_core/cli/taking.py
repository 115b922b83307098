"""``posesyn export-motion`` and ``posesyn export-fiftyone``: what a run made, for other programs."""

from importlib.util import find_spec
from pathlib import Path

import click

from posesyn_core.registry import Registry


@click.command("export-motion", short_help="Write a run's motions for Blender and others: BVH, GLB, npz.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--format", "kind", type=click.Choice(("bvh", "glb", "npz")), default="glb", show_default=True, help="File format."
)
@click.option("--clips", is_flag=True, help="The labelled bodies of the drawn clips instead of the motions.")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder; default RUN/motions.")
@click.pass_obj
def export_motion(registry: Registry, folder: Path, kind: str, clips: bool, out: Path | None) -> None:
    """Export the motions made by `posesyn synthesize`, and print the paths of the files.

    \b
    glb   a skinned body with an animation for each motion: Blender, game engines, browsers
    bvh   the skeleton and its rotations: Blender, Maya, MotionBuilder
    npz   as AMASS has them, for tools of SMPL bodies (z up)

    All are in metres and at the motion's own frame rate; glb and bvh have y up. With --clips the files hold the bodies
    as they were drawn and labelled, each in the shape of its reference person.

    \b
    posesyn export-motion runs/demo
    posesyn export-motion runs/demo --format npz --out amass/
    posesyn export-motion runs/demo --format bvh --clips
    """
    from posesyn_core.pipeline.motion_files import export_motion as write
    from posesyn_core.pipeline.run import open_run

    for path in write(open_run(folder, registry), kind, out, clips=clips):
        click.echo(path)


@click.command("export-fiftyone", short_help="Write a data set for FiftyOne: photographs, frames, errors.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default RUN/fiftyone.")
@click.pass_obj
def export_fiftyone(registry: Registry, folder: Path, out: Path | None) -> None:
    """Write RUN's photographs and synthesised frames with boxes, skeletons and errors, to browse in FiftyOne.

    FiftyOne (posesyn[fiftyone]) is not needed to write it, and pictures stay where they are. With it installed:

    \b
    posesyn export-fiftyone runs/demo
    python -c "import fiftyone as fo
    data = fo.Dataset.from_dir('runs/demo/fiftyone', dataset_type=fo.types.FiftyOneDataset)
    fo.launch_app(data).wait()"
    """
    from posesyn_core.pipeline.fiftyone import export_fiftyone as write
    from posesyn_core.pipeline.run import open_run

    counts = write(open_run(folder, registry), out)
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()) + f": {out or folder / 'fiftyone'}")
    if find_spec("fiftyone") is None:
        click.echo("to look at it: pip install 'posesyn[fiftyone]', then as `posesyn export-fiftyone --help` says")
