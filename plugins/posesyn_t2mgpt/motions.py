"""Motions with texts for training: the npz format, and sequences drawn from it with augmentation, in whole batches.

The format: ``joints`` (sum T, 22, 3) float32, metres, y up, all motions one after another; ``offsets`` (n + 1,);
``names``, ``clip`` (n,) the motion and the recording it was cut from; ``texts`` (n,) each a JSON list of descriptions.
"""

import json
import math
import re
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import roma
import torch
from attrs import frozen
from torch import Tensor

from posesyn_core.errors import UserError
from posesyn_core.skeletons import joint_set
from posesyn_t2mgpt.representation import JOINTS, PARENTS, sum_of_bones

LIMBS = (4, 5, 7, 8, 18, 19, 20, 21)
"""The joints at the ends of thighs, shins, upper arms and forearms, which :func:`disturb` turns."""


@frozen(eq=False)
class MotionSet:
    """n motions: ``joints`` (sum T, 22, 3), ``starts`` and ``lengths`` (n,) frames, ``texts`` per motion."""

    joints: Tensor
    starts: Tensor
    lengths: Tensor
    texts: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.texts)


def load_motions(path: Path, exclude: Path | None = None) -> MotionSet:
    """Read motions from an npz; ``exclude`` is a text file with one name (of a motion or its recording) per line.

    Raises UserError for a missing or malformed file.
    """
    banned = set() if exclude is None else set(exclude.read_text().split())
    try:
        with np.load(path, allow_pickle=False) as file:
            joints, offsets = file["joints"], file["offsets"]
            names, clips, texts = file["names"], file["clip"], file["texts"]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise UserError(f"{str(path)!r} is not an npz of motions: {error}") from error
    wanted = np.array([name not in banned and clip not in banned for name, clip in zip(names, clips, strict=True)])
    if not wanted.any():
        raise UserError(f"no motion of {str(path)!r} is left after leaving out those named in {str(exclude)!r}")
    return MotionSet(
        joints=torch.from_numpy(joints),
        starts=torch.from_numpy(offsets[:-1][wanted]),
        lengths=torch.from_numpy(np.diff(offsets)[wanted]),
        texts=tuple(tuple(json.loads(text)) for text in texts[wanted]),
    )


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
    """Exchange the words left and right."""
    other = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    return re.sub(r"\b(left|right)\b", lambda word: other[word[0]], text, flags=re.IGNORECASE)


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
