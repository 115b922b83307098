"""Motions with texts for training, from a file or from a folder laid out as HumanML3D.

The file (npz): ``joints`` (sum T, 22, 3) float32, metres, y up, all motions one after another; ``offsets`` (n + 1,);
``names``, ``clip`` (n,) the motion and the recording it was cut from; ``texts`` (n,) each a JSON list of descriptions.

The folder, as https://github.com/EricGuo5513/HumanML3D leaves it: ``train.txt`` and ``val.txt`` (a name per line),
``new_joints/NAME.npy`` (T, 22, 3) or else ``new_joint_vecs/NAME.npy`` (T, 263), and ``texts/NAME.txt`` with lines
``caption#tokens#from#to``; where from and to (seconds) are not both 0, the caption describes that part of the motion
alone, which then is a motion of its own. Its mirrored copies (names with M) are read like any others.
"""

import json
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_core.files.reading import read_npy, read_npz, read_text, reading
from posesyn_core.geometry.units import check_units
from posesyn_t2mgpt.representation import FEATURES, FPS, JOINTS, joints_from_features

SHORTEST = 2
"""Frames: features need two."""

Span = tuple[int, int]
"""First frame and the one after the last."""


class OtherSkeleton(UserError):
    """The motions are not HumanML3D's, and so none of them is."""


@frozen(eq=False)
class MotionSet:
    """n motions: ``joints`` (sum T, 22, 3), ``starts`` and ``lengths`` (n,) frames, ``texts`` per motion.

    Motions may share frames. ``left_out`` counts those that could not be used: missing, damaged, not finite, too
    short, or no person's.
    """

    joints: Tensor
    starts: Tensor
    lengths: Tensor
    texts: tuple[tuple[str, ...], ...]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.texts)


def load_motions(path: Path, exclude: Path | None = None, split: str = "train") -> MotionSet:
    """Read motions from an npz, or those of ``split`` from a folder.

    ``exclude`` is a text file with one name (of a motion or its recording) per line.
    Raises UserError for a missing or malformed file, and if no motion is left.
    """
    banned = set() if exclude is None else set(read_text(exclude, "list of motions").split())
    motions = _read_folder(path, banned, split) if path.is_dir() else _read_file(path, banned)
    if not len(motions):
        remedy = "" if exclude is None else f" after leaving out those named in {str(exclude)!r}"
        raise UserError(f"no motion of {str(path)!r} is left{remedy}")
    return motions


def _read_file(path: Path, banned: set[str]) -> MotionSet:
    keys = ("joints", "offsets", "names", "clip", "texts")
    expected = f"an npz of motions with {', '.join(keys)}"
    file = read_npz(path, "motions file", expected, keys)
    with reading(path, "motions file", expected):
        joints, offsets, names, clips, texts = (file[key] for key in keys)
        wanted = np.array([name not in banned and clip not in banned for name, clip in zip(names, clips, strict=True)])
        check_units(joints, "humanml22", "metres", path)
        sound = np.logical_and.reduceat(np.isfinite(joints).all((1, 2)), offsets[:-1]) & (np.diff(offsets) >= SHORTEST)
        left_out = int((wanted & ~sound).sum())
        wanted &= sound
        return MotionSet(
            left_out=left_out,
            joints=torch.from_numpy(joints),
            starts=torch.from_numpy(offsets[:-1][wanted]),
            lengths=torch.from_numpy(np.diff(offsets)[wanted]),
            texts=tuple(tuple(json.loads(text)) for text in texts[wanted]),
        )


def _read_folder(folder: Path, banned: set[str], split: str) -> MotionSet:
    names = read_text(folder / f"{split}.txt", "the list of motions").split()
    joints, starts, lengths, texts = [], [], [], []
    frames = left_out = 0
    fault: UserError | None = None
    for name in names:
        if name in banned:
            continue
        try:
            motion = _read_joints(folder, name)
            described = {} if motion is None else _read_texts(folder / "texts" / f"{name}.txt", len(motion))
        except OtherSkeleton:
            raise
        except UserError as error:  # one among thousands
            motion, fault = None, fault or error
        if motion is None or not described:
            left_out += 1
            continue
        joints.append(motion)
        for (first, end), captions in described.items():
            starts.append(frames + first)
            lengths.append(end - first)
            texts.append(tuple(captions))
        frames += len(motion)
    if fault is not None and not joints:
        raise fault
    if fault is not None:
        warnings.warn(f"motions are left out: {fault} (counted among {left_out})", PoseSynWarning, stacklevel=3)
    return MotionSet(
        joints=torch.from_numpy(np.concatenate(joints or [np.zeros((0, JOINTS, 3), np.float32)])),
        starts=torch.tensor(starts),
        lengths=torch.tensor(lengths),
        texts=tuple(texts),
        left_out=left_out,
    )


def _read_joints(folder: Path, name: str) -> np.ndarray | None:
    """(T, 22, 3) from either folder; None for a motion that is missing, not finite or too short."""
    files = [folder / kind / f"{name}.npy" for kind in ("new_joints", "new_joint_vecs")]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        return None
    with reading(path, "motion", "an array of joints or features"):
        array = read_npy(path, "motion", "an array of joints or features").astype(np.float32)
    if array.shape[1:] not in ((JOINTS, 3), (FEATURES,)):
        kit = "; it is of KIT-ML, which has another skeleton" if array.shape[1:] in ((251,), (21, 3)) else ""
        raise OtherSkeleton(f"{str(path)!r} holds an array of shape {array.shape}, not (T, 22, 3) or (T, 263){kit}")
    motion = array if array.ndim == 3 else joints_from_features(array)
    check_units(motion, "humanml22", "metres", path)
    return motion if len(motion) >= SHORTEST and np.isfinite(motion).all() else None


def _read_texts(path: Path, frames: int) -> dict[Span, list[str]]:
    """The captions of every part of a motion that has any; none if the file is missing."""
    described: dict[Span, list[str]] = defaultdict(list)
    for number, line in enumerate(read_text(path, "captions").splitlines() if path.is_file() else [], start=1):
        if not line.strip():
            continue
        try:
            caption, _tokens, start, end = line.split("#")
            seconds = np.nan_to_num([float(start), float(end)])
        except ValueError as error:
            raise UserError(f"line {number} of {str(path)!r} is not 'caption#tokens#from#to'") from error
        whole = not seconds.any()
        first, last = (0, frames) if whole else (seconds * FPS).astype(int).clip(0, frames).tolist()
        if last - first >= SHORTEST:
            described[first, last].append(caption)
    return described
