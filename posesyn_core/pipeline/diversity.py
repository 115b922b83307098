"""How a run's kept frames differ in their poses: near-duplicates, and coverage of the mined poses."""

from collections.abc import Iterator
from itertools import compress

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.method.diversity import aligned, capped, flattened, nearest
from posesyn_core.pipeline.run import HARD, Run
from posesyn_core.values import LabelledFrame

ALIKE_MM = 30.0
"""Poses closer than this are near-duplicates."""
COVERED_MM = 80.0
"""A mined pose is covered if a kept frame's pose is closer than this."""
DRAWN = 1500
"""Kept poses in the map at most, spread evenly over all."""


@frozen(eq=False)
class Diversity:
    """Of the N kept frames' poses: how many are left if near-duplicates are left out, the share of the mined poses that
    they cover, and how far mined poses are from kept ones (median). ``kept`` (N, 2) and ``mined`` (M, 2) are their
    places in the plane in which they differ most, mm."""

    frames: int
    different: int
    covered: float
    median_mm: float
    kept: NDArray[np.float64]
    mined: NDArray[np.float64]


def diversity(run: Run) -> Diversity | None:
    """None without kept frames with 3D labels, or without mined poses."""
    kept = np.array([j for frame in _kept(run) if (j := frame.joints3d) is not None and len(j) == 24], np.float32)
    mined = np.array([hard.pose.joints3d for hard in run.of_role(HARD) if len(hard.pose.joints3d) == 24], np.float32)
    mined = mined[np.isfinite(mined).all(axis=(1, 2))] if len(mined) else mined
    if not len(kept) or not len(mined):
        return None
    poses, hard = aligned(kept), aligned(mined)
    distances = nearest(hard, poses)
    mean, axes = flattened(np.concatenate([poses, hard]))
    return Diversity(
        len(poses),
        sum(capped(poses, ALIKE_MM, 1)),
        float((distances < COVERED_MM).mean()),
        float(np.median(distances)),
        (poses[:: max(len(poses) // DRAWN, 1)] - mean) @ axes,
        (hard - mean) @ axes,
    )


def without_duplicates(run: Run, closer_mm: float, most: int) -> Iterator[LabelledFrame]:
    """The kept frames of which at most ``most`` have poses closer than ``closer_mm`` to each; 0 = all of them.

    The first ones stay. A frame whose label is not SMPL's joints stays, too.
    """
    if most == 0:
        yield from _kept(run)
        return
    known = [(f.id, f.joints3d) for f in _kept(run) if f.joints3d is not None and len(f.joints3d) == 24]
    poses = aligned(np.array([joints for _, joints in known], np.float32)) if known else np.empty((0, 66), np.float32)
    stays = capped(poses, closer_mm, most)
    dropped = {name for name, _ in known} - set(compress((name for name, _ in known), stays))
    yield from (frame for frame in _kept(run) if frame.id not in dropped)


def _kept(run: Run) -> Iterator[LabelledFrame]:
    return (row.frame for row in run.frames.values() if row.verdict.keep)
