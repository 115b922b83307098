"""Claim: a run in one process is not slower than it was before stages were made of parts that others could do.

Processor time for a sample of the stages that need no picture to be drawn, in this tree and in another one, a checkout
of an older commit, by turns, each in a process of its own on one thread. The estimator is `spin` with small random
weights, so that the network hides little of what is around it.

    git worktree add --detach ../before 545b7fd
    python bench/local_path.py ../before [--samples 256] [--rounds 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TREE = Path(__file__).parents[1]
STAGES = ("score", "select", "caption", "synthesize")
CHILD = """
import importlib, json, sys, tempfile, time, warnings
from pathlib import Path
tree, samples, stages = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
sys.path[:0] = [tree, tree + "/plugins", tree + "/engines"]
warnings.simplefilter("ignore")
import posesyn_core
assert posesyn_core.__file__.startswith(tree), posesyn_core.__file__
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
RECIPE = '''
dataset = {{ name = "world", part = "wild", split = "bench", labels = "2d", count = {count} }}
estimator = {{ name = "spin", weights = "random" }}
[machine]
workers = 1
[score]
hard = {hard}
easy = 4
'''
registry, found = Registry.discover(), {}
with tempfile.TemporaryDirectory() as folder:
    for count in (16, samples):  # the first few warm up
        recipe = parse_recipe(RECIPE.format(count=count, hard=count // 8))
        run = create_run(Path(folder) / str(count), recipe, registry)
        for name in stages:
            stage = getattr(importlib.import_module(f"posesyn_core.pipeline.{name}"), name)
            if hasattr(run, "begin"):
                run.begin(name)
            started = time.process_time()
            figures = stage(run)
            found[name] = 1000 * (time.process_time() - started) / count
            run.finish(name, figures)
print(json.dumps(found))
"""


def milliseconds(tree: Path, samples: int) -> Mapping[str, float]:
    """Processor time for a sample of each stage."""
    command = [sys.executable, "-c", CHILD, str(tree), str(samples), *STAGES]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=lambda text: Path(text).resolve(), help="a checkout of the older commit")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    milliseconds(options.before, options.samples)  # draws the world's pictures
    pairs = [
        (milliseconds(options.before, options.samples), milliseconds(TREE, options.samples))
        for _ in range(options.rounds)
    ]
    for stage in STAGES:
        before, after = (statistics.median(pair[side][stage] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(new[stage] / old[stage] for old, new in pairs)
        print(f"{stage:<10} before {before:6.3f} ms a sample, now {after:6.3f} ms: x{ratio:.3f}")


if __name__ == "__main__":
    main()
