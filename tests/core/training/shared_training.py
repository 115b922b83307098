"""Trains a little, in as many processes as it is started in: ``shared_training.py FOLDER ACCUMULATE MODE``."""

import sys
from pathlib import Path

import torch

from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.training.finetune import FinetuneResult, Validation, finetune
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin
from tests.tiny import people


def train(folder: Path, accumulate: int, mode: str = "frozen") -> FinetuneResult:
    """Three steps, with a validation after the second whose value falls, so that its weights are kept."""
    torch.manual_seed(0)
    estimator = Spin(SpinConfig(weights="random"))
    frames = [labelled_frame(sample) for sample in people(8, "lab")]
    values = iter((2.0, 1.0))
    return finetune(
        estimator, frames[:4], frames[4:], folder, steps=3, batch_size=2, ratio=0.5, learning_rate=1e-3, seed=5,
        workers=1, accumulate=accumulate, validation=Validation(lambda: next(values), every=2), save_every=1, mode=mode,
    )  # fmt: skip


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
