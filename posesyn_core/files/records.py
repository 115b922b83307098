"""Values kept on disk instead of in memory, any of them read at will: training data of any size.

A record is a value of an attrs class: its numbers, texts and paths as JSON, and its arrays and bytes behind that as
they are. Nothing of a record is code. The file has no name and goes with the process: it is a cache, not a format.
"""

import errno
import json
import os
import tempfile
import types
import typing
import zlib
from array import array
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar, overload

import attrs
import numpy as np

V = TypeVar("V")

PACKED = 4096
"""Arrays of whole bytes (masks) from this size on are compressed."""


class Records(Sequence[V], Generic[V]):
    """A sequence of values of one attrs class in a file of its own below ``folder``; in memory are their places only.

    Appended to first, then read, from several threads and forked processes at once. Every reading makes a new value.
    """

    def __init__(self, of: type[V], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.of = of
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed with this object
        self._ends = array("Q", [0])
        self._lock = Lock()

    def append(self, value: V) -> None:
        """Write a value at the end."""
        data = encode(value)
        self._file.seek(self._ends[-1])
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, "no space left for training data")
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> V: ...
    @overload
    def __getitem__(self, at: slice) -> list[V]: ...
    def __getitem__(self, at: int | slice) -> V | list[V]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        place = range(len(self))[at]
        start, end = self._ends[place], self._ends[place + 1]
        return decode(self._read(start, end - start), self.of)

    def _read(self, start: int, size: int) -> bytes:
        if hasattr(os, "pread"):  # forked processes share the file's place
            return os.pread(self._file.fileno(), size, start)
        with self._lock:  # and so do threads
            self._file.seek(start)
            return bytes(self._file.read(size))


def encode(value: Any) -> bytes:
    """A value of an attrs class, and of such in its fields, as a record."""
    parts: list[bytes] = []
    header = json.dumps(_plain(value, parts)).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *parts])


def decode(data: bytes, of: type[V]) -> V:
    """The value of the class ``of`` in a record."""
    start = 4 + int.from_bytes(data[:4], "little")
    value: V = _restored(json.loads(data[4:start]), of, _Reader(data, start))
    return value


class _Reader:
    """The parts behind the header, one after the other."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.at = memoryview(data), start

    def take(self, size: int) -> memoryview:
        self.at += size
        return self.data[self.at - size : self.at]


def _plain(value: Any, parts: list[bytes]) -> Any:
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value).tobytes()
        packed = value.dtype.itemsize == 1 and len(content) >= PACKED
        parts.append(zlib.compress(content, 1) if packed else content)
        return {"array": [value.dtype.str, value.shape, len(parts[-1]), packed]}
    if isinstance(value, bytes):
        parts.append(value)
        return {"bytes": len(value)}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return [_plain(item, parts) for item in value]
    if attrs.has(type(value)):
        return {"fields": [_plain(getattr(value, field.name), parts) for field in attrs.fields(type(value))]}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"records hold no {type(value).__name__}")


def _restored(plain: Any, kind: Any, reader: _Reader) -> Any:
    if isinstance(plain, list):
        inner = next((args[0] for each in _options(kind) if (args := typing.get_args(each))), Any)
        return tuple(_restored(item, inner, reader) for item in plain)
    if not isinstance(plain, dict):
        return plain
    ((tag, content),) = plain.items()
    if tag == "array":
        dtype, shape, size, packed = content
        part = reader.take(size)
        return np.frombuffer(zlib.decompress(part) if packed else part, dtype).reshape(shape).copy()
    if tag == "bytes":
        return bytes(reader.take(content))
    if tag == "path":
        return Path(content)
    (of,) = (each for each in _options(kind) if attrs.has(each) and _count(each) == len(content))
    return of(*(_restored(item, hint, reader) for item, hint in zip(content, _hints(of), strict=True)))


def _options(kind: Any) -> Iterator[Any]:
    """The types of a union, or the one type."""
    yield from typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


@cache
def _hints(of: type) -> tuple[Any, ...]:
    hints = typing.get_type_hints(of)
    return tuple(hints[field.name] for field in attrs.fields(of))


def _count(of: type) -> int:
    return len(attrs.fields(of))
