"""The Error Extraction Module (EEM): how wrong is the estimator on a sample (Eq. 1), which are hardest (Eq. 2-3)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.geometry.crops import apply_affine, crop_matrix
from posesyn_core.geometry.skeletons import joint_set

Id = TypeVar("Id", bound=Any)
Floats = NDArray[np.float64]

CROP = 256
"""Eq. 1 is computed in pixels of a crop of this size, so that people of different sizes compare."""

TABLE6: Mapping[str, float] = {
    f"{side}_{part}": weight
    for part, weight in (("ankle", 1), ("wrist", 1), ("elbow", 0.5), ("knee", 0.5), ("hip", 0.25), ("shoulder", 0.25))
    for side in ("left", "right")
}
"""w_n of Eq. 1 by joint (Table 6 of the paper); joints that it does not list weigh 0."""

_CHUNK = 1 << 14


def joint_weights(name: str) -> Floats:
    """(J,) the weights of Table 6 for the joint set ``name``."""
    return np.array([TABLE6.get(joint, 0.0) for joint in joint_set(name).joints])


def normalise_to_crop(points: ArrayLike, boxes: ArrayLike) -> Floats:
    """Points (N, J, 2) in image pixels -> pixels of a 256x256 crop of the square about boxes (N, 4).

    A box without area gives numbers that are not finite.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return apply_affine(crop_matrix(boxes, CROP), points)


def projection_error(
    pred2d: ArrayLike,
    gt2d: ArrayLike,
    weights: ArrayLike,
    root: int | Sequence[int],
    visible: ArrayLike | None = None,
    min_weight: float = 0.5,
) -> tuple[Floats, Floats]:
    """Eq. 1: the weighted sum over joints of the distances between root-relative predicted and labelled joints.

    ``pred2d`` and ``gt2d`` (N, J, 2) in crop pixels (:func:`normalise_to_crop`); for the 3D pseudo-labels of Table 7,
    (N, J, 3). ``weights`` (J,); ``root`` is the index of the root joint, which the sum leaves out (n = 2..N), or those
    of several joints whose mean is the root. ``visible`` (N, J) says which joints are labelled (None: all that are
    finite). Joints without a label are left out and the sum is divided by the share of the weight that is left, so that
    samples with few labels compare with others.

    Returns the errors (N,) and the unweighted distances (N, J), NaN where not labelled. An error is NaN, for the caller
    to reject, if the root is not labelled, if less than ``min_weight`` (0..1) of the weight is left, or if the
    prediction of a labelled joint is not finite.
    """
    pred, gt = np.asarray(pred2d, np.float64), np.asarray(gt2d, np.float64)
    labelled = np.asarray(np.isfinite(gt).all(axis=-1))
    if visible is not None:
        labelled = labelled & np.asarray(visible, dtype=bool)
    roots = [root] if isinstance(root, int | np.integer) else list(root)
    weight = np.array(weights, dtype=np.float64)
    if len(roots) == 1:
        weight[roots] = 0
    if weight.sum() <= 0:
        raise ValueError("no joint but the root has a weight")

    difference = np.where(labelled[..., None], pred - np.where(labelled[..., None], gt, 0), 0)
    distances = np.linalg.norm(difference - difference[:, roots].mean(axis=1, keepdims=True), axis=-1)
    left = np.where(labelled, weight, 0).sum(axis=1) / weight.sum()
    usable = labelled[:, roots].all(axis=1) & (left >= min_weight) & (left > 0)
    total = np.where(labelled, weight * distances, 0).sum(axis=1)
    errors = np.divide(total, left, out=np.full(len(pred), np.nan), where=usable)
    known = labelled & labelled[:, roots].all(axis=1, keepdims=True)
    return errors, np.where(known, distances, np.nan)


def select(
    errors: Iterable[float], ids: Iterable[Id], hard: int, easy: int
) -> tuple[list[tuple[Id, float]], list[tuple[Id, float]]]:
    """Eq. 2-3: the ``hard`` samples of largest and the ``easy`` samples of smallest error, as (id, error).

    Reads both streams once, in memory that grows with ``hard + easy`` alone. The hard come by falling, the easy by
    rising error; equal errors come by rising id. Errors that are not finite are never selected. No sample is in both
    lists: the hard are chosen first and the easy from the rest, so with too few samples it is the easy that run short.
    """
    extremes = Extremes[Id](hard, easy)
    for values, names in _chunks(errors, ids):
        extremes.add(values, names)
    return extremes.selected()


class Extremes(Generic[Id]):
    """The samples of largest and of smallest error of all that were added so far: :func:`select`, list by list."""

    def __init__(self, hard: int, easy: int) -> None:
        self.hard, self.easy = hard, easy
        self._hardest: list[tuple[float, Id]] = []  # (-error, id), the smallest first
        self._easiest: list[tuple[float, Id]] = []  # (error, id); longer by ``hard``, for those that turn out hard

    def may_take(self, least: float, most: float) -> bool:
        """Whether any of samples with errors from ``least`` to ``most`` could be among the extremes."""
        full = len(self._hardest) >= self.hard and len(self._easiest) >= self.hard + self.easy
        return not full or -most <= _last(self._hardest) or least <= _last(self._easiest)

    def add(self, values: Floats, names: list[Id]) -> None:
        """Take in samples of errors ``values`` (N,)."""
        self._hardest = _merge(self._hardest, -values, names, self.hard)
        self._easiest = _merge(self._easiest, values, names, self.hard + self.easy)

    def selected(self) -> tuple[list[tuple[Id, float]], list[tuple[Id, float]]]:
        """The hard and the easy, as :func:`select` says."""
        taken = {name for _, name in self._hardest}
        rest = [(name, error) for error, name in self._easiest if name not in taken]
        return [(name, -error) for error, name in self._hardest], rest[: self.easy]


def _last(best: list[tuple[float, Id]]) -> float:
    return best[-1][0] if best else -np.inf


def _chunks(errors: Iterable[float], ids: Iterable[Id]) -> Iterator[tuple[Floats, list[Id]]]:
    error_stream, id_stream = iter(errors), iter(ids)
    while True:
        values = np.fromiter(islice(error_stream, _CHUNK), np.float64)
        names = list(islice(id_stream, _CHUNK))
        if len(values) != len(names):
            raise ValueError("there are not as many ids as errors")
        if not names:
            return
        yield values, names


def _merge(best: list[tuple[float, Id]], values: Floats, names: list[Id], count: int) -> list[tuple[float, Id]]:
    """The ``count`` smallest (value, name), sorted, of those in ``best`` and the new ones."""
    promising = np.isfinite(values)
    if len(best) >= count:  # once the list is full, hardly any value passes its last
        promising &= values <= _last(best)
    candidates = [(float(values[at]), names[at]) for at in np.flatnonzero(promising)]
    return nsmallest(count, best + candidates)
