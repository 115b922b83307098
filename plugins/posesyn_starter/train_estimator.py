"""Train the starter weights of the estimator ``spin`` on rendered people in ordinary poses.

::

    python -m posesyn_starter.train_estimator --motions MOTIONS/train.npz --held-out MOTIONS/val.npz \\
        --work runs/starter --out plugins/posesyn_spin/weights/starter.safetensors

Poses are those of the motions' ``lab`` clips alone, so that what people do in ``wild`` clips stays new to it. Half of
the pictures are the world's laboratory, half its wild places and cameras: what shall remain difficult is the pose.
An interrupted training goes on when it is started again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from posesyn_core.components import Kind, TrainableEstimator
from posesyn_core.files.paths import atomic_path
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_six_d
from posesyn_core.registry import Registry
from posesyn_core.training.evaluate import evaluate
from posesyn_core.training.finetune import finetune
from posesyn_core.values import LabelledFrame, Sample
from posesyn_starter.config import WorldConfig
from posesyn_starter.guidance import Guided
from posesyn_starter.world import WorldReader

HELD_OUT = 384
OPTIONS = {
    "weights": "random",
    "dropout": 0.0,
    "beta_loss_weight": 0.02,
    "scale_factor": 0.15,
    "noise_factor": 0.3,
    "shift_factor": 0.03,
    "occlusion": 0.15,
}
"""A small network trained for a short time needs no dropout, shape from the first step on, and milder augmentation
than the published one. Boxes are never exact, and people are partly hidden: crops are shifted and covered, which the
official augmentation does not do."""
GROUPS = ("layer2", "layer3", "layer4")
"""Whose feature maps also learn where the joints are (see ``posesyn_starter.guidance``)."""


@click.command()
@click.option("--motions", required=True, type=click.Path(path_type=Path, exists=True), help="npz to train on")
@click.option("--held-out", type=click.Path(path_type=Path, exists=True), help="npz to report errors on")
@click.option("--work", required=True, type=click.Path(path_type=Path), help="folder of pictures and checkpoints")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="the .safetensors file to write")
@click.option("--images", default=9000, show_default=True, help="pictures of either kind to render")
@click.option("--steps", default=14000, show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--learning-rate", default=1.5e-3, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=2, show_default=True)
def main(
    motions: Path,
    held_out: Path | None,
    work: Path,
    out: Path,
    images: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    workers: int,
) -> None:
    """Train the starter weights of the estimator ``spin``."""
    registry = Registry.discover()
    torch.manual_seed(seed)
    estimator: TrainableEstimator = registry.create(Kind.ESTIMATOR, "spin", OPTIONS, "train_estimator")
    pictures = [world(part, "train", motions, "lab", images, work, workers) for part in ("lab", "wild")]
    frames = [labelled_frame(sample) for samples in pictures for sample in samples]
    start_from_mean(estimator, frames)
    trained = finetune(
        Guided(estimator, GROUPS),
        frames,
        [],
        work / "training",
        steps=steps,
        batch_size=batch_size,
        ratio=0.0,
        learning_rate=learning_rate,
        seed=seed,
        workers=workers,
        label="train",
        weight_decay=0.01,
        mode="train",
    )
    store_half(trained.weights, out)
    if held_out is not None:
        for part in ("lab", "wild"):
            samples = world(part, "held", held_out, part, HELD_OUT, work, workers)
            print(part, evaluate(estimator, samples, batch_size=32, workers=workers).summary())


def world(part: str, split: str, motions: Path, domain: str, count: int, work: Path, workers: int) -> list[Sample]:
    """Rendered people of the world's ``part`` in poses of the motions of ``domain``."""
    options: Mapping[str, Any] = {"part": part, "domain": domain, "split": split, "count": count}
    config = WorldConfig(motions=str(motions), folder=str(work / "world"), workers=workers, **options)
    return [entry for entry in WorldReader(config).samples() if isinstance(entry, Sample)]


def start_from_mean(estimator: TrainableEstimator, frames: list[LabelledFrame]) -> None:
    """Let the regressor's iteration start from the mean body pose of the training data, facing the camera upright.

    SPIN starts from the mean of its motion-capture data. Rotation matrices are averaged; Gram-Schmidt makes a rotation
    of the mean again.
    """
    poses = np.stack([frame.smpl.body_pose for frame in frames if frame.smpl is not None])
    mean = axis_angle_to_matrix(torch.from_numpy(poses)).mean(0)
    state = estimator.network.state_dict()
    state["init_pose"][0, 6:] = matrix_to_six_d(mean, "interleaved").flatten()


def store_half(weights: Path, out: Path) -> None:
    """Write the weights in half precision, with what the file says of itself."""
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    state = {name: value.half() if value.is_floating_point() else value for name, value in load_file(weights).items()}
    with atomic_path(out) as temporary:
        save_file(state, temporary, metadata=metadata)


if __name__ == "__main__":
    main()
