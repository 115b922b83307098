"""Claim: training is never kept waiting for its data: the loader supplies at least 1.5 times what a step consumes.

Draws people of the rendered world (kept on disk as JPEGs, as photographs are), mixes two halves of them as real and
synthesised frames, and times in turns, on the same cores, the loader alone (read, decode, augment, crop, collate with
``--workers`` threads) and the estimator's training steps alone on batches that are ready. Prints both rates and their
ratio.

    python bench/training_input.py [--rounds 3] [--steps 30] [--estimator spin] [--set weights=random]
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from posesyn_core.components import Kind, TrainableEstimator
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.registry import Registry
from posesyn_core.training.finetune import Schedule, Trainer
from posesyn_core.training.loader import Mixture, batches
from posesyn_core.values import LabelledFrame, Sample
from posesyn_starter.config import WorldConfig
from posesyn_starter.world import WorldReader


def people(count: int, folder: str) -> list[LabelledFrame]:
    """Rendered people with all labels."""
    reader = WorldReader(WorldConfig(part="wild", split="bench", count=count, labels="3d", folder=folder))
    return [labelled_frame(entry) for entry in reader.samples() if isinstance(entry, Sample)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", default="starter")
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
    loaded, trained = [], []
    with tempfile.TemporaryDirectory() as folder:
        frames = people(options.frames, str(Path(folder)))
        half = len(frames) // 2
        mixture = Mixture(frames[:half], frames[half:], options.batch_size, ratio=0.5, seed=0)
        for number in range(options.rounds):
            first = number * options.steps
            start = time.perf_counter()
            ready = list(batches(estimator, mixture, first, first + options.steps, workers=options.workers))
            loaded.append(options.steps * options.batch_size / (time.perf_counter() - start))
            start = time.perf_counter()
            for batch in itertools.islice(ready, options.steps):
                trainer.step([batch])
            trained.append(options.steps * options.batch_size / (time.perf_counter() - start))
    supply, demand = statistics.median(loaded), statistics.median(trained)
    print(f"loader {supply:.0f} frames/s, training steps {demand:.0f} frames/s, ratio {supply / demand:.2f}")


if __name__ == "__main__":
    main()
