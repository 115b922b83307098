"""Claim: re-projection draws limbs where the labels have them, on the free world and on real photographs.

Two small runs up to their clips: references of the rendered world, and real photographs of COCO with their annotations.
Prints what `posesyn fidelity` prints of both, side by side: distances between labelled joints and those that a 2D
estimator sees in the frames (pixels of a 256 crop about the person), lost limbs, drift of colours, sharpness.

    python bench/fidelity.py [--judge blazepose] [--keep FOLDER] [--set KEY=VALUE]
"""

import argparse
import os
import tempfile
from pathlib import Path

from posesyn_core.cli.fidelity import print_side_by_side
from posesyn_core.pipeline.fidelity import measure
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage

SHARED = Path(os.environ.get("POSESYN_SHARED", Path(__file__).parents[2] / "shared"))
COMMON = """
score = { hard = 6, easy = 6 }
synthesize = { pose = "fitted", max_frames = 48 }
animate = { orientation = "heading", frame_stride = 6, keep_dropped = true }
"""
DATA = {
    "world": 'dataset = { name = "world", part = "wild", split = "mine", count = 64, labels = "2d", noise = 1.0 }',
    "photographs": 'dataset = {{ name = "coco", root = "{shared}/data/images/coco", annotations = "test_coco.json" }}',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", default="blazepose")
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--keep", type=Path, help="keep the runs (and go on with them) in this folder")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a recipe key")
    options = parser.parse_args()
    registry, found = Registry.discover(), []
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.data:
            dataset = DATA[name] if name == "world" else DATA[name].format(shared=SHARED)
            recipe = parse_recipe(f'name = "{name}"\n{dataset}\n{COMMON}', options.set)
            run = create_run((options.keep or Path(temporary)) / name, recipe, registry)
            for stage in STAGES[: STAGES.index("animate") + 1]:
                run_stage(run, stage)
            found.append(measure(run, options.judge))
    print_side_by_side(found)


if __name__ == "__main__":
    main()
