"""Training of the VQ-VAE: learns the codes of motion (T2M-GPT, section 3.1).

Published: the losses, the codebook's moving averages with reset, AdamW with its betas, warm-up, and the schedule.
Ours: windows are mirrored and played faster or slower; some begin with a held pose or have turned limbs, because
PoseSyn encodes one repeated pose (MR_init of Eq. 4) with an estimator's errors in it, which no recording contains.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posesyn_core.seeds import rng, seed_of
from posesyn_t2mgpt import augmentation as augment
from posesyn_t2mgpt.config import VqOptions
from posesyn_t2mgpt.generator import POSE_FRAMES
from posesyn_t2mgpt.loop import Log, Measures, train
from posesyn_t2mgpt.motions import MotionSet
from posesyn_t2mgpt.representation import features_from_joints, joints_from_features
from posesyn_t2mgpt.statistics import Statistics, measure
from posesyn_t2mgpt.vqvae import FRAMES_PER_CODE, MotionVqVae, VqVaeShape, vqvae_loss
from posesyn_t2mgpt.weights import load_weights, save_weights

MEASURED_MOTIONS, VALIDATED_MOTIONS = 1024, 256
"""At most as many motions are looked at for the statistics, and in a validation."""

AT_ONCE = 64
LARGEST_TURN = 20.0
"""Degrees: the most by which limbs are turned."""


def train_vq(training: MotionSet, validation: MotionSet, target: Path, options: VqOptions, log: Log = print) -> None:
    """Learn a VQ-VAE (and measure statistics) from ``training`` and write them to ``target`` (safetensors).

    ``log`` gets a line with the measures of :func:`reconstruction` at every validation; see
    :mod:`posesyn_t2mgpt.loop` for what else is written.
    """
    model, statistics = _start(training, options)
    model.to(options.device)
    model.quantizer.decay, model.quantizer.reset_below = options.decay, options.reset_below
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.0)

    def step(number: int) -> Tensor:
        windows = draw_windows(training, options, rng(options.seed, str(number), "train-vq"))
        features = statistics.normalize(windows.to(options.device))
        if number < options.unquantized:
            decoded = model.decode_latents(model.latents(features))
            return vqvae_loss(decoded, features, commit=features.new_zeros(()))["loss"]
        output = model(features)
        return vqvae_loss(output.features, features, output.commit)["loss"]

    train(model, optimizer, step, lambda: reconstruction(model, statistics, validation), target, options, log)
    save_weights(target, statistics, model)


def _start(training: MotionSet, options: VqOptions) -> tuple[MotionVqVae, Statistics]:
    """A random network with measured statistics, or both from ``options.initial``; ``options.statistics`` wins."""
    torch.manual_seed(seed_of(options.seed, "initial", "train-vq"))
    given = load_weights(options.statistics).statistics() if options.statistics else None
    if not options.initial:
        model = MotionVqVae(VqVaeShape(options.width, options.codes, options.code_dim))
        return model, given or measure(_rows(training))
    weights = load_weights(options.initial)
    model = weights.vqvae()
    model.quantizer.keep()
    return model, given or weights.statistics()


def _rows(motions: MotionSet) -> Tensor:
    """Features (N, 263) of motions as they are and mirrored, to measure statistics of."""
    rows = []
    for which in augment.spread(motions, MEASURED_MOTIONS).split(AT_ONCE):
        lengths = motions.lengths[which]
        joints = augment.beginnings(motions, which, int(lengths.max()))
        both = torch.cat([joints, augment.mirror(joints, torch.ones(len(which), dtype=torch.bool))])
        real = torch.arange(joints.shape[1] - 1) < lengths.repeat(2)[:, None] - 1
        rows.append(features_from_joints(both, lengths.repeat(2), continuous_heading=True)[real])
    return torch.cat(rows)


def draw_windows(motions: MotionSet, options: VqOptions, draw: np.random.Generator) -> Tensor:
    """Features (batch, window, 263) of random windows: mirrored, faster or slower, some beginning with a held pose,
    some with turned limbs."""
    count, frames = options.batch, options.window + 1
    which = torch.from_numpy(draw.integers(len(motions), size=count))
    speed, mirrored = augment.draw_speed(draw, count), torch.from_numpy(draw.random(count) < 0.5)
    room = (motions.lengths[which] - speed * frames).clamp(min=0)
    held = torch.from_numpy(draw.random(count) < options.held)
    first = torch.where(held, motions.lengths[which] - 1, room).float() * torch.from_numpy(draw.random(count)).float()
    hold = torch.where(held, torch.from_numpy(draw.integers(8, frames, size=count)), 0)
    joints = augment.mirror(augment.cut(motions, which, first, speed, hold, frames), mirrored)
    degrees = LARGEST_TURN * draw.random(count) * (draw.random(count) < options.disturbed)
    joints = augment.disturb(joints, torch.from_numpy(degrees).float(), draw)
    return features_from_joints(joints, continuous_heading=True)


def reconstruction(model: MotionVqVae, statistics: Statistics, motions: MotionSet) -> Measures:
    """Reconstruction error of whole motions and of held poses (mm), and how much of the codebook the motions use.

    Errors are means over joints and frames of the distance, relative to the pelvis and heading of the frame.
    """
    moving, still, used = [], [], []
    for which in augment.spread(motions, VALIDATED_MOTIONS).split(AT_ONCE):
        lengths = motions.lengths[which]
        zero = torch.zeros(len(which))
        error, codes = _errors(model, statistics, augment.beginnings(motions, which, int(lengths.max())), lengths)
        moving.append(error)
        used.append(codes)
        middle = augment.cut(motions, which, lengths / 2, zero, zero, POSE_FRAMES)
        still.append(_errors(model, statistics, middle, torch.full_like(lengths, POSE_FRAMES))[0])
    share = torch.bincount(torch.cat(used), minlength=model.shape.codes) / sum(len(part) for part in used)
    return {
        "motions_mm": 1000 * float(torch.cat(moving).mean()),
        "held_poses_mm": 1000 * float(torch.cat(still).mean()),
        "codes_in_use": int((share > 0).sum()),
        "perplexity": float(torch.exp(-(share * torch.log(share + 1e-7)).sum())),
    }


@torch.inference_mode()
def _errors(model: MotionVqVae, statistics: Statistics, joints: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Mean joint error in metres of every real frame (N,) of auto-encoding (B, T, 22, 3), and the codes used."""
    features = features_from_joints(joints, lengths, continuous_heading=True)
    counts = (lengths - 1) // FRAMES_PER_CODE
    device = model.quantizer.codebook.device
    codes = model.encode(statistics.normalize(features).to(device), (lengths - 1).to(device))
    decoded = statistics.denormalize(model.decode(codes, counts.to(device)).cpu())
    rows = decoded.shape[1]
    error = (_local(decoded) - _local(features[:, :rows])).norm(dim=-1).mean(-1)
    real = torch.arange(rows) < counts[:, None] * FRAMES_PER_CODE
    return error[real], codes.cpu()[torch.arange(codes.shape[1]) < counts[:, None]]


def _local(features: Tensor) -> Tensor:
    """Joints (B, N, 21, 3) in the heading frame, relative to the pelvis."""
    still = torch.cat([torch.zeros_like(features[..., :3]), features[..., 3:]], dim=-1)
    joints = joints_from_features(still)
    return joints[:, :, 1:] - joints[:, :, :1]
