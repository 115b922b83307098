"""Draws the README's picture from finished runs: hard images, what the estimator saw, frames made for them, and after.

make demo && .venv/bin/python bench/picture.py runs/demo/photographs --out examples/demo.jpg
"""

import argparse
from pathlib import Path

from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.run import open_run
from posesyn_core.registry import Registry
from posesyn_core.report.picture import ROWS, picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=ROWS, help="of each run")
    parser.add_argument("--skip", type=int, default=0)
    options = parser.parse_args()
    registry = Registry.discover()
    drawn = picture([open_run(run, registry) for run in options.runs], options.rows, options.skip)
    write_atomic(options.out, encode_jpeg(drawn))


if __name__ == "__main__":
    main()
