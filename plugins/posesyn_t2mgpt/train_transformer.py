"""Training of the transformer: learns which code follows, given a text and the codes so far (T2M-GPT, section 3.2).

Published: the loss, random corruption of the input, AdamW with its betas, and the schedule. Ours: PoseSyn asks the
transformer to go on from the codes of one repeated pose (S_MR of Eq. 4) with an estimator's errors in it, which no
recorded motion contains. So a part of the sequences begins with the first pose of a piece of motion, held as long as
S_MR, and the transformer reads the codes of the same pose with disturbed limbs in their place. And a part is shown
without its text, for guidance by the pose alone.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.errors import UserError
from posesyn_core.seeds import rng, seed_of
from posesyn_t2mgpt import augmentation as augment
from posesyn_t2mgpt.config import TransformerOptions
from posesyn_t2mgpt.generator import POSE_CODES, POSE_FRAMES
from posesyn_t2mgpt.loop import Log, Measures, train
from posesyn_t2mgpt.motions import MotionSet
from posesyn_t2mgpt.representation import features_from_joints
from posesyn_t2mgpt.statistics import Statistics
from posesyn_t2mgpt.text import TextEncoder
from posesyn_t2mgpt.transformer import T2MTransformer, TransformerShape, corrupt, transformer_loss
from posesyn_t2mgpt.vqvae import FRAMES_PER_CODE, MotionVqVae
from posesyn_t2mgpt.weights import load_weights, save_weights

LONGEST, SHORTEST = 196, 16
"""Frames of the longest sequence (HumanML3D's 10 s less one code), and of motion left after a random first frame."""

WHOLE = 0.7
"""Share of the sequences without held pose that begin with the motion's own first frame."""

LENGTH_GROUPS = 4
"""A batch is computed in as many parts, sequences of like length together, each part as long as its longest."""

ENCODED_AT_ONCE = 64
VALIDATION_SEQUENCES = 256


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
    log: Log = print,
) -> None:
    """Learn a transformer for the codes of ``vqvae`` (safetensors of ``train-vq``); write both to ``target``.

    ``log`` gets a line at every validation: the loss and the share of codes foreseen, on ``validation``; see
    :mod:`posesyn_t2mgpt.loop` for what else is written.
    """
    weights = load_weights(str(vqvae))
    model_vq, statistics = weights.vqvae(), weights.statistics()
    model = _start(model_vq.shape.codes, options).to(options.device)
    encode = partial(
        draw_sequences,
        vqvae=model_vq.to(options.device),
        statistics=statistics,
        text=text,
        shape=model.shape,
        options=options,
    )
    pool = encode(training, rng(options.seed, "pool", "train-transformer"), options.pool)
    unseen = encode(validation, rng(options.seed, "validation", "train-transformer"), VALIDATION_SEQUENCES)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.5, 0.9), weight_decay=1e-6)

    def step(number: int) -> Tensor:
        return batch_loss(model, pool, options, rng(options.seed, str(number), "train-transformer"))

    train(model, optimizer, step, lambda: foresight(model, unseen), target, options, log)
    save_weights(target, statistics, model_vq, model, text_name)


def _start(codes: int, options: TransformerOptions) -> T2MTransformer:
    """A random network for so many codes, or that of ``options.initial``. UserError if it does not fit."""
    if options.initial:
        weights = load_weights(options.initial)
        model = weights.transformer()
        if model.shape.codes != codes:
            raise UserError(f"the transformer of {weights.source} is for {model.shape.codes} codes, not {codes}")
        return model
    if options.dim % options.heads:
        raise UserError(f"{options.heads} heads don't divide {options.dim} channels; set --heads")
    torch.manual_seed(seed_of(options.seed, "initial", "train-transformer"))
    return T2MTransformer(TransformerShape(codes, options.dim, options.layers, options.heads))


def batch_loss(
    model: T2MTransformer, pool: Sequences, options: TransformerOptions, draw: np.random.Generator
) -> Tensor:
    """The loss of one random batch, its input codes corrupted and some of its texts left out."""
    chosen = torch.from_numpy(draw.integers(len(pool.tokens), size=options.batch))
    tokens, counts = pool.tokens[chosen], pool.counts[chosen]
    texts = pool.texts[chosen] * torch.from_numpy(draw.random((options.batch, 1)) >= options.wordless)
    keep = torch.from_numpy(draw.random(tokens[:, :-1].shape) < options.keep)
    random = torch.from_numpy(draw.integers(model.shape.codes, size=keep.shape))
    inputs = corrupt(tokens[:, :-1], keep, random)
    losses = []
    for group in counts.sum(1).argsort().chunk(LENGTH_GROUPS):  # Pads at the end change nothing: they are not read
        length = int(counts[group].any(0).nonzero().max()) + 1
        parts = (texts[group], inputs[group, : length - 1], tokens[group, :length], counts[group, :length])
        text, read, target, counted = (part.to(options.device) for part in parts)
        losses.append(transformer_loss(model(text, read), target, counted) * len(group) / options.batch)
    return torch.stack(losses).sum()


def draw_sequences(
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
    speed, mirrored = augment.draw_speed(draw, count), torch.from_numpy(draw.random(count) < 0.5)
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
    device = vqvae.quantizer.codebook.device
    features = statistics.normalize(features_from_joints(joints, frames, continuous_heading=True))
    return vqvae.encode(features.to(device), (frames - 1).to(device)).cpu()


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
def foresight(model: T2MTransformer, sequences: Sequences) -> Measures:
    """Loss on sequences with clean input, and how often (%) the next code is the likeliest one."""
    device = model.trans_base.tok_emb.weight.device
    tokens, counts, texts = (part.to(device) for part in (sequences.tokens, sequences.counts, sequences.texts))
    logits = model(texts, tokens[:, :-1])
    hits = (logits.argmax(-1) == tokens)[counts].float().mean()
    return {
        "validation_loss": float(transformer_loss(logits, tokens, counts)),
        "codes_foreseen_percent": 100 * float(hits),
    }
