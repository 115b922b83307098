"""Trains a little, in as many processes as it is started in: ``shared_training.py FOLDER ACCUMULATE MODE [WHAT]``.

WHAT: "spin", or an estimator whose network is divided between the processes, "hmr2" or "hybrik".
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from posesyn_core.components import TrainableEstimator
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.training.finetune import FinetuneResult, Validation, finetune
from posesyn_hmr2.config import Hmr2Config
from posesyn_hmr2.estimator import Hmr2
from posesyn_hybrik.config import HybrikConfig
from posesyn_hybrik.estimator import Hybrik
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin
from tests.tiny import people

ESTIMATORS: dict[str, Callable[[], TrainableEstimator]] = {
    "spin": lambda: Spin(SpinConfig(weights="random")),
    "hmr2": lambda: Hmr2(Hmr2Config(weights="random")),
    "hybrik": lambda: Hybrik(HybrikConfig(weights="random")),
}


SHARE = 0.25
"""That of the weights before the training in those that it leaves."""


def untrained(what: str) -> TrainableEstimator:
    """The estimator that is trained, the same in every process."""
    torch.manual_seed(0)
    return ESTIMATORS[what]()


def train(folder: Path, accumulate: int, mode: str = "frozen", what: str = "spin", steps: int = 3) -> FinetuneResult:
    """A few steps, with a validation after every second whose value falls, so that its weights are kept.

    What it measures, it measures with the network, in the first process alone.
    """
    estimator = untrained(what)
    frames = [labelled_frame(sample) for sample in people(8, "lab")]
    values = iter((2.0, 1.0))

    def measure() -> float:
        if what == "hmr2":
            with torch.inference_mode():
                estimator.network(torch.zeros(1, 3, 256, 256))
        return next(values)

    return finetune(
        estimator, frames[:4], frames[4:], folder, steps=steps, batch_size=2, ratio=0.5, learning_rate=1e-3, seed=5,
        workers=1, accumulate=accumulate, validation=Validation(measure, every=2), save_every=1, mode=mode,
        sharded=what != "spin", start_share=SHARE,
    )  # fmt: skip


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5])
