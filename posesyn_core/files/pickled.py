"""What pickles of data hold, rebuilt from checked parts: arrays, sparse matrices, SMPL's chumpy arrays, pandas' tables.

:mod:`posesyn_core.files.unpickle` parses a pickle without calling anything: what it asks to be made becomes a
:class:`Made`. The functions here make the values, of data alone. An array is a checked (type, shape, bytes), never an
object over foreign bytes.
"""

import math
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import Factory, define, field, frozen
from numpy.typing import NDArray

Plain = Callable[[Any], Any]
"""Gives the value of a part of the pickle, with everything in it made."""

LONGEST_RANGE = 10_000_000
_NUMBERS = re.compile(r"[<>|=]?(?:b1|[iufc]\d{1,2})")
_TEXTS = re.compile(r"[<>|=]?[SU]\d{0,9}")
_OBJECTS = re.compile(r"\|?O[48]?")
_UNSET = object()


class Refused(pickle.UnpicklingError):
    """A part of a pickle that is no data, or not what it claims to be."""


@frozen(eq=False)
class Known:
    """A class or function that a pickle may name, and what gives the value of its products."""

    name: str
    make: "Callable[[Plain, Made], Any]"


@define(eq=False)
class Made:
    """What the pickle asks for: ``of(*args)`` with a ``state``, entries and items, all as the pickle has them."""

    of: Known
    args: tuple[Any, ...]
    state: Any = _UNSET
    entries: list[tuple[Any, Any]] = Factory(list)
    items: list[Any] = field(factory=list)

    def build(self, state: Any) -> None:
        """Take the state, once."""
        if self.state is not _UNSET:
            raise Refused(f"it gives a {self.of.name} a state twice")
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries.append((key, value))

    def append(self, item: Any) -> None:
        """As the pickle appends to a list."""
        self.items.append(item)

    @property
    def fields(self) -> Mapping[Any, Any]:
        """The state, which must be a dict."""
        if not isinstance(self.state, dict):
            raise Refused(f"a {self.of.name} has no fields")
        return self.state


def _type(_: Plain, made: Made) -> np.dtype:
    """A numpy dtype of numbers, texts or objects, in either byte order: no fields, no raw memory."""
    name = made.args[0] if made.args else None
    name = name.decode("latin1") if isinstance(name, bytes) else name
    if not (isinstance(name, str) and any(known.fullmatch(name) for known in (_NUMBERS, _TEXTS, _OBJECTS))):
        raise Refused(f"it has an array of the type {str(name)[:40]!r}, which is neither numbers nor text")
    result = np.dtype(name)
    if made.state is _UNSET:
        return result
    state = made.state[1:] if isinstance(made.state[0], int) else made.state
    order, *parts, size = state[:5]
    order = order.decode("latin1") if isinstance(order, bytes) else order
    if any(part is not None for part in parts):
        raise Refused("it has an array with fields, which is neither numbers nor text")
    if order not in ("<", ">", "|", "="):
        raise Refused("it has a type of no known byte order")
    if size not in (-1, result.itemsize):
        raise Refused(f"it has a type {name} of {size} bytes")
    return result if order in ("|", "=") else result.newbyteorder("<" if order == "<" else ">")


def _array(plain: Plain, made: Made) -> NDArray[Any]:
    """As ``numpy.ndarray`` is pickled: the state is (version,) shape, type, whether in Fortran's order, content."""
    if not isinstance(made.state, tuple) or len(made.state) not in (4, 5):
        raise Refused("it has an array without content")
    shape, kind, fortran, content = made.state[-4:]
    return _filled(plain, shape, kind, content, "F" if fortran else "C")


def _array_of_buffer(plain: Plain, made: Made) -> NDArray[Any]:
    content, kind, shape, order = made.args
    return _filled(plain, shape, kind, content, order)


def _scalar(plain: Plain, made: Made) -> Any:
    kind, content = made.args
    return _filled(plain, (), kind, content, "C")[()]


def _filled(plain: Plain, shape: Any, kind: Any, content: Any, order: Any) -> NDArray[Any]:
    """A new array of that shape, if the content is exactly as long."""
    dtype, content = plain(kind), plain(content)
    shape = (shape,) if isinstance(shape, int) else shape
    sizes = isinstance(shape, tuple) and len(shape) <= 32 and all(type(size) is int and size >= 0 for size in shape)
    if not (sizes and isinstance(dtype, np.dtype) and order in ("C", "F")):
        raise Refused("it has an array of no possible shape or type")
    count = math.prod(shape)
    if dtype.hasobject:
        if not isinstance(content, list) or len(content) != count:
            raise Refused("it has an array of objects over raw memory")
        flat = np.empty(count, object)
        for at, item in enumerate(content):  # numpy would take a list of lists for more dimensions
            flat[at] = item
        return flat.reshape(shape, order=order)
    content = content.encode("latin1") if isinstance(content, str) else content  # Python 2's bytes
    if not isinstance(content, bytes | bytearray) or len(content) != count * dtype.itemsize or not dtype.itemsize:
        raise Refused(f"it has an array {shape} of {dtype} whose content is not as long as that")
    return np.frombuffer(content, dtype).reshape(shape, order=order).copy(order=order)


def _compressed(name: str) -> Callable[[Plain, Made], Any]:
    """A sparse matrix of scipy by rows or columns, its indices checked."""

    def make(plain: Plain, made: Made) -> Any:
        from scipy import sparse

        fields = made.fields
        shape, parts = _shape(plain, fields), [plain(fields[key]) for key in ("data", "indices", "indptr")]
        matrix = getattr(sparse, name)(tuple(parts), shape)
        matrix.check_format(full_check=True)
        return matrix

    return make


def _coordinates(name: str) -> Callable[[Plain, Made], Any]:
    """A sparse matrix of scipy by coordinates, these checked."""

    def make(plain: Plain, made: Made) -> Any:
        from scipy import sparse

        fields = made.fields
        coords = plain(fields["coords"]) if "coords" in fields else (plain(fields["row"]), plain(fields["col"]))
        return getattr(sparse, name)((plain(fields["data"]), tuple(coords)), _shape(plain, fields))

    return make


def _shape(plain: Plain, fields: Mapping[Any, Any]) -> tuple[int, int]:
    shape = plain(fields["_shape"])
    if len(shape) != 2 or not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) > 1 << 31:
        raise Refused(f"it has a sparse matrix of the shape {str(shape)[:60]}")
    return shape


def _chumpy(plain: Plain, made: Made) -> NDArray[Any]:
    """A ``chumpy.Ch``'s array: a plain one's is its ``x``; a ``Select`` picks ``idxs`` from ``a``'s elements."""
    fields = made.fields
    if "x" in fields:
        return np.asarray(plain(fields["x"]))
    if not {"a", "idxs", "preferred_shape"} <= fields.keys():
        raise Refused("it holds a chumpy expression, not a plain chumpy array")
    picked = np.asarray(plain(fields["a"])).ravel()[np.asarray(plain(fields["idxs"]))]
    return picked.reshape(plain(fields["preferred_shape"]))


def _table(plain: Plain, made: Made) -> dict[str, NDArray[Any]]:
    """A pandas table's columns (rows,) by name, in the layouts of all its versions."""
    blocks, axes = plain(made.fields["_mgr"] if "_mgr" in made.fields else made.fields["_data"])
    names = np.asarray(axes[0])
    columns = ((names[at], np.atleast_2d(rows) if rows.ndim < 2 else rows) for rows, at in blocks)
    return {name: row for at, rows in columns for name, row in zip(at, rows, strict=True)}


def _blocks(plain: Plain, made: Made) -> tuple[list[tuple[NDArray[Any], Any]], Any]:
    """A table's (values, their places) by type, and its axes, of which the first names the columns."""
    if made.args:  # pandas 1.3 and later
        blocks, axes = made.args[:2]
        return [plain(block)[:2] for block in blocks], plain(axes)
    layout = made.state[3]["0.14.1"]  # the last of four parts is what all versions write
    return [(plain(block["values"]), plain(block["mgr_locs"])) for block in layout["blocks"]], plain(layout["axes"])


def _index(plain: Plain, made: Made) -> Any:
    parts = plain(made.args[1])
    return parts["data"] if "data" in parts else _range_of((parts["start"], parts["stop"], parts["step"]))


def _texts(plain: Plain, made: Made) -> NDArray[Any]:
    """A column of texts in Python's form, or of one of few values: (type, array)."""
    parts = [part for part in made.state if isinstance(part, Made)] if isinstance(made.state, tuple) else []
    arrays = [part for part in parts if part.of.make in (_array, _array_of_buffer)]
    if len(arrays) != 1:
        raise Refused("it has a column of texts without texts")
    kinds = [part for part in parts if part.of.name.endswith("CategoricalDtype")]
    return _chosen(plain(arrays[0]), plain(kinds[0].fields["categories"])) if kinds else plain(arrays[0])


def _chosen(places: NDArray[Any], values: Any) -> NDArray[Any]:
    """The values at those places; None where there is none, at -1."""
    known = np.asarray(values)
    if places.dtype.kind != "i" or known.ndim != 1 or not ((places >= -1) & (places < len(known))).all():
        raise Refused("it has a column of values that it does not list")
    return np.array([None if at < 0 else known[at] for at in places.tolist()], object)


def _masked(plain: Plain, made: Made) -> NDArray[Any]:
    """pandas' column of numbers of which some are missing; None where one is."""
    numbers, missing = plain(made.fields["_data"]), plain(made.fields["_mask"])
    if numbers.ndim != 1 or missing.dtype != bool or missing.shape != numbers.shape:
        raise Refused("it has a column of numbers of which it does not say which are missing")
    values: NDArray[Any] = numbers.astype(object)
    values[missing] = None
    return values if missing.any() else numbers


def _arrow_texts(plain: Plain, made: Made) -> NDArray[Any]:
    """pandas 3's column of texts in Arrow's form."""
    return plain(made.fields["_pa_array"] if "_pa_array" in made.fields else made.fields["_data"])


def _arrow_array(plain: Plain, made: Made) -> NDArray[Any]:
    """Arrow's texts: offsets into one run of bytes. None where the bits of the first buffer say that there is none."""
    kind, count, _, start, buffers, *_ = plain(made.args[0])
    if kind not in ("string", "large_string") or len(buffers) != 3 or not (type(count) is type(start) is int):
        raise Refused(f"it has an Arrow column of {str(kind)[:40]!r}, which is not read here")
    known, offsets, content = buffers
    if not count:
        return np.empty(0, object)
    ends = np.frombuffer(offsets, np.int64 if kind == "large_string" else np.int32)[start : start + count + 1]
    if (
        start < 0
        or len(ends) != count + 1
        or ends[0] < 0
        or (np.diff(ends) < 0).any()
        or ends[-1] > len(content or b"")
    ):
        raise Refused("it has an Arrow column whose texts lie outside of it")
    bits = None if known is None else np.unpackbits(np.frombuffer(known, np.uint8), bitorder="little")[start:]
    texts = np.empty(count, object)
    for at in range(count):
        if bits is None or bits[at]:
            texts[at] = bytes(content[ends[at] : ends[at + 1]]).decode()
    return texts


def _iterable(plain: Plain, made: Made) -> list[Any]:
    """The items of ``list([...])`` and the like, with those appended."""
    given = plain(made.args[0]) if made.args else []
    if not isinstance(given, list | tuple | set | frozenset):
        raise Refused(f"it makes a {made.of.name} of something else than items")
    return [*given, *(plain(item) for item in made.items)]


def _dict(plain: Plain, made: Made) -> dict[Any, Any]:
    given = plain(made.args[0]) if made.args else {}
    return dict(given) | {plain(key): plain(value) for key, value in made.entries}


def _bytes(plain: Plain, made: Made) -> bytes:
    """``bytes()``, ``bytes(b"...")`` and, as Python 2 and 3 share bytes, ``encode("...", "latin1")``."""
    content = plain(made.args[0]) if made.args else b""
    if isinstance(content, str):
        return content.encode("utf-8" if plain(made.args[1]) in ("utf-8", "utf8") else "latin1")
    if not isinstance(content, bytes | bytearray):
        raise Refused("it makes bytes of something else than text")
    return bytes(content)


def _number(kind: type) -> Callable[[Plain, Made], Any]:
    def make(plain: Plain, made: Made) -> Any:
        parts = [plain(part) for part in made.args]
        if not all(isinstance(part, int | float | str) for part in parts):
            raise Refused(f"it makes a {kind.__name__} of something else than a number or text")
        return kind(*parts)

    return make


def _range_of(parts: Any) -> range:
    result = range(*parts)
    if len(result) > LONGEST_RANGE:
        raise Refused(f"it has a range of {len(result)} numbers")
    return result


def _none(_: Plain, made: Made) -> Any:
    raise Refused(f"it has a bare {made.of.name}, which is no data")


def _of_class(plain: Plain, made: Made) -> Any:
    """Python 2's way of making an instance: the class, its base, the base's state; then the state."""
    if not isinstance(made.args[0], Known):
        raise Refused("it makes an instance of no class")
    return made.args[0].make(plain, Made(made.args[0], (), made.state))


_BUILTINS: Mapping[str, Callable[[Plain, Made], Any]] = {
    "list": _iterable,
    "tuple": lambda plain, made: tuple(_iterable(plain, made)),
    "set": lambda plain, made: set(_iterable(plain, made)),
    "frozenset": lambda plain, made: frozenset(_iterable(plain, made)),
    "dict": _dict,
    "bytes": _bytes,
    "bytearray": lambda plain, made: bytearray(_bytes(plain, made)),
    **{kind.__name__: _number(kind) for kind in (int, float, complex, str)},
    "range": lambda plain, made: _range_of(plain(made.args)),
    "slice": lambda plain, made: slice(*plain(made.args)),
    "object": _none,
}
_PYTHON_2 = {"long": "int", "unicode": "str", "basestring": "str", "xrange": "range"}
_NUMPY_MODULES = {
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
}
_NUMPY: Mapping[str, Callable[[Plain, Made], Any]] = {
    "ndarray": _none,
    "dtype": _type,
    "_reconstruct": _array,
    "scalar": _scalar,
    "_frombuffer": _array_of_buffer,
}
_SPARSE: Mapping[str, Callable[[Plain, Made], Any]] = {
    name: (_coordinates if name.startswith("coo") else _compressed)(name)
    for name in ("csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array")
}
_NAMED = (
    *(("pandas.core.indexes.base", "Index"), ("pandas.core.indexes.range", "RangeIndex")),
    *(("pandas.core.indexes.numeric", "Int64Index"), ("pandas", "Index"), ("pandas", "RangeIndex")),
    *(("pandas", "StringDtype"), ("pandas.core.arrays.string_", "StringDtype")),
    *(("pandas.arrays", "StringArray"), ("pandas.core.arrays.string_", "StringArray")),
    *(("pandas", name) for name in ("NA", "Categorical", "CategoricalDtype", "BooleanDtype")),
    *(("pandas", f"{kind}{bits}Dtype") for kind in ("Int", "UInt", "Float") for bits in (8, 16, 32, 64)),
    *(("pandas.core.dtypes.dtypes", "CategoricalDtype"), ("pandas.core.arrays.categorical", "Categorical")),
)
"""Classes that pickles of tables name without making instances that matter."""
_OTHERS: Mapping[tuple[str, str], Callable[[Plain, Made], Any]] = {
    ("collections", "OrderedDict"): _dict,
    ("_codecs", "encode"): _bytes,
    ("copy_reg", "_reconstructor"): _of_class,
    ("copyreg", "_reconstructor"): _of_class,
    ("pandas.core.frame", "DataFrame"): _table,
    ("pandas", "DataFrame"): _table,
    ("pandas.core.internals.managers", "BlockManager"): _blocks,
    ("pandas._libs.internals", "_unpickle_block"): lambda plain, made: plain(made.args),
    ("pandas.core.indexes.base", "_new_Index"): _index,
    **dict.fromkeys(_NAMED, _none),
    **{("pandas.arrays", f"{kind}Array"): _masked for kind in ("Integer", "Floating", "Boolean")},
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _texts,
    ("pandas.arrays", "ArrowStringArray"): _arrow_texts,
    ("pandas.core.arrays.string_arrow", "ArrowStringArray"): _arrow_texts,
    ("pyarrow.lib", "type_for_alias"): lambda plain, made: plain(made.args[0]),
    ("pyarrow.lib", "py_buffer"): lambda plain, made: plain(made.args[0]),
    ("pyarrow.lib", "_restore_array"): _arrow_array,
    ("pyarrow.lib", "chunked_array"): lambda plain, made: np.concatenate(plain(made.args[0])),
}


def known(module: str, name: str) -> Known | None:
    """What the name in that module stands for; None if it is neither data nor known to be harmless."""
    make = _OTHERS.get((module, name))
    if module in ("builtins", "__builtin__"):
        make = _BUILTINS.get(_PYTHON_2.get(name, name))
    elif module in _NUMPY_MODULES:
        make = _NUMPY.get(name)
    elif module.split(".")[0] == "chumpy":
        make = _chumpy
    elif module.startswith("scipy.sparse."):  # its private modules have moved over the years
        make = _SPARSE.get(name)
    return None if make is None else Known(name, make)
