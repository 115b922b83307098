"""Units told by bone lengths: 3D joints that can't be metres, or whatever their file's official unit is.

A whole file that can't be right is a UserError that names it, because the user has to act; one person that can't be
right is a SampleError, and the rest is read.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.skeletons import joint_set

LIMBS = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
)
"""The bones that nearly every joint set has, and whose length hardly depends on its definition of the joints."""
SHORTEST, LONGEST = 0.12, 0.70
"""Metres between which the mean length of a person's limb bones lies: a small child's about 0.17, a giant's 0.5."""
UNITS: Mapping[str, float] = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254}


def limb_length(points: ArrayLike, name: str) -> NDArray[np.float64]:
    """(...) mean length of the limb bones that are known among ``points`` (..., J, 3) of the joint set ``name``.

    In the unit of the points; NaN where none is known. A point that is not finite is unknown.
    """
    given = np.asarray(points, np.float64)
    names = joint_set(name).points
    pairs = [(names.index(a), names.index(b)) for a, b in LIMBS if a in names and b in names]
    starts, ends = np.array(pairs, int).reshape(-1, 2).T
    lengths = np.linalg.norm(given[..., starts, :] - given[..., ends, :], axis=-1)
    known = np.isfinite(lengths)
    counts = known.sum(-1)
    return np.where(counts > 0, np.where(known, lengths, 0).sum(-1) / np.maximum(counts, 1), np.nan)


def check_units(points: ArrayLike, name: str, unit: str, path: Path) -> None:
    """UserError if the joints of a file can't be in ``unit`` (a key of ``UNITS``), its official one.

    ``points`` (N, J, 3) as they are in the file, J joints of the set ``name``. By the median over people, so that a
    few broken ones don't condemn a file (:func:`check_person` finds those). The error tells the unit that would fit.
    """
    lengths = limb_length(points, name)
    lengths = lengths[np.isfinite(lengths)]
    if not lengths.size:
        return
    median = float(np.median(lengths))
    if SHORTEST <= median * UNITS[unit] <= LONGEST:
        return
    hint = unit_of(median)
    raise UserError(
        f"the 3D joints in {str(path)!r} can't be in {unit}: limb bones of {median * UNITS[unit]:.3g} m on average, "
        f"where people have {SHORTEST:g} to {LONGEST:g} m; {hint}; convert the file or get the official one"
    )


def unit_of(length: float) -> str:
    """In which unit limb bones of that mean length seem to be, as a clause."""
    fitting = [unit for unit, metres in UNITS.items() if SHORTEST <= length * metres <= LONGEST]
    return f"they seem to be in {fitting[0]}" if fitting else "no usual unit fits"


def check_person(points: ArrayLike, name: str) -> None:
    """SampleError unless the limb bones of one person's joints (J, 3), metres, have a human length or are unknown."""
    length = float(limb_length(points, name))
    if np.isfinite(length) and not SHORTEST <= length <= LONGEST:
        raise SampleError(f"the 3D joints are no person's: limb bones of {length:.3g} m on average (other units?)")
