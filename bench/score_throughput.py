"""Claim: scoring end to end runs at 85 % or more of the speed of the bare network of a published estimator.

End to end = read, decode, crop, network, Eq. 1, write, once everything is loaded; bare = the same network on ready
tensors, in passes of the same size, same machine, same process, same engine. Both are measured in turns and the medians
compared.

    python bench/score_throughput.py [--estimator spin] [--weights random-full] [--engine torch] [--images 192]
        [--one-core]

By default it takes SPIN's network at its published size (random weights: speed does not depend on them). For BlazePose,
whose network looks twice: ``--estimator blazepose --weights full --engine onnx --one-core`` (at least 60 people a
second where the network itself does, and 0.9 of it). ``--one-core`` counts the processor's time in all threads, which
is how long one core takes, whoever else is on the machine (set OMP_NUM_THREADS=1).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from posesyn_core.components import Kind
from posesyn_core.engines.batches import load_network
from posesyn_core.inference.predict import exportable
from posesyn_core.pipeline.executor import LOCAL
from posesyn_core.pipeline.run import create_run
from posesyn_core.pipeline.score import Scores
from posesyn_core.recipe import Recipe, parse_recipe
from posesyn_core.registry import Registry

DATASET = 'dataset = {{ name = "world", part = "wild", split = "bench", labels = "2d", count = {count} }}'


def bare(count: int, options: argparse.Namespace, registry: Registry) -> float:
    """Images per second of the network alone, in passes of the size that scoring makes."""
    estimator = registry.create(Kind.ESTIMATOR, options.estimator, {"weights": options.weights}, "bench")
    module = exportable(options.estimator, estimator)
    network = load_network(registry.create(Kind.ENGINE, options.engine, {}, "bench"), module)
    batch, call = network.batch[1], network.call
    inputs = {name: tensor[:1].expand(batch, *tensor.shape[1:]).contiguous() for name, tensor in module.example.items()}
    call(inputs)
    clock = clock_of(options)
    started = clock()
    for _ in range(count // batch):
        call(inputs)
    return count // batch * batch / (clock() - started)


def end_to_end(recipe: Recipe, options: argparse.Namespace, registry: Registry, folder: Path) -> float:
    """Images per second of the whole stage into a fresh run folder, its network loaded and checked."""
    run = create_run(folder, recipe, registry)
    scores, clock = Scores(run), clock_of(options)
    assert scores.estimator
    started = clock()
    filled = LOCAL.fill(scores)
    seconds = clock() - started
    assert (filled.units, filled.rejected) == (options.images, 0), filled
    return filled.units / seconds


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if options.one_core else time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", default="spin")
    parser.add_argument("--weights", default="random-full")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one-core", action="store_true")
    options = parser.parse_args()
    registry = Registry.discover()
    rates: dict[str, list[float]] = {"bare": [], "end to end": []}
    with tempfile.TemporaryDirectory() as folder:
        chosen = f'name = "{options.estimator}", weights = "{options.weights}", engine = "{options.engine}"'
        recipe = parse_recipe(DATASET.format(count=options.images) + f"\nestimator = {{ {chosen} }}")
        end_to_end(recipe, options, registry, Path(folder) / "warm-up")  # draws the images at first use
        for number in range(options.rounds):
            rates["bare"].append(bare(options.images, options, registry))
            rates["end to end"].append(end_to_end(recipe, options, registry, Path(folder) / str(number)))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{name:<11} {rate:7.1f} images/s  (spread {np.ptp(rates[name]):.1f})")
    ratio = medians["end to end"] / medians["bare"]
    print(f"end to end / bare network = {ratio:.2f}  (claim: at least 0.85)")


if __name__ == "__main__":
    main()
