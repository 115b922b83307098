"""Claim: scoring 10,000 rendered samples keeps resident memory flat.

Draws and scores the samples in one run, and reads this process's resident memory after every part. Flat means: the
greatest value in the last half exceeds the greatest in the second tenth by less than 10 %.

    python bench/score_memory.py [--images 10000]
"""

import argparse
import tempfile
import threading
from pathlib import Path

from posesyn_core.pipeline.run import create_run
from posesyn_core.pipeline.score import score
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry

RECIPE = 'dataset = {{ name = "world", part = "wild", split = "memory", count = {count}, folder = "{folder}" }}'


def resident_mb() -> float:
    """Resident memory of this process in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def watch(parts: Path, samples: list[tuple[int, float]], stop: threading.Event) -> None:
    """Note (parts done, resident memory) twice a second."""
    while not stop.wait(0.5):
        samples.append((len(list(parts.glob("*.parquet"))), resident_mb()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    samples: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        recipe = parse_recipe(RECIPE.format(count=options.images, folder=Path(folder) / "world"))
        run = create_run(Path(folder) / "run", recipe, Registry.discover())
        stop = threading.Event()
        watcher = threading.Thread(target=watch, args=(run.folder / "score", samples, stop))
        watcher.start()
        figures = score(run)
        stop.set()
        watcher.join()
    last = max(parts for parts, _ in samples)
    for tenth in range(1, 11):
        inside = [mb for parts, mb in samples if (tenth - 1) * last / 10 <= parts <= tenth * last / 10]
        print(f"{10 * tenth:3d} % of the samples: {max(inside, default=float('nan')):7.1f} MB")
    early = max(mb for parts, mb in samples if last / 10 <= parts <= last / 5)
    late = max(mb for parts, mb in samples if parts >= last / 2)
    print(f"{figures['samples']} samples; late / early resident memory = {late / early:.3f}  (claim: at most 1.10)")


if __name__ == "__main__":
    main()
