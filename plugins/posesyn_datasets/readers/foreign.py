"""MATLAB's, HDF5's and CDF's files: read apart, because damaged ones crash or hang the libraries that read them.

The functions ``load_...`` run in the process apart (:mod:`posesyn_core.files.apart`).
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import UserError
from posesyn_core.files.apart import read_apart
from posesyn_core.files.paths import existing_file, shown
from posesyn_core.files.reading import MOST_UNPACKED, reading, reason_of

WHAT = "annotation file"
MOST_LINKS = 16
"""Links of an HDF5 file that lead from one to the next."""
_ALWAYS_UNPACKED = 1 << 28
"""Bytes that a data set may unpack to however small it is stored."""


def read_mat(path: Path, keys: Collection[str], expected: str) -> Mapping[str, Any]:
    """The variables ``keys`` of a MATLAB file up to version 7.2; UserError if it is damaged or lacks one."""
    with reading(existing_file(path, WHAT), WHAT, expected):
        return _with_keys(read_apart(load_mat, path, tuple(keys)), keys, path, expected)


def read_hdf5(path: Path, keys: Collection[str], expected: str, optional: Collection[str] = ()) -> Mapping[str, Any]:
    """The arrays ``keys`` of an HDF5 file, and those of ``optional`` that it has.

    UserError if it is damaged, lacks one, or keeps one in another file, which HDF5 can, and which would lead anywhere.
    """
    with reading(existing_file(path, WHAT), WHAT, expected):
        return _with_keys(read_apart(load_hdf5, path, (*keys, *optional)), keys, path, expected)


def _with_keys(found: Mapping[str, Any], keys: Collection[str], path: Path, expected: str) -> Mapping[str, Any]:
    missing = [key for key in keys if key not in found]
    if missing:
        raise UserError(f"{WHAT} {shown(path)} lacks {', '.join(map(repr, missing))}; expected {expected}")
    return found


def load_mat(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Those variables of a MATLAB file that it has."""
    from scipy.io import loadmat

    try:
        return {key: value for key, value in loadmat(path, variable_names=keys).items() if key in keys}
    except NotImplementedError as error:  # how scipy says that the file is HDF5
        raise UserError(
            f"{WHAT} {shown(path)} is a MATLAB 7.3 file; save it again in MATLAB or Octave with the flag -v7, which is "
            "what can be read here"
        ) from error
    except Exception as error:
        raise ValueError(f"it is not a MATLAB file: {reason_of(error)}") from error


def load_cdf(path: Path) -> NDArray[np.float64]:
    """The variable "Pose" of a CDF file; its library, which is Python, may go round for ever in a damaged one."""
    import cdflib

    return np.asarray(cdflib.CDF(path).varget("Pose"), np.float64)


def load_hdf5(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Those arrays of numbers in an HDF5 file that it has, from the file itself alone."""
    import h5py

    if not h5py.is_hdf5(path):
        raise ValueError("it is not HDF5")
    with h5py.File(path) as file:
        return {key: _dataset(file, key, h5py) for key in keys if file.get(key, getlink=True) is not None}


def _within(file: Any, group: Any, path: str, h5py: Any, links: int = MOST_LINKS) -> Any:
    """What stands at a path below a group, by links within the file: no other file is as much as opened."""
    for name in filter(None, path.split("/")):
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UserError(f"{path!r} in {shown(file.filename)} is a link into another file, which is not followed")
        if not isinstance(link, h5py.SoftLink):
            group = group[name]
        elif links:
            group = _within(file, file if link.path.startswith("/") else group, link.path, h5py, links - 1)
        else:
            raise ValueError(f"{path!r} is a link that leads nowhere")
    return group


def _dataset(file: Any, key: str, h5py: Any) -> NDArray[Any]:
    data = _within(file, file, key, h5py)
    if not isinstance(data, h5py.Dataset) or data.shape is None or data.dtype.kind not in "biuf":
        raise ValueError(f"{key!r} is no array of numbers")
    if data.external or data.is_virtual or data.file.filename != file.filename:
        raise UserError(f"{key!r} in {shown(file.filename)} is kept in another file, which is not read")
    size = math.prod(data.shape) * data.dtype.itemsize
    if size > MOST_UNPACKED * data.id.get_storage_size() + _ALWAYS_UNPACKED:
        raise ValueError(f"{key!r} says to unpack to {size} bytes")
    return np.asarray(data[()])
