"""What readers of 3D data check before they believe a file: layout, keys, shapes, cameras.

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
from posesyn_core.values import Camera

Floats = NDArray[np.float64]


def expect_layout(root: Path, names: Iterable[str], reader: str, source: str) -> None:
    """UserError listing which of ``names`` (files or folders below ``root``) are missing; ``source``: where from."""
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        raise UserError(f"the {reader} reader misses {', '.join(missing)} in {str(root)!r}; {source}")


def chosen(known: Sequence[str], wanted: Sequence[str], reader: str) -> tuple[str, ...]:
    """Those of the ``known`` parts of a data set that are ``wanted``, in their order; all if none is named.

    UserError naming the known ones if a wanted one is none of them.
    """
    strange = [name for name in wanted if name not in known]
    if strange:
        raise UserError(f"the {reader} reader knows no {', '.join(strange)} in this split; it has {', '.join(known)}")
    return tuple(name for name in known if not wanted or name in wanted)


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
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{key!r} in {str(path)!r} is no array of numbers: {error}") from error
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        given = " x ".join(map(str, array.shape)) or "one number"
        raise UserError(f"{key!r} in {str(path)!r} must be {wanted}, not {given}: is it the right file?")
    return array


def expect_calibration(value: Any, shape: Sequence[int | None], key: str, path: Path) -> Floats:
    """As :func:`expect_shape`, of finite numbers: a camera without them sees nothing."""
    array = expect_shape(value, shape, key, path)
    if not np.isfinite(array).all():
        raise UserError(f"{key!r} in {str(path)!r} has numbers that are not finite; get the official calibration")
    return array


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
    try:
        k = np.asarray(matrix, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"the camera in {str(path)!r} is no matrix of numbers: {error}") from error
    if k.shape not in ((3, 3), (4, 4)):
        raise UserError(f"the camera in {str(path)!r} is missing: a 3 x 3 intrinsic matrix expected")
    try:
        return pinhole(k[[0, 1], [0, 1]], k[:2, 2])
    except SampleError as error:
        raise UserError(f"in {str(path)!r} {error}") from error
