"""What readers of 3D data check before they believe a file: layout, keys, shapes, cameras, and units by bone lengths.

A whole file that can't be right is a UserError that names it, because the user has to act; one person that can't be
right is a SampleError, and the rest is read.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import existing_file
from posesyn_core.skeletons import joint_set
from posesyn_core.values import Camera

LIMBS = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
)
"""The bones that nearly every joint set has, and whose length hardly depends on its definition of the joints."""
SHORTEST, LONGEST = 0.12, 0.70
"""Metres between which the mean length of a person's limb bones lies: a small child's about 0.17, a giant's 0.5."""
UNITS: Mapping[str, float] = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254}

Floats = NDArray[np.float64]


def expect_layout(root: Path, names: Iterable[str], reader: str, source: str) -> None:
    """UserError listing which of ``names`` (files or folders below ``root``) are missing; ``source``: where from."""
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        raise UserError(f"the {reader} reader misses {', '.join(missing)} in {str(root)!r}; {source}")


def expect_keys(document: Any, keys: Iterable[str], path: Path, expected: str) -> Mapping[str, Any]:
    """``document`` if it is a mapping with these keys; UserError naming the file and those that are missing."""
    if not isinstance(document, Mapping):
        raise UserError(f"annotation file {str(path)!r} holds no dictionary; expected {expected}")
    missing = [key for key in keys if key not in document]
    if missing:
        raise UserError(f"annotation file {str(path)!r} lacks {', '.join(map(repr, missing))}; expected {expected}")
    return document


def expect_shape(value: Any, shape: Sequence[int | None], key: str, path: Path) -> Floats:
    """``value`` as float64 numbers of that shape, None for any size; UserError naming file and key."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key!r} in {str(path)!r} is no array of numbers: {error}") from error
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        given = " x ".join(map(str, array.shape)) or "one number"
        raise UserError(f"{key!r} in {str(path)!r} must be {wanted}, not {given}: is it the right file?")
    return array


def read_npz(path: Path, keys: Iterable[str], expected: str) -> dict[str, NDArray[Any]]:
    """The arrays of an npz, plain ones only; UserError if it lacks ``keys``, is damaged or hides pickled objects."""
    try:
        with np.load(existing_file(path, "annotation file"), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except Exception as error:  # a damaged archive may raise anything
        raise UserError(
            f"annotation file {str(path)!r} is not an npz of plain arrays ({error}); expected {expected}; archives "
            "that hold pickled objects are refused, because reading them may run code"
        ) from error
    expect_keys(arrays, keys, path, expected)
    return arrays


def read_mat(path: Path, keys: Iterable[str], expected: str) -> Mapping[str, Any]:
    """The variables of a MATLAB file up to version 7.2; UserError if it is damaged or lacks ``keys``."""
    from scipy.io import loadmat

    try:
        variables = loadmat(existing_file(path, "annotation file"))
    except UserError:
        raise
    except NotImplementedError as error:  # how scipy says that the file is HDF5
        raise UserError(
            f"annotation file {str(path)!r} is a MATLAB 7.3 file; save it again in MATLAB or Octave with the flag "
            "-v7, which is what can be read here"
        ) from error
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        raise UserError(
            f"annotation file {str(path)!r} is not a MATLAB file ({error}); expected {expected}; is it complete?"
        ) from error
    return expect_keys(variables, keys, path, expected)


def optional_module(name: str, extra: str) -> Any:
    """The module ``name``; UserError telling what to install if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"this layout is read with {name}; pip install 'posesyn[{extra}]'") from error


def pinhole(focal_length: ArrayLike, principal_point: ArrayLike) -> Camera:
    """The camera with these (fx, fy) and (cx, cy) pixels, any array of two; SampleError if they can't be one's."""
    focal, centre = (np.asarray(pair, np.float64).reshape(-1) for pair in (focal_length, principal_point))
    if focal.shape != (2,) or centre.shape != (2,):
        raise SampleError(
            f"the camera is missing: 2 focal lengths and a principal point expected, not {focal}, {centre}"
        )
    if not (np.isfinite([focal, centre]).all() and (focal > 0).all()):
        raise SampleError(f"the camera has the impossible focal length {focal} or principal point {centre}")
    return Camera(focal.astype(np.float32), centre.astype(np.float32))


def intrinsics(matrix: Any, path: Path) -> Camera:
    """The camera of an intrinsic matrix (3, 3), or (4, 4) with it in the corner; UserError naming the file."""
    if matrix is None or np.shape(matrix) not in ((3, 3), (4, 4)):
        raise UserError(f"the camera in {str(path)!r} is missing: a 3 x 3 intrinsic matrix expected")
    k = np.asarray(matrix, np.float64)
    try:
        return pinhole(k[[0, 1], [0, 1]], k[:2, 2])
    except SampleError as error:
        raise UserError(f"in {str(path)!r} {error}") from error


def limb_length(points: ArrayLike, name: str) -> Floats:
    """(...) mean length of the limb bones that are known among ``points`` (..., J, 3) of the joint set ``name``.

    In the unit of the points; NaN where none is known. A point that is not finite is unknown.
    """
    given = np.asarray(points, np.float64)
    names = joint_set(name).points
    pairs = [(names.index(a), names.index(b)) for a, b in LIMBS if a in names and b in names]
    starts, ends = np.array(pairs).T
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
    fitting = [other for other, metres in UNITS.items() if SHORTEST <= median * metres <= LONGEST]
    hint = f"they seem to be in {fitting[0]}" if fitting else "no usual unit fits"
    raise UserError(
        f"the 3D joints in {str(path)!r} can't be in {unit}: limb bones of {median * UNITS[unit]:.3g} m on average, "
        f"where people have {SHORTEST:g} to {LONGEST:g} m; {hint}; convert the file or get the official one"
    )


def check_person(points: ArrayLike, name: str) -> None:
    """SampleError unless the limb bones of one person's joints (J, 3), metres, have a human length or are unknown."""
    length = float(limb_length(points, name))
    if np.isfinite(length) and not SHORTEST <= length <= LONGEST:
        raise SampleError(f"the 3D joints are no person's: limb bones of {length:.3g} m on average (other units?)")
