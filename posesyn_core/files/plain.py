"""Plain data as bytes, and back: what passes between two processes of which one has read a hostile file.

Nothing is called to read it, and no memory asked for that is not there: JSON for the structure, in which an array is
its type and shape, and behind it the arrays' bytes, in their order. It holds None, truth values, numbers, texts, bytes,
lists, dicts by text, and arrays of numbers and texts, or of such data. Tuples become lists.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LENGTH = 8
MOST_STRUCTURE = 1 << 26
"""Bytes of JSON, of which Python may make thirty times as many."""
_TYPE = re.compile(r"[<>|]([biufc]\d{1,2}|[SU]\d{1,9})")


def to_bytes(value: Any) -> bytes:
    """The bytes of ``value``; TypeError if something in it is no plain data."""
    parts: list[bytes] = []
    structure = json.dumps(_structure(value, parts)).encode()
    return b"".join([len(structure).to_bytes(_LENGTH, "little"), structure, *parts])


def from_bytes(data: bytes) -> Any:
    """The value in the bytes; ValueError if they are anything but what :func:`to_bytes` makes."""
    start = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    if start > min(len(data), MOST_STRUCTURE):
        raise ValueError(f"a structure of {start} bytes in {len(data)}")
    parts = _Parts(data, start)
    try:
        value = _value(json.loads(data[_LENGTH:start]), parts)
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"no plain data: {type(error).__name__}") from error
    if parts.at != len(data):
        raise ValueError(f"{len(data) - parts.at} bytes too many")
    return value


class _Parts:
    """The bytes behind the structure, one part after the other."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.at = memoryview(data), start

    def take(self, size: int) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self.data) - self.at:
            raise ValueError(f"a part of {size} bytes where there are {len(self.data) - self.at}")
        self.at += size
        return self.data[self.at - size : self.at]


def _structure(value: Any, parts: list[bytes]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biufSU":
        return _structure(value.item(), parts)
    if isinstance(value, np.ndarray):
        return _array(value, parts)
    if isinstance(value, bytes):
        parts.append(value)
        return {"bytes": len(value)}
    if isinstance(value, list | tuple):
        return [_structure(item, parts) for item in value]
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {"dict": {key: _structure(item, parts) for key, item in value.items()}}
    raise TypeError(f"it holds a {type(value).__name__}, where numbers and text belong")


def _array(array: NDArray[Any], parts: list[bytes]) -> Any:
    if array.dtype.kind == "O":
        return {"objects": [array.shape, [_structure(item, parts) for item in array.ravel().tolist()]]}
    if not _TYPE.fullmatch(array.dtype.str):
        raise TypeError(f"it holds an array of {str(array.dtype)[:60]}, where numbers or text belong")
    parts.append(np.ascontiguousarray(array).tobytes())
    return {"array": [array.dtype.str, array.shape]}


def _value(structure: Any, parts: _Parts) -> Any:
    if isinstance(structure, list):
        return [_value(item, parts) for item in structure]
    if not isinstance(structure, dict):
        return structure
    ((kind, content),) = structure.items()
    if kind == "dict":
        return {key: _value(item, parts) for key, item in content.items()}
    if kind == "bytes":
        return bytes(parts.take(content))
    if kind == "array":
        dtype, shape = content
        return _filled(dtype, shape, parts)
    if kind == "objects":
        shape, items = content
        return _objects(shape, items, parts)
    raise ValueError(f"a {kind[:40]!r}, which is unknown")


def _filled(kind: str, shape: Sequence[int], parts: _Parts) -> NDArray[Any]:
    """An array of numbers or text."""
    if not _TYPE.fullmatch(kind):
        raise ValueError(f"an array of the type {kind[:40]!r}")
    dtype, count = np.dtype(kind), _count(shape)
    return np.frombuffer(bytearray(parts.take(count * dtype.itemsize)), dtype, count).reshape(shape)


def _objects(shape: Sequence[int], items: Sequence[Any], parts: _Parts) -> NDArray[Any]:
    """An array of plain data."""
    if len(items) != _count(shape):
        raise ValueError(f"{len(items)} things in an array {shape}")
    result = np.empty(len(items), object)
    for at, item in enumerate(items):  # numpy would take lists for more dimensions
        result[at] = _value(item, parts)
    return result.reshape(shape)


def _count(shape: Sequence[int]) -> int:
    if len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"the shape {str(shape)[:60]}")
    return math.prod(shape)
