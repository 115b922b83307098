"""Errors of 2D detectors, made up: what the network is shown in training in place of the true 2D pose.

The error model of Moon et al., "PoseFix: Model-agnostic General Human Pose Refinement Network", CVPR 2019, with the
statistics of Ronchi and Perona (ICCV 2017), as 3DCrowdNet's official code applies it: each of COCO's 17 joints becomes
good, jittered, inverted (left for right), swapped (with a neighbour's) or missed, with probabilities that depend on the
joint, on how many joints are seen and on how many people overlap.
"""

from collections.abc import Mapping

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_crowdnet.crops import Floats
from posesyn_crowdnet.joints import COCO, flip_order

SIGMAS = np.array([0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
                   0.107, 0.107, 0.087, 0.087, 0.089, 0.089])  # fmt: skip
"""COCO's constants of how exactly people place each joint."""
NEAR, MIDDLE, FAR = 0.85, 0.5, 0.1
"""Keypoint similarities that bound the kinds of error: good < 0.85 < jitter < 0.5 < miss < 0.1."""
DRAWS = 500

_FACE = slice(0, 5)
_UPPER = slice(5, 11)
_LOWER = slice(11, 17)
_SHOULDERS, _HIPS, _KNEES, _ANKLES = [5, 6], [11, 12], [13, 14], [15, 16]


def distances(area: float, similarity: float) -> Floats:
    """(17,) pixels at which a joint has that keypoint similarity, in a person of ``area`` pixels."""
    return np.sqrt(-2 * area * (2 * SIGMAS) ** 2 * np.log(similarity))


def probabilities(valid: int, overlaps: int) -> Mapping[str, Floats]:
    """(17,) probabilities of each kind of error, given the numbers of valid joints and of overlapping people."""
    jitter = np.full(17, 0.2 if valid <= 10 else 0.15)
    jitter[[0, *_KNEES, *_ANKLES]] -= 0.05
    jitter[_HIPS] += 0.05
    face, some, others = (0.15, 0.2, 0.25) if valid <= 5 else (0.1, 0.13, 0.15) if valid <= 10 else (0.02, 0.05, 0.1)
    miss = np.full(17, others)
    miss[_FACE], miss[_SHOULDERS + _ANKLES] = face, some
    crowded = (valid <= 10 and overlaps > 0) or (valid <= 15 and overlaps >= 3)
    inversion = _by_height(0.01, 0.03, 0.06)
    swap = _by_height(0.02, 0.15, 0.1) if crowded else _by_height(0.01, 0.06, 0.03)
    good = 1 - (jitter + miss + inversion + swap)
    return {"good": good, "jitter": jitter, "inversion": inversion, "swap": swap, "miss": miss}


def _by_height(face: float, upper: float, lower: float) -> Floats:
    values = np.empty(17)
    values[_FACE], values[_UPPER], values[_LOWER] = face, upper, lower
    return values


def disturb(joints: Floats, neighbours: Floats, area: float, rng: np.random.Generator) -> Floats:
    """COCO's joints (17, 2) as a detector might have found them; one that nothing can become is 0.

    ``joints`` (17, 3) and ``neighbours`` (N, 17, 3) are x, y, valid in pixels; ``area`` is that of the person's tight
    box. Joints are disturbed in order, and a later one may be taken for its mirrored joint where that already went.
    """
    chances = probabilities(int((joints[:, 2] > 0).sum()), len(neighbours))
    near, middle, far = (distances(area, similarity) for similarity in (NEAR, MIDDLE, FAR))
    mirror = flip_order(COCO)
    found = joints[:, :2].copy()
    for joint, other in enumerate(mirror):  # one after the other: each looks at where its mirrored one went
        beside = neighbours[neighbours[:, joint, 2] > 0, joint, :2]
        paired = other != joint
        own_mirror = found[None, other] if paired and joints[other, 2] > 0 else found[:0]
        across = neighbours[neighbours[:, other, 2] > 0, other, :2] if paired else found[:0]
        scene = _Scene(found[joint], own_mirror, beside, across)
        found[joint] = scene.mistake(
            {kind: values[joint] for kind, values in chances.items()}, near[joint], middle[joint], far[joint], rng
        )
    return found


@frozen
class _Scene:
    """What a joint may be taken for: itself, its mirrored joint, the neighbours' same and mirrored ones (N, 2)."""

    own: Floats
    mirror: Floats
    beside: Floats
    across: Floats

    def mistake(
        self, chances: Mapping[str, float], near: float, middle: float, far: float, rng: np.random.Generator
    ) -> Floats:
        """One place (2,) of a kind drawn by ``chances``; another kind if that is impossible, 0 if all are."""
        left = dict(chances)
        while sum(left.values()) > 0:
            weights = np.array(list(left.values()))
            kind = list(left)[rng.choice(len(left), p=weights / weights.sum())]
            places = self.candidates(kind, near, middle, far, rng)
            if len(places):
                return places[rng.integers(len(places))]
            left.pop(kind)
        return np.zeros(2)

    def candidates(self, kind: str, near: float, middle: float, far: float, rng: np.random.Generator) -> Floats:
        """Places (K, 2) for one kind of error; none where it is impossible."""
        sources = np.concatenate([self.own[None], self.beside, self.mirror, self.across])
        own, mirror = [0], [1 + len(self.beside)][: len(self.mirror)]
        if kind == "good":
            return _around(sources, own, (0, near), DRAWS // 4, rng)
        if kind == "jitter":
            return _around(sources, own, (near, middle), DRAWS, rng)
        if kind == "inversion":
            return _around(sources, mirror, (0, middle), DRAWS, rng)
        if kind == "swap":
            # As published, what stands after the neighbours' same joints counts as one's own mirrored joint, even
            # where that is not labelled and the neighbours' mirrored joints begin there.
            mine = [0, 1 + len(self.beside)]
            others = [at for at in range(len(sources)) if at not in mine]
            return _around(sources, others, (0, middle), DRAWS, rng, avoid=mine)
        everywhere = range(len(sources))
        missed = [_around(sources, [at], (middle, far), 4 * DRAWS, rng, clearance=middle) for at in everywhere]
        fewer = [kept[rng.integers(len(kept), size=len(kept) // 4)] if len(kept) else kept for kept in missed[1:]]
        return np.concatenate([missed[0], *fewer])


def _around(
    sources: Floats,
    centres: list[int],
    radii: tuple[float, float],
    draws: int,
    rng: np.random.Generator,
    *,
    avoid: list[int] | None = None,
    clearance: float | None = None,
) -> Floats:
    """Places (K, 2) at uniform angle and radius around the sources ``centres``, ``draws`` each.

    Kept are those that are farther from every other source (or from those to ``avoid``) than from their own, or than
    ``clearance``.
    """
    if not centres:
        return sources[:0]
    angle = rng.uniform(0, 2 * np.pi, (len(centres), draws))
    radius = rng.uniform(*radii, (len(centres), draws))
    places = sources[centres, None] + radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    apart = np.linalg.norm(places[:, :, None] - sources, axis=-1)
    far_enough = apart > (radius[..., None] if clearance is None else clearance)
    counts = _counted(len(sources), centres, avoid)
    return places[(far_enough | ~counts[:, None]).all(2)]


def _counted(sources: int, centres: list[int], avoid: list[int] | None) -> NDArray[np.bool_]:
    """(centres, sources) which sources a place around a centre must keep away from."""
    counts = np.ones((len(centres), sources), bool)
    if avoid is not None:
        counts[:] = np.isin(np.arange(sources), avoid)
    counts[np.arange(len(centres)), centres] = False
    return counts
