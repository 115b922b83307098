"""Training of both networks, as published, with the augmentation that PoseSyn's prefixes need.

Two steps: :func:`train_vq` learns the codes, :func:`train_transformer` the sequences of them. Each writes its weights to
one safetensors file, and every ``validate_every`` steps a checkpoint beside it, from which the same command goes on
after an interruption. Every draw is seeded from (seed, step), so an interrupted training ends as an undisturbed one.

Published (T2M-GPT, section 3): the losses, the codebook's moving averages with reset, random corruption of the
transformer's input, AdamW with its betas, warm-up, and a learning rate that drops to 0.05 of itself at two thirds.
Ours: sequences that begin with a held pose. PoseSyn asks the transformer to go on from the codes of one repeated pose
(S_MR of Eq. 4) with an estimator's errors in it, which no recorded motion contains. So a part of the sequences begins
with the first pose of a piece of motion, held as long as S_MR, and the transformer reads the codes of the same pose with
disturbed limbs in their place.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.components import option
from posesyn_core.errors import UserError
from posesyn_core.files import atomic_path
from posesyn_core.progress import progress
from posesyn_core.seeds import rng, seed_of
from posesyn_t2mgpt import motions as augment
from posesyn_t2mgpt.motions import MotionSet
from posesyn_t2mgpt.representation import features_from_joints, joints_from_features
from posesyn_t2mgpt.statistics import Statistics, measure
from posesyn_t2mgpt.vqvae import FRAMES_PER_CODE, MotionVqVae, VqVaeShape, vqvae_loss
from posesyn_t2mgpt.weights import save_weights

LATE_RATE, LATE_FROM = 0.05, 2 / 3
SPEEDS = (0.8, 1.25)
LONGEST = 196
"""Frames of the longest training sequence, as in HumanML3D (10 s less one code)."""


@frozen
class VqOptions:
    """How to train a VQ-VAE; sizes and loss weights not named here are the published ones."""

    steps: int = option(300_000, "training steps")
    batch: int = option(256, "windows per step")
    window: int = option(64, "frames per window")
    rate: float = option(2e-4, "learning rate after the warm-up")
    warmup: int = option(1000, "steps of linear warm-up")
    width: int = option(512, "channels of the convolutions")
    codes: int = option(512, "codes in the codebook")
    code_dim: int = option(512, "numbers per code")
    held: float = option(0.3, "share of windows that begin with a held pose")
    disturbed: float = option(0.5, "share of windows whose limbs are turned at random (up to 20 degrees)")
    seed: int = option(0, "seed of all draws")
    validate_every: int = option(500, "steps between validations and checkpoints")


def train_vq(
    training: MotionSet, validation: MotionSet, target: Path, options: VqOptions, log: Callable[[str], None] = print
) -> None:
    """Learn statistics and VQ-VAE from ``training`` and write them to ``target`` (safetensors).

    ``log`` gets a line with the measures of :func:`reconstruction` at every validation.
    """
    statistics = measure(_real_rows(training))
    torch.manual_seed(seed_of(options.seed, "initial", "train-vq"))
    model = MotionVqVae(VqVaeShape(options.width, options.codes, options.code_dim))
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.0)

    def step(number: int) -> Tensor:
        batch = _windows(training, options, rng(options.seed, str(number), "train-vq"))
        features = statistics.normalize(batch)
        return vqvae_loss(model(features), features)["loss"]

    def validate() -> str:
        return reconstruction(model, statistics, validation)

    _train(model, optimizer, step, validate, target, options, log)
    save_weights(target, statistics, model)


def _real_rows(motions: MotionSet) -> Tensor:
    """Features (N, 263) of all motions as they are and mirrored, to measure statistics of."""
    which = torch.arange(len(motions))
    joints = _pieces(motions, which, frames=int(motions.lengths.max()))
    rows = [
        features_from_joints(side, motions.lengths, continuous_heading=True)
        for side in (joints, augment.mirror(joints, torch.ones(len(motions), dtype=torch.bool)))
    ]
    real = torch.arange(joints.shape[1] - 1) < motions.lengths[:, None] - 1
    return torch.cat([row[real] for row in rows])


def _pieces(motions: MotionSet, which: Tensor, frames: int) -> Tensor:
    """The beginnings (B, frames, 22, 3) of motions ``which``, unchanged, the last frame held."""
    zero = torch.zeros(len(which))
    return augment.cut(motions, which, zero, zero + 1, zero, frames)


def _windows(motions: MotionSet, options: VqOptions, draw: np.random.Generator) -> Tensor:
    """Features (batch, window, 263) of random windows: mirrored, faster or slower, some beginning with a held pose,
    some with turned limbs."""
    count, frames = options.batch, options.window + 1
    which = torch.from_numpy(draw.integers(len(motions), size=count))
    speed, mirrored = _draw_speed(draw, count), torch.from_numpy(draw.random(count) < 0.5)
    room = (motions.lengths[which] - speed * frames).clamp(min=0)
    held = torch.from_numpy(draw.random(count) < options.held)
    first = torch.where(held, motions.lengths[which] - 1, room).float() * torch.from_numpy(draw.random(count)).float()
    hold = torch.where(held, torch.from_numpy(draw.integers(8, frames, size=count)), 0)
    joints = augment.mirror(augment.cut(motions, which, first, speed, hold, frames), mirrored)
    degrees = 20 * draw.random(count) * (draw.random(count) < options.disturbed)
    joints = augment.disturb(joints, torch.from_numpy(degrees).float(), draw)
    return features_from_joints(joints, continuous_heading=True)


def _draw_speed(draw: np.random.Generator, count: int) -> Tensor:
    """Factors (count,) of playing speed, even on a logarithmic scale."""
    low, high = np.log(SPEEDS)
    return torch.from_numpy(np.exp(draw.uniform(low, high, size=count))).float()


def reconstruction(model: MotionVqVae, statistics: Statistics, motions: MotionSet) -> str:
    """One line: reconstruction error of whole motions and of held poses, and how much of the codebook they use.

    Errors are means over joints and frames of the distance in mm, relative to the pelvis and heading of the frame.
    """
    model.eval()
    frames = int(motions.lengths.max())
    everything = torch.arange(len(motions))
    whole = _pieces(motions, everything, frames)
    middle = augment.cut(motions, everything, motions.lengths / 2, torch.zeros(len(motions)), motions.lengths * 0, 31)
    moving, used = _error(model, statistics, whole, motions.lengths)
    still, _ = _error(model, statistics, middle, torch.full_like(motions.lengths, 31))
    share = torch.bincount(used, minlength=model.shape.codes) / len(used)
    perplexity = torch.exp(-(share * torch.log(share + 1e-7)).sum())
    return (
        f"motions {moving:.1f} mm, held poses {still:.1f} mm, "
        f"codes in use {int((share > 0).sum())}/{model.shape.codes}, perplexity {perplexity:.0f}"
    )


@torch.inference_mode()
def _error(model: MotionVqVae, statistics: Statistics, joints: Tensor, lengths: Tensor) -> tuple[float, Tensor]:
    """Mean joint error in mm of auto-encoding (B, T, 22, 3), and the codes used (N,)."""
    features = features_from_joints(joints, lengths, continuous_heading=True)
    counts = (lengths - 1) // FRAMES_PER_CODE
    codes = model.encode(statistics.normalize(features), lengths - 1)
    decoded = statistics.denormalize(model.decode(codes, counts))
    rows = decoded.shape[1]
    error = (_local(decoded) - _local(features[:, :rows])).norm(dim=-1).mean(-1)
    real = torch.arange(rows) < counts[:, None] * FRAMES_PER_CODE
    return 1000 * float(error[real].mean()), codes[torch.arange(codes.shape[1]) < counts[:, None]]


def _local(features: Tensor) -> Tensor:
    """Joints (B, N, 21, 3) in the heading frame, relative to the pelvis."""
    still = torch.cat([torch.zeros_like(features[..., :3]), features[..., 3:]], dim=-1)
    joints = joints_from_features(still)
    return joints[:, :, 1:] - joints[:, :, :1]


def _train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: Callable[[int], Tensor],
    validate: Callable[[], str],
    target: Path,
    options: Any,
    log: Callable[[str], None],
) -> None:
    """Run ``options.steps`` of ``step`` (its number -> loss), resuming from the checkpoint beside ``target``."""
    checkpoint = target.with_suffix(".checkpoint")
    done = _resume(checkpoint, model, optimizer, options)
    losses: list[float] = []
    with progress(target.stem, options.steps - done) as bar:
        for number in range(done, options.steps):
            torch.manual_seed(seed_of(options.seed, str(number), target.stem))
            for group in optimizer.param_groups:
                group["lr"] = options.rate * _schedule(number, options.warmup, options.steps)
            model.train()
            optimizer.zero_grad(set_to_none=True)
            loss = step(number)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            bar.advance()
            if (number + 1) % options.validate_every == 0 or number + 1 == options.steps:
                log(f"step {number + 1}: training loss {np.mean(losses):.4f}, {validate()}")
                losses.clear()
                _save(checkpoint, model, optimizer, number + 1, options)
    model.eval()


def _schedule(step: int, warmup: int, steps: int) -> float:
    """Published: linear warm-up, then constant, then a twentieth."""
    return min(1.0, (step + 1) / max(warmup, 1)) * (LATE_RATE if step >= LATE_FROM * steps else 1.0)


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, options: Any) -> None:
    """Write everything that resuming needs, also the buffers that official checkpoints leave out."""
    content = {
        "step": step,
        "options": repr(options),
        "tensors": {name: tensor.detach() for name, tensor in _tensors(model).items()},
        "optimizer": optimizer.state_dict(),
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, options: Any) -> int:
    """Take up the checkpoint at ``path``, if there is one; return the number of steps already done."""
    if not path.exists():
        return 0
    content = torch.load(path, weights_only=True)
    if content["options"] != repr(options):
        raise UserError(f"{str(path)!r} was written with other options; use them again, or delete the file to start anew")
    with torch.no_grad():
        for name, tensor in _tensors(model).items():
            tensor.copy_(content["tensors"][name])
    optimizer.load_state_dict(content["optimizer"])
    return int(content["step"])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
