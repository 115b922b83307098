"""Training of both networks, as published, with the augmentation that PoseSyn's prefixes need.

Two steps: :func:`train_vq` learns the codes, :func:`train_transformer` the sequences of them. Each writes its weights
to one safetensors file, and every ``validate_every`` steps a checkpoint beside it, from which the same command goes on
after an interruption. Every draw is seeded from (seed, step), so an interrupted training ends as an undisturbed one.

Published (T2M-GPT, section 3): the losses, the codebook's moving averages with reset, random corruption of the
transformer's input, AdamW with its betas, warm-up, and a learning rate that drops to 0.05 of itself at two thirds.
Ours: sequences that begin with a held pose. PoseSyn asks the transformer to go on from the codes of one repeated pose
(S_MR of Eq. 4) with an estimator's errors in it, which no recorded motion contains. So a part of the sequences begins
with the first pose of a piece of motion, held as long as S_MR, and the transformer reads the codes of the same pose
with disturbed limbs in their place.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.errors import UserError
from posesyn_core.files import atomic_path
from posesyn_core.progress import progress
from posesyn_core.seeds import rng, seed_of
from posesyn_t2mgpt import motions as augment
from posesyn_t2mgpt.config import TransformerOptions, VqOptions
from posesyn_t2mgpt.generator import POSE_CODES, POSE_FRAMES
from posesyn_t2mgpt.motions import MotionSet
from posesyn_t2mgpt.representation import features_from_joints, joints_from_features
from posesyn_t2mgpt.statistics import Statistics, measure
from posesyn_t2mgpt.text import TextEncoder
from posesyn_t2mgpt.transformer import T2MTransformer, TransformerShape, corrupt, transformer_loss
from posesyn_t2mgpt.vqvae import FRAMES_PER_CODE, MotionVqVae, VqVaeShape, vqvae_loss
from posesyn_t2mgpt.weights import load_weights, save_weights

LATE_RATE, LATE_FROM = 0.05, 2 / 3
SPEEDS = (0.8, 1.25)
LONGEST, SHORTEST = 196, 16
"""Frames of the longest sequence (HumanML3D's 10 s less one code), and of motion left after a random first frame."""

WHOLE = 0.7
"""Share of the sequences without held pose that begin with the motion's own first frame."""

ENCODED_AT_ONCE = 64
VALIDATION_SEQUENCES = 256


def train_vq(
    training: MotionSet, validation: MotionSet, target: Path, options: VqOptions, log: Callable[[str], None] = print
) -> None:
    """Learn statistics and VQ-VAE from ``training`` and write them to ``target`` (safetensors).

    ``log`` gets a line with the measures of :func:`reconstruction` at every validation.
    """
    statistics = measure(_real_rows(training))
    torch.manual_seed(seed_of(options.seed, "initial", "train-vq"))
    model = MotionVqVae(VqVaeShape(options.width, options.codes, options.code_dim))
    model.quantizer.decay, model.quantizer.reset_below = options.decay, options.reset_below
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.0)

    def step(number: int) -> Tensor:
        batch = _windows(training, options, rng(options.seed, str(number), "train-vq"))
        features = statistics.normalize(batch)
        if number < options.unquantized:
            decoded = model.decode_latents(model.latents(features))
            return vqvae_loss(decoded, features, commit=decoded.new_zeros(()))["loss"]
        output = model(features)
        return vqvae_loss(output.features, features, output.commit)["loss"]

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


@frozen(eq=False)
class Sequences:
    """Training data of the transformer: ``tokens`` (N, places) of codes, End and Pad, ``counts`` (N, places) true
    where a token is learnt, ``texts`` (N, 512)."""

    tokens: Tensor
    counts: Tensor
    texts: Tensor


def train_transformer(
    training: MotionSet,
    validation: MotionSet,
    vqvae: Path,
    target: Path,
    options: TransformerOptions,
    text: TextEncoder,
    text_name: str,
    log: Callable[[str], None] = print,
) -> None:
    """Learn a transformer for the codes of ``vqvae`` (safetensors of :func:`train_vq`); write both to ``target``.

    ``log`` gets a line at every validation: the loss and the share of codes foreseen, on ``validation``.
    """
    weights = load_weights(str(vqvae))
    model_vq, statistics = weights.vqvae(), weights.statistics()
    shape = TransformerShape(model_vq.shape.codes, options.dim, options.layers, options.heads)
    encode = partial(_sequences, vqvae=model_vq, statistics=statistics, text=text, shape=shape, options=options)
    pool = encode(training, rng(options.seed, "pool", "train-transformer"), options.pool)
    unseen = encode(validation, rng(options.seed, "validation", "train-transformer"), VALIDATION_SEQUENCES)
    torch.manual_seed(seed_of(options.seed, "initial", "train-transformer"))
    model = T2MTransformer(shape)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.5, 0.9), weight_decay=1e-6)

    def step(number: int) -> Tensor:
        return _transformer_step(model, pool, options, rng(options.seed, str(number), "train-transformer"))

    _train(model, optimizer, step, lambda: foresight(model, unseen), target, options, log)
    save_weights(target, statistics, model_vq, model, text_name)


def _transformer_step(
    model: T2MTransformer, pool: Sequences, options: TransformerOptions, draw: np.random.Generator
) -> Tensor:
    """The loss of one random batch, its input codes corrupted and some of its texts left out."""
    chosen = torch.from_numpy(draw.integers(len(pool.tokens), size=options.batch))
    tokens, counts = pool.tokens[chosen], pool.counts[chosen]
    texts = pool.texts[chosen] * torch.from_numpy(draw.random((options.batch, 1)) >= options.wordless)
    keep = torch.from_numpy(draw.random(tokens[:, :-1].shape) < options.keep)
    random = torch.from_numpy(draw.integers(model.shape.codes, size=keep.shape))
    return transformer_loss(model(texts, corrupt(tokens[:, :-1], keep, random)), tokens, counts)


def _sequences(
    motions: MotionSet,
    draw: np.random.Generator,
    count: int,
    *,
    vqvae: MotionVqVae,
    statistics: Statistics,
    text: TextEncoder,
    shape: TransformerShape,
    options: TransformerOptions,
) -> Sequences:
    """Draw and encode ``count`` pieces of motion."""
    parts = [
        _encoded(motions, draw, min(ENCODED_AT_ONCE, count - start), vqvae, statistics, text, shape, options)
        for start in range(0, count, ENCODED_AT_ONCE)
    ]
    return Sequences(*(torch.cat([getattr(part, name) for part in parts]) for name in ("tokens", "counts", "texts")))


@torch.inference_mode()
def _encoded(
    motions: MotionSet,
    draw: np.random.Generator,
    count: int,
    vqvae: MotionVqVae,
    statistics: Statistics,
    text: TextEncoder,
    shape: TransformerShape,
    options: TransformerOptions,
) -> Sequences:
    """Pieces from a random frame on (mostly the first, if nothing is held before it), mirrored, faster or slower."""
    which = torch.from_numpy(draw.integers(len(motions), size=count))
    prefixed = torch.from_numpy(draw.random(count) < options.prefixed)
    whole = torch.from_numpy(draw.random(count) < WHOLE) & ~prefixed
    speed, mirrored = _draw_speed(draw, count), torch.from_numpy(draw.random(count) < 0.5)
    room = (motions.lengths[which] - SHORTEST).clamp(min=0)
    first = torch.floor(torch.from_numpy(draw.random(count)).float() * torch.where(whole, 0, room))
    hold = prefixed * POSE_CODES * FRAMES_PER_CODE
    frames = (hold + 1 + ((motions.lengths[which] - 1 - first) / speed).long()).clamp(max=LONGEST + 1)
    joints = augment.mirror(augment.cut(motions, which, first, speed, hold, int(frames.max())), mirrored)
    codes = _codes(vqvae, statistics, joints, frames)
    degrees = torch.from_numpy(draw.random(count)).float() * options.disturbance
    poses = augment.disturb(joints[:, :1], degrees, draw).expand(-1, POSE_FRAMES, -1, -1)
    prefixes = _codes(vqvae, statistics, poses, torch.full((count,), POSE_FRAMES))
    codes[:, :POSE_CODES] = torch.where(prefixed[:, None], prefixes, codes[:, :POSE_CODES])
    tokens, counts = _targets(codes, (frames - 1) // FRAMES_PER_CODE, shape)
    counts[:, :POSE_CODES] &= ~prefixed[:, None]
    return Sequences(tokens, counts, text.encode(_captions(motions, which, mirrored, draw)))


def _codes(vqvae: MotionVqVae, statistics: Statistics, joints: Tensor, frames: Tensor) -> Tensor:
    features = features_from_joints(joints, frames, continuous_heading=True)
    return vqvae.encode(statistics.normalize(features), frames - 1)


def _targets(codes: Tensor, lengths: Tensor, shape: TransformerShape) -> tuple[Tensor, Tensor]:
    """Tokens (B, places): codes, one End, Pads; and where codes and End stand."""
    at, length = torch.arange(shape.places), lengths[:, None]
    padded = nn.functional.pad(codes, (0, shape.places - codes.shape[1]))
    return torch.where(at < length, padded, torch.where(at == length, shape.end, shape.pad)), at <= length


def _captions(motions: MotionSet, which: Tensor, mirrored: Tensor, draw: np.random.Generator) -> list[str]:
    """One description of each motion, drawn at random, with left and right exchanged where it is mirrored."""
    drawn = [str(draw.choice(motions.texts[index])) for index in which.tolist()]
    return [augment.mirror_text(one) if other else one for one, other in zip(drawn, mirrored.tolist(), strict=True)]


@torch.inference_mode()
def foresight(model: T2MTransformer, sequences: Sequences) -> str:
    """One line: loss on sequences with clean input, and how often the next code is the likeliest one."""
    model.eval()
    logits = model(sequences.texts, sequences.tokens[:, :-1])
    hits = (logits.argmax(-1) == sequences.tokens)[sequences.counts].float().mean()
    loss = transformer_loss(logits, sequences.tokens, sequences.counts)
    return f"validation loss {float(loss):.4f}, codes foreseen {100 * float(hits):.1f} %"


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
            torch.manual_seed(seed_of(options.seed, str(number), "torch"))
            for group in optimizer.param_groups:
                group["lr"] = _rate(number, options)
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


def _rate(step: int, options: Any) -> float:
    """Learning rate of a step: linear warm-up, then by ``options.schedule``."""
    done = step / options.steps
    falls = {"step": LATE_RATE if done >= LATE_FROM else 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    if options.schedule not in falls:
        raise UserError(f"schedule {options.schedule!r} is none of {', '.join(falls)}")
    return options.rate * falls[options.schedule] * min(1.0, (step + 1) / max(options.warmup, 1))


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
        raise UserError(
            f"{str(path)!r} was written with other options; use them again, or delete the file to start anew"
        )
    with torch.no_grad():
        for name, tensor in _tensors(model).items():
            tensor.copy_(content["tensors"][name])
    optimizer.load_state_dict(content["optimizer"])
    return int(content["step"])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
