"""Sealed Parquet files: what a part of a table was made of, and checksums that tell every changed bit.

The footer of a part holds beside Parquet's own metadata: the ``identity`` of the work that the part is the result of,
how many of its rows are rejections, and two checksums, of the body (all rows) and of the footer. Reading a part whole
verifies both; reading single columns verifies the footer and, by Parquet's own checksums, the pages that are read.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cache, singledispatch
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from attrs import frozen

from posesyn_core.errors import UserError

IDENTITY, REJECTED_ROWS, BODY, FOOTER = (f"posesyn.{name}" for name in ("identity", "rejected", "body", "footer"))
_DIGEST = 16
_UNSEALED = "0" * 2 * _DIGEST
_TAIL = 8
"""Bytes at the end of a Parquet file: the footer's length and the magic number."""
_MAGIC = b"PAR1"


class DamagedFile(UserError):
    """A file of a run is not what was written; ``path`` is the file, ``fault`` what is wrong with it."""

    def __init__(self, path: Path, fault: str, remedy: str) -> None:
        super().__init__(f"{str(path)!r} {fault}; {remedy}")
        self.path, self.fault = path, fault


@frozen
class Seal:
    """What the footer of a part says: whose results these are, and the rows' checksum."""

    identity: str
    body: str
    rows: int
    rejected: int


def digest(data: bytes | bytearray | memoryview) -> str:
    """The checksum of bytes, as hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=_DIGEST).hexdigest()


def check_regular(path: Path) -> None:
    """ValueError if what stands there is no regular file: a folder, a link to nowhere, a pipe, which never ends."""
    if os.path.lexists(path) and not path.is_file():
        raise ValueError("is damaged: it is no regular file")


def sealed(table: pa.Table, identity: str, rejected: int) -> bytes:
    """The table as a sealed Parquet file; the same table and identity give the same bytes."""
    sink = pa.BufferOutputStream()
    places = {name: secrets.token_hex(_DIGEST).encode() for name in (BODY, FOOTER)}  # where the checksums go
    with pq.ParquetWriter(sink, table.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(
            {IDENTITY: identity, REJECTED_ROWS: str(rejected), **{name: at.decode() for name, at in places.items()}}
        )
    data = bytes(sink.getvalue())
    start = _footer_start(data)
    body, footer = data[:start], data[start:]
    footer = footer.replace(places[BODY], digest(body).encode()).replace(places[FOOTER], _UNSEALED.encode())
    return body + footer.replace(_UNSEALED.encode(), digest(footer).encode())


def read_seal(path: Path) -> Seal:
    """What the footer says, verified. ValueError telling what is wrong with it, OSError if it can't be read."""
    check_regular(path)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if size < _TAIL or tail[4:] != _MAGIC or length + _TAIL > size:
            raise ValueError("is truncated or no Parquet file")
        file.seek(size - _TAIL - length)
        return _verified(file.read())


def read_sealed(path: Path) -> pa.Table:
    """All rows, every byte verified; errors as in :func:`read_seal`."""
    check_regular(path)
    data = path.read_bytes()
    if len(data) < _TAIL or data[-4:] != _MAGIC or (start := _footer_start(data)) < 0:
        raise ValueError("is truncated or no Parquet file")
    seal = _verified(data[start:])
    if digest(memoryview(data)[:start]) != seal.body:
        raise ValueError("is damaged: its rows do not agree with their checksum")
    return pq.read_table(pa.BufferReader(data))


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns, reading and verifying nothing else; errors as in :func:`read_seal`."""
    read_seal(path)
    try:
        return pq.ParquetFile(path, page_checksum_verification=True).read(columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"is damaged: {error}") from error


def read_bounds(path: Path, column: str) -> tuple[float, float]:
    """The least and the greatest number of a column, from the footer alone; (inf, -inf) if it has none.

    Errors as in :func:`read_seal`.
    """
    read_seal(path)
    metadata = pq.read_metadata(path)
    at = metadata.schema.names.index(column)
    found = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)]
    known = [statistics for statistics in found if statistics is not None and statistics.has_min_max]
    return min((s.min for s in known), default=np.inf), max((s.max for s in known), default=-np.inf)


def _footer_start(data: bytes) -> int:
    return len(data) - _TAIL - int.from_bytes(data[-_TAIL:-4], "little")


def _verified(footer: bytes) -> Seal:
    """The seal in the last bytes of a file, from where its footer starts."""
    try:
        metadata = pq.read_metadata(pa.BufferReader(_MAGIC + footer))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError("is damaged: its footer can't be read") from error
    found = metadata.metadata or {}
    try:
        identity, body, stated = (found[name.encode()].decode() for name in (IDENTITY, BODY, FOOTER))
        rejected = int(found[REJECTED_ROWS.encode()])
    except (KeyError, ValueError) as error:
        raise ValueError("is no part of this table: it has no seal") from error
    if digest(footer.replace(stated.encode(), _UNSEALED.encode())) != stated:
        raise ValueError("is damaged: its footer does not agree with its checksum")
    return Seal(identity, body, metadata.num_rows, rejected)


def fingerprint(*values: Any) -> str:
    """A checksum of plain values, arrays and attrs values: equal for equal ones, on every machine.

    A file counts by its name and size, so that a folder may move but a picture can't be exchanged unseen.
    """
    pieces: list[bytes] = []
    for value in values:
        _add(value, pieces)
    return digest(b"".join(pieces))


def _add(value: Any, to: list[bytes]) -> None:
    """The bytes that stand for a value."""
    _how(cast(Any, type(value)))(value, to)


@cache
def _how(cls: type) -> Callable[[Any, list[bytes]], None]:
    """What :func:`_pieces` does for a class; it takes as long to look that up as to do it."""
    return _pieces.dispatch(cls)


@singledispatch
def _pieces(value: Any, to: list[bytes]) -> None:
    fields = _fields(cast(Any, type(value)))
    if fields is None:
        to.append(f"{type(value).__name__}:{value!r};".encode(errors="surrogatepass"))
        return
    to.append(type(value).__name__.encode())
    for name, encoded in fields:
        to.append(encoded)
        _add(getattr(value, name), to)


@cache
def _fields(cls: type) -> tuple[tuple[str, bytes], ...] | None:
    """The names of an attrs class's fields, and as bytes; None of any other class. Every part asks for thousands."""
    return tuple((field.name, field.name.encode()) for field in attrs.fields(cls)) if attrs.has(cls) else None


@_pieces.register
def _(value: np.ndarray, to: list[bytes]) -> None:
    to += (f"{value.dtype.str}{value.shape}".encode(), value.tobytes())


@_pieces.register
def _(value: bytes, to: list[bytes]) -> None:
    to += (f"{len(value)}:".encode(), value)


@_pieces.register
def _(value: Path, to: list[bytes]) -> None:
    try:
        size = value.stat().st_size
    except OSError:
        size = -1
    to.append(f"{value.name}:{size};".encode(errors="surrogatepass"))


@_pieces.register(tuple)
@_pieces.register(list)
def _(value: Sequence[Any], to: list[bytes]) -> None:
    to.append(f"{len(value)}[".encode())
    for item in value:
        _add(item, to)


@_pieces.register
def _(value: Mapping, to: list[bytes]) -> None:
    for key in sorted(value):
        to.append(f"{key!r}=".encode())
        _add(value[key], to)
