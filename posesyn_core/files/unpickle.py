"""Pickles from elsewhere (SMPL models, annotations), read without running what they ask for.

A pickle is a program: it may import any name and call it. This reader admits numpy arrays, scipy sparse matrices,
plain containers, and stand-ins for the chumpy arrays in the official SMPL files and for pandas' tables; any other name
is refused.
"""

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file

_BUILTINS = {"bytearray", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set", "slice",
             "str", "tuple"}  # fmt: skip
_PYTHON_2 = {"long": int, "unicode": str, "basestring": str, "xrange": range}
_NUMPY_MODULES = {
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
}
_NUMPY = {"ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer"}
_OTHER = {("collections", "OrderedDict"), ("_codecs", "encode"), ("copy_reg", "_reconstructor")}
_SPARSE = {"csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array"}


class ChumpyArray:
    """Stands in for ``chumpy.Ch`` and its subclasses: keeps the pickled state, and ``value`` finds the array in it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    @property
    def value(self) -> np.ndarray:
        """The array: that of a plain ``Ch`` is its ``x``; a ``Select`` picks ``idxs`` from ``a``'s elements."""
        if "x" in self.state:
            return np.asarray(plain(self.state["x"]))
        if not {"a", "idxs", "preferred_shape"} <= self.state.keys():
            raise pickle.UnpicklingError("it holds a chumpy expression, not a plain chumpy array")
        picked = np.asarray(plain(self.state["a"])).ravel()[np.asarray(plain(self.state["idxs"]))]
        return picked.reshape(plain(self.state["preferred_shape"]))


class Table:
    """Stands in for ``pandas.DataFrame``: keeps the pickled state, and ``value`` finds the columns in it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    @property
    def value(self) -> dict[str, np.ndarray]:
        """The columns (rows,) by name."""
        blocks: _Blocks = self.state["_mgr"] if "_mgr" in self.state else self.state["_data"]
        names = np.asarray(blocks.axes[0])
        return {name: row for rows, at, *_ in blocks.blocks for name, row in zip(names[at], rows, strict=True)}


class _Blocks:
    """A table's columns of one type each: ``blocks`` of (rows of values, their places, ...); ``axes``: column names."""

    def __init__(self, blocks: Any, axes: Any) -> None:
        """As pandas 1.3 and later call it."""
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: Any) -> None:
        """As pandas before 1.3 pickles it: the last of four parts is the layout that all its versions write."""
        if state is not None and len(state) == 4:
            layout = state[3]["0.14.1"]
            self.blocks = [(block["values"], block["mgr_locs"]) for block in layout["blocks"]]
            self.axes = layout["axes"]


class _Index:
    """Names a kind of index; the indices themselves become arrays."""


def _block(values: Any, places: Any, _dimensions: int) -> tuple[Any, Any]:
    return values, places


def _index(_kind: type, parts: dict[str, Any]) -> Any:
    return parts["data"] if "data" in parts else range(parts["start"], parts["stop"], parts["step"])


_PANDAS = {
    ("pandas.core.frame", "DataFrame"): Table,
    ("pandas.core.internals.managers", "BlockManager"): _Blocks,
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.range", "RangeIndex"): _Index,
    ("pandas.core.indexes.numeric", "Int64Index"): _Index,
}


def plain(value: Any) -> Any:
    """``value`` with every stand-in, at any depth of dicts, lists and tuples, replaced by its array or columns."""
    if isinstance(value, ChumpyArray | Table):
        return value.value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    return value


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        builtin = module in ("builtins", "__builtin__")
        if builtin and name in _PYTHON_2:
            return _PYTHON_2[name]
        if module.split(".")[0] == "chumpy":
            return ChumpyArray
        if (module, name) in _PANDAS:
            return _PANDAS[module, name]
        if module.startswith("scipy.sparse.") and name in _SPARSE:  # its private modules have moved over the years
            return super().find_class("scipy.sparse", name)
        known = (builtin and name in _BUILTINS) or (module in _NUMPY_MODULES and name in _NUMPY)
        if known or (module, name) in _OTHER:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is neither data nor known to be harmless")


def load_pickle(path: Path) -> Any:
    """Read a data pickle of Python 2 or 3; UserError naming the file and the refused class, or what is broken."""
    with existing_file(path, "pickle").open("rb") as file:
        return read_pickle(file, str(path))


def read_pickle(file: BinaryIO, name: str) -> Any:
    """As :func:`load_pickle`, from an open file, or a part of one, that messages call ``name``."""
    try:
        return plain(_Reader(file, encoding="latin1").load())
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"cannot read the pickle {name!r}: {error}") from error
