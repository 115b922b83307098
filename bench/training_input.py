"""Claim: training is never kept waiting for its data: the loader supplies at least 1.5 times what a step consumes.

Draws people of the rendered world (kept on disk as JPEGs, as photographs are), mixes two halves of them as real and
synthesised frames, and times in turns, on the same cores: the loader alone (read, decode, augment, crop, collate) with
``--workers`` threads and with one and two processes; and the estimator's training steps alone, on batches that are
ready. Prints the rates and their ratios. Then what a GPU would be kept waiting by: bytes that are copied to it for each
sample, beside those of the picture as numbers, and calls that wait for it, counted by name over ten steps.

    python bench/training_input.py [--rounds 3] [--steps 30] [--estimator spin] [--set weights=random]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from posesyn_core.components import Kind, TrainableEstimator
from posesyn_core.engines.waits import Waits
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.registry import Registry
from posesyn_core.training.loader import Batch, Mixture, batches
from posesyn_core.training.trainer import STEPS_UNREAD, Schedule, Trainer
from posesyn_core.values import LabelledFrame, Sample
from posesyn_starter.config import WorldConfig
from posesyn_starter.world import WorldReader


def people(count: int, folder: str) -> list[LabelledFrame]:
    """Rendered people with all labels."""
    reader = WorldReader(WorldConfig(part="wild", split="bench", count=count, labels="3d", folder=folder))
    return [labelled_frame(entry) for entry in reader.samples() if isinstance(entry, Sample)]


def waits(trainer: Trainer, ready: Sequence[Batch]) -> Waits:
    """What waits for the device in as many steps as a GPU makes between two readings, and in the reading."""
    with Waits() as counted:
        for number in range(STEPS_UNREAD):
            trainer.step([ready[number % len(ready)]])
        trainer.read()
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", default="spin")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the estimator")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    chosen = dict(setting.split("=", 1) for setting in options.set)
    estimator: TrainableEstimator = Registry.discover().create(Kind.ESTIMATOR, options.estimator, chosen, "bench")
    trainer = Trainer(estimator, Schedule(steps=1000, learning_rate=1e-5), seed=0)
    ways = {f"{options.workers} threads": 0, "1 process": 1, "2 processes": 2}
    rates: dict[str, list[float]] = {way: [] for way in (*ways, "training")}
    with tempfile.TemporaryDirectory() as folder:
        frames = people(options.frames, str(Path(folder)))
        half = len(frames) // 2
        mixture = Mixture(frames[:half], frames[half:], options.batch_size, ratio=0.5, seed=0)
        for number in range(options.rounds):
            first = number * options.steps
            for way, processes in ways.items():
                start = time.perf_counter()
                made = batches(
                    estimator, mixture, first, first + options.steps, workers=options.workers, processes=processes
                )
                ready = list(made)
                rates[way].append(options.steps * options.batch_size / (time.perf_counter() - start))
            start = time.perf_counter()
            for batch in ready:
                trainer.step([batch])
                trainer.read()
            rates["training"].append(options.steps * options.batch_size / (time.perf_counter() - start))
        (sent,) = batches(estimator, mixture, 0, 1, workers=1, device=torch.device("cuda"))
    medians = {way: statistics.median(found) for way, found in rates.items()}
    for way in ways:
        supply, demand = medians[way], medians["training"]
        print(f"loader, {way}: {supply:.0f} frames/s; training steps {demand:.0f}; ratio {supply / demand:.2f}")
    bytes_sent, numbers = (each.inputs.nbytes / options.batch_size for each in (sent, ready[0]))
    print(f"to a GPU {bytes_sent:,.0f} bytes a sample; as numbers {numbers:,.0f}; ratio {numbers / bytes_sent:.2f}")
    counted = waits(trainer, ready)
    print(f"{counted.calls.total()} waits for the device in {STEPS_UNREAD} steps: {dict(counted.calls)}")


if __name__ == "__main__":
    main()
