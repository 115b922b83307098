"""Claim: ONNX Runtime or torch.compile beats eager torch on the CPU, and scoring through an engine keeps up with it.

Three networks: the starter of ``spin``; SPIN at its published size (a ResNet-50 on 224 x 224); 4D-Humans' network on
256 x 192 with a ViT-B/16 in place of its ViT-H/16 (random weights: speed does not depend on them). Every engine of the
machine is timed on every batch size in turns, as the median of three rounds; the ratio is to eager float32 at the same
batch size. Then the whole stage ``score`` (read, decode, crop, network, Eq. 1, write) on SPIN at its published size is
compared with the same engine computing alone, on the same passes. An engine whose results are not those of eager torch
does not come this far: ``score`` refuses it.

    python bench/engines.py [--networks starter resnet50 vit] [--batches 1,8,32] [--seconds 6] [--images 96]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from posesyn_core.components import Kind
from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines.batches import LoadedNetwork, load_network
from posesyn_core.inference.predict import exportable
from posesyn_core.inference.verification import Timing, batch_sizes, bench, present_engines
from posesyn_core.pipeline.run import create_run
from posesyn_core.pipeline.score import score
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_hmr2.network import IMAGE_SIZE, Hmr2Network, Sizes
from posesyn_spin.network import SpinNetwork
from posesyn_spin.weights import Setting, save_network

ROUNDS = 3


def networks(registry: Registry, weights: Path) -> dict[str, ExportableModule]:
    """The three networks by name."""
    starter = registry.create(Kind.ESTIMATOR, "starter", {}, "bench")
    full = registry.create(Kind.ESTIMATOR, "spin", {"weights": str(weights)}, "bench")
    base = Hmr2Network(Sizes(channels=768, depth=12, head_channels=64)).eval()
    vit = ExportableModule("hmr2_vit_b16", base, {"images": torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE)})
    return {"starter": exportable("starter", starter), "resnet50": exportable("spin_resnet50", full), "vit": vit}


def table(title: str, timings: list[Timing]) -> None:
    """One row per engine: images/s and the ratio to eager for every batch size."""
    sizes = sorted({timing.batch for timing in timings})
    print(f"\n{title}\n{'engine':<10}" + "".join(f"{f'batch {size}':>18}" for size in sizes))
    for name in dict.fromkeys(timing.engine for timing in timings):
        row = [timing for size in sizes for timing in timings if (timing.engine, timing.batch) == (name, size)]
        print(f"{name:<10}" + "".join(f"{timing.rate:>10.1f}/s x{timing.ratio:>5.2f}" for timing in row))


def bare(network: LoadedNetwork, module: ExportableModule, count: int) -> float:
    """Images per second of an engine on ready tensors, in the passes that ``score`` would give it."""
    size = network.batch[1]
    batch = {name: tensor[:1].repeat(size, 1, 1, 1) for name, tensor in module.example.items()}
    network.call(batch)
    started = time.perf_counter()
    for _ in range(count // size):
        network.call(batch)
    return count // size * size / (time.perf_counter() - started)


def end_to_end(registry: Registry, recipe: str, folder: Path, count: int) -> float:
    """Images per second of the stage once its engine is ready: time between the first and the last result."""
    run = create_run(folder, parse_recipe(recipe), registry)
    network = run.network(run.recipe.estimator, run.create(Kind.ESTIMATOR, run.recipe.estimator, "bench"), "estimator")
    assert network is not None  # built, checked and warm: what follows opens the same session again
    started = time.perf_counter()
    run.network(run.recipe.estimator, run.create(Kind.ESTIMATOR, run.recipe.estimator, "bench"), "estimator")
    ready = time.perf_counter() - started
    started = time.perf_counter()
    assert score(run) == {"samples": count, "rejected": 0}
    return count / (time.perf_counter() - started - ready)


def scoring(registry: Registry, weights: Path, folder: Path, engine: str, count: int) -> None:
    """Print how much of an engine's speed is left of it in the whole stage."""
    data = f'dataset = {{ name = "world", part = "wild", split = "bench", labels = "2d", count = {count} }}\n'
    recipe = data + f'[estimator]\nname = "spin"\nweights = "{weights}"\nengine = "{engine}"\n'
    estimator = registry.create(Kind.ESTIMATOR, "spin", {"weights": str(weights)}, "bench")
    module = exportable("spin", estimator)
    network = load_network(registry.create(Kind.ENGINE, engine, {}, "bench"), module)
    rates: dict[str, list[float]] = {"alone": [], "scoring": []}
    end_to_end(registry, recipe, folder / f"{engine}-warm-up", count)  # draws the images at first use
    for number in range(ROUNDS):
        rates["alone"].append(bare(network, module, count))
        rates["scoring"].append(end_to_end(registry, recipe, folder / f"{engine}-{number}", count))
    alone, whole = (statistics.median(values) for values in rates.values())
    print(f"{engine:<10} alone {alone:7.1f} images/s, scoring {whole:7.1f} images/s, ratio {whole / alone:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["starter", "resnet50", "vit"])
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--images", type=int, default=96, help="0 = leave scoring out")
    parser.add_argument("--engine", nargs="*", default=["torch", "onnx"], help="for scoring")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of this process, for a busy machine, 1 thread")
    parser.add_argument("--device", default="")
    options = parser.parse_args()
    registry, sizes = Registry.discover(), batch_sizes(options.batches)
    clock = time.process_time if options.cpu_time else time.perf_counter
    torch.manual_seed(0)
    given = {"precision": options.precision, "batch": (1, max(sizes))}
    engines, missing = present_engines(registry, given | ({"device": options.device} if options.device else {}))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "full.safetensors"
        save_network(SpinNetwork(), Setting(body="free"), weights)
        for name, module in networks(registry, weights).items():
            if name in options.networks:
                timings, refused = bench(module, engines, sizes, options.seconds, clock)
                table(name, timings)
                sys.stdout.flush()
                missing |= refused
        print("".join(f"\nwithout {name}: {reason}" for name, reason in missing.items()), "\n")
        for engine in options.engine if options.images else ():
            scoring(registry, weights, Path(folder), engine, options.images)


if __name__ == "__main__":
    main()
