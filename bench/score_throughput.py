"""Claim: scoring end to end runs at 85 % or more of the speed of the bare network of a published estimator.

End to end = read, decode, crop, network, Eq. 1, write; bare = the same network on ready tensors, same batch size, same
machine, same process, same engine. Both are measured in turns and the medians are compared.

    python bench/score_throughput.py [--estimator spin] [--weights random-full] [--engine torch] [--images 192]

By default it takes SPIN's network at its published size (random weights: speed does not depend on them). For BlazePose,
whose network looks twice: ``--estimator blazepose --weights full --engine onnx`` (with OMP_NUM_THREADS=1, one core: at
least 60 people a second where the network itself does, and 0.9 of it).
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from posesyn_core.components import Kind
from posesyn_core.inference.predict import exportable
from posesyn_core.pipeline.run import create_run
from posesyn_core.pipeline.score import score
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry

DATASET = 'dataset = {{ name = "world", part = "wild", split = "bench", labels = "2d", count = {count} }}'


def bare(count: int, batch: int, options: argparse.Namespace, registry: Registry) -> float:
    """Images per second of the network alone, fed as the engine feeds it."""
    estimator = registry.create(Kind.ESTIMATOR, options.estimator, {"weights": options.weights}, "bench")
    module = exportable(options.estimator, estimator)
    inputs = {name: tensor[:1].expand(batch, *tensor.shape[1:]).contiguous() for name, tensor in module.example.items()}
    call = registry.create(Kind.ENGINE, options.engine, {}, "bench").load(module)
    call(inputs)
    started = time.perf_counter()
    for _ in range(count // batch):
        call(inputs)
    return count / (time.perf_counter() - started)


def end_to_end(count: int, registry: Registry, recipe_text: str, folder: Path) -> float:
    """Images per second of the whole stage into a fresh run folder."""
    run = create_run(folder, parse_recipe(recipe_text), registry)
    started = time.perf_counter()
    figures = score(run)
    seconds = time.perf_counter() - started
    assert figures == {"samples": count, "rejected": 0}, figures
    return count / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", default="spin")
    parser.add_argument("--weights", default="random-full")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    registry = Registry.discover()
    rates: dict[str, list[float]] = {"bare": [], "end to end": []}
    with tempfile.TemporaryDirectory() as folder:
        chosen = f'name = "{options.estimator}", weights = "{options.weights}", engine = "{options.engine}"'
        recipe = DATASET.format(count=options.images) + f"\nestimator = {{ {chosen} }}"
        batch = parse_recipe(recipe).machine.batch_size
        end_to_end(options.images, registry, recipe, Path(folder) / "warm-up")  # draws the images at first use
        for number in range(options.rounds):
            rates["bare"].append(bare(options.images, batch, options, registry))
            rates["end to end"].append(end_to_end(options.images, registry, recipe, Path(folder) / str(number)))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{name:<11} {rate:7.1f} images/s  (spread {np.ptp(rates[name]):.1f})")
    ratio = medians["end to end"] / medians["bare"]
    print(f"end to end / bare network = {ratio:.2f}  (claim: at least 0.85)")


if __name__ == "__main__":
    main()
