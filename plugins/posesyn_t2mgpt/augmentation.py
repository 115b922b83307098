"""Pieces of motion for training, drawn from a :class:`~posesyn_t2mgpt.motions.MotionSet` in whole batches."""

import math
import re

import numpy as np
import roma
import torch
from torch import Tensor

from posesyn_core.geometry.skeletons import joint_set
from posesyn_t2mgpt.motions import MotionSet
from posesyn_t2mgpt.representation import JOINTS, PARENTS, sum_of_bones

LIMBS = (4, 5, 7, 8, 18, 19, 20, 21)
"""The joints at the ends of thighs, shins, upper arms and forearms, which :func:`disturb` turns."""

SPEEDS = (0.8, 1.25)

_OTHER = {"left": "right", "right": "left", "clockwise": "counterclockwise", "cw": "ccw", "ccw": "cw"}
_SIDES = re.compile(
    r"\b(?:(?:counter|anti)[\s-]*)?clockwise\b|\bc?cw\b"
    r"|(?:\b|(?<=front)|(?<=back)|(?<=side))"
    r"(?:left|(?<!\ball )right(?! +(?:angle|away|now|then|side +up)))"
    r"(?=(?:s|y|ies|wards?|most|hand(?:ed(?:ly)?|er)?|foot(?:ed)?|leg(?:ged)?|arm|side[ds]?)?\b)",
    re.IGNORECASE,
)
"""Words of a side, with what may follow them without a space."""


def cut(motions: MotionSet, which: Tensor, first: Tensor, speed: Tensor, hold: Tensor, frames: int) -> Tensor:
    """Joints (B, frames, 22, 3): ``hold`` (B,) times frame ``first`` (B,) of motions ``which`` (B,), then the motion
    from there at ``speed`` (B,), its last frame held to the end."""
    at = first[:, None] + speed[:, None] * (torch.arange(frames) - hold[:, None]).clamp(min=0)
    last = (motions.lengths[which] - 1)[:, None]
    at = torch.minimum(at, last.to(at))
    before = at.floor().long()
    share = (at - before)[..., None, None].float()
    start = motions.starts[which][:, None]
    after = torch.minimum(before + 1, last)
    return motions.joints[start + before] * (1 - share) + motions.joints[start + after] * share


def mirror(joints: Tensor, which: Tensor) -> Tensor:
    """Mirror those motions of (B, T, 22, 3) where ``which`` (B,) is true: left becomes right."""
    flipped = joints[:, :, joint_set("humanml22").flip.copy()] * joints.new_tensor([-1, 1, 1])
    return torch.where(which[:, None, None, None], flipped, joints)


def mirror_text(text: str) -> str:
    """A caption of the mirrored motion: left and right exchanged, also within words and in capitals, and so is the
    sense of a turn by the clock. What "right" has no side in ("a right angle", "right away") stays."""
    return _SIDES.sub(_other_side, text)


def _other_side(found: re.Match[str]) -> str:
    word = found[0]
    other = _OTHER.get(word.lower(), "clockwise")  # the other sense has many spellings, this one has one
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def disturb(joints: Tensor, degrees: Tensor, rng: np.random.Generator) -> Tensor:
    """Turn the limbs' bones of (B, T, 22, 3) the way an estimator errs: at random per motion, the same in every frame.

    ``degrees`` (B,) is the standard deviation of the angle by which each bone turns; what hangs on it turns with it.
    """
    turns = torch.from_numpy(rng.standard_normal((len(joints), len(LIMBS), 3)).astype(np.float32) / math.sqrt(3))
    own = joints.new_zeros(len(joints), JOINTS, 3).index_copy(1, torch.tensor(LIMBS), turns)
    total = sum_of_bones(own * torch.deg2rad(degrees)[:, None, None])
    bones = joints - joints[:, :, PARENTS]
    turned = (roma.rotvec_to_rotmat(total)[:, None] @ bones[..., None]).squeeze(-1)
    return sum_of_bones(torch.cat([joints[:, :, :1], turned[:, :, 1:]], dim=2))


def draw_speed(draw: np.random.Generator, count: int) -> Tensor:
    """Factors (count,) of playing speed, even on a logarithmic scale."""
    low, high = np.log(SPEEDS)
    return torch.from_numpy(np.exp(draw.uniform(low, high, size=count))).float()


def beginnings(motions: MotionSet, which: Tensor, frames: int) -> Tensor:
    """The first frames (B, frames, 22, 3) of motions ``which``, unchanged, the last frame held."""
    zero = torch.zeros(len(which))
    return cut(motions, which, zero, zero + 1, zero, frames)


def spread(motions: MotionSet, count: int) -> Tensor:
    """Indices of at most ``count`` motions, evenly spread over all."""
    return torch.linspace(0, len(motions) - 1, min(count, len(motions))).long()
