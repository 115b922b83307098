"""Tables on disk: rows of attrs values in Parquet parts that are either complete or absent.

A table is a folder of parts. Part k holds the results of the units k * PART .. (k + 1) * PART - 1 of the stage's
fixed order, so its name and content depend neither on batch size nor on interruptions. Each unit has one row: its
value, or the reason for its rejection in the column ``rejected``.
"""

import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, cast

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from attrs import frozen

from posesyn_core.files.paths import atomic_path

V = TypeVar("V")

UNIT, REJECTED = "unit", "rejected"


@frozen
class Row(Generic[V]):
    """The result for one unit of work: a value, or why there is none."""

    unit: str
    value: V | None = None
    rejected: str | None = None


@frozen
class Table(Generic[V]):
    """The rows of one stage, all of one attrs class."""

    folder: Path
    of: type[V]

    def part(self, number: int) -> Path:
        """The file of one part."""
        return self.folder / f"{number:06d}.parquet"

    def parts(self) -> list[Path]:
        """The parts that exist, in order."""
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def write_part(self, number: int, rows: Sequence[Row[V]]) -> None:
        """Write one part atomically."""
        columns: dict[str, list[Any]] = {UNIT: [row.unit for row in rows], REJECTED: [row.rejected for row in rows]}
        plain = [{} if row.value is None else to_plain(row.value) for row in rows]
        schema = self.schema()
        for name in schema.names[2:]:
            columns[name] = [row.get(name) for row in plain]
        with atomic_path(self.part(number)) as temporary:
            pq.write_table(pa.table(columns, schema=schema), temporary, compression="zstd")

    def schema(self) -> pa.Schema:
        """``unit``, ``rejected``, then one column per field of the class."""
        fields = [pa.field(UNIT, pa.string(), nullable=False), pa.field(REJECTED, pa.string())]
        return pa.schema(fields + list(_arrow_type(self.of)))

    def rows(self) -> Iterator[Row[V]]:
        """All rows in order, one part in memory at a time."""
        for part in self.parts():
            for plain in pq.read_table(part).to_pylist():
                unit, rejected = plain.pop(UNIT), plain.pop(REJECTED)
                yield Row(unit, None if rejected is not None else from_plain(plain, self.of), rejected)

    def values(self) -> Iterator[V]:
        """The values of the rows that were not rejected."""
        return (row.value for row in self.rows() if row.value is not None)

    def column(self, name: str) -> Iterator[tuple[str, Any]]:
        """(unit, value of one scalar column) of the rows that were not rejected, reading nothing else.

        A field within a value is named with dots: "verdict.keep".
        """
        whole, *fields = name.split(".")
        for part in self.parts():
            table = pq.ParquetFile(part).read(columns=[UNIT, REJECTED, name])
            values = pc.struct_field(table[whole], fields) if fields else table[whole]
            triples = zip(*(column.to_pylist() for column in (table[UNIT], table[REJECTED], values)), strict=True)
            yield from ((unit, value) for unit, rejected, value in triples if rejected is None)

    def lengths(self, name: str) -> Iterator[int]:
        """How many items the list column ``name`` has, for the rows that were not rejected."""
        for part in self.parts():
            table = pq.read_table(part, columns=[REJECTED, name])
            yield from pc.list_value_length(table[name].filter(pc.is_null(table[REJECTED]))).to_pylist()

    def pick(self, units: Iterable[str]) -> dict[str, V]:
        """The values of the named units; only their rows are decoded."""
        wanted = set(units)
        found: dict[str, V] = {}
        for part in self.parts():
            names = pq.read_table(part, columns=[UNIT])[UNIT].to_pylist()
            at = [i for i, name in enumerate(names) if name in wanted]
            if at:
                for plain in pq.read_table(part).take(at).to_pylist():
                    unit, rejected = plain.pop(UNIT), plain.pop(REJECTED)
                    if rejected is None:
                        found[unit] = from_plain(plain, self.of)
        return found

    def rejections(self) -> Iterator[tuple[str, str]]:
        """(unit, reason) of every rejected unit."""
        for part in self.parts():
            table = pq.read_table(part, columns=[UNIT, REJECTED])
            pairs = zip(table[UNIT].to_pylist(), table[REJECTED].to_pylist(), strict=True)
            yield from ((unit, reason) for unit, reason in pairs if reason is not None)


def to_plain(value: Any) -> Any:
    """An attrs value as nested dicts of what Arrow takes; arrays are flattened in C order."""
    if attrs.has(type(value)):
        return {a.name: to_plain(getattr(value, a.name)) for a in attrs.fields(type(value))}
    if isinstance(value, np.ndarray):
        return value.ravel()
    if isinstance(value, bytes):
        return {"path": None, "data": value}
    if isinstance(value, Path):
        return {"path": str(value), "data": None}
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(plain: Mapping[str, Any], cls: type[V]) -> V:
    """The inverse of :func:`to_plain`; a field that the class has got since the table was written has its default."""
    types = _types(cast(Any, cls))
    fields = attrs.fields_dict(cast(Any, cls)).values()
    written = [a for a in fields if a.name in plain or a.default is attrs.NOTHING]
    arguments = {a.name: _restore(plain[a.name], types[a.name], a.metadata.get("shape")) for a in written}
    return cls(**arguments)


@cache
def _types(cls: type) -> dict[str, Any]:
    """The fields' types; to find them out takes as long as to make a value."""
    return typing.get_type_hints(cls)


def _restore(plain: Any, kind: Any, shape: tuple[int | str, ...] | None) -> Any:
    if plain is None:
        return None
    if shape is not None:
        return np.asarray(plain, np.float32).reshape([-1 if isinstance(n, str) else n for n in shape])
    kind = without_none(kind)
    if _is_image(kind):
        return Path(plain["path"]) if plain["data"] is None else plain["data"]
    if attrs.has(kind):
        return from_plain(plain, kind)
    if typing.get_origin(kind) is tuple:
        return tuple(_restore(item, typing.get_args(kind)[0], None) for item in plain)
    return plain


def _arrow_type(cls: type) -> Iterator[pa.Field]:
    types = _types(cls)
    for attribute in attrs.fields(cls):
        shape = attribute.metadata.get("shape")
        kind = pa.list_(pa.float32()) if shape is not None else _arrow_of(without_none(types[attribute.name]))
        yield pa.field(attribute.name, kind)


def _arrow_of(kind: Any) -> pa.DataType:
    if _is_image(kind):
        return pa.struct([("path", pa.string()), ("data", pa.binary())])
    if attrs.has(kind):
        return pa.struct(list(_arrow_type(kind)))
    if typing.get_origin(kind) is tuple:
        return pa.list_(_arrow_of(typing.get_args(kind)[0]))
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[kind]


def _is_image(kind: Any) -> bool:
    return kind is Path or (isinstance(kind, UnionType) and set(typing.get_args(kind)) == {Path, bytes})


def without_none(kind: Any) -> Any:
    """``X`` of the type ``X | None``."""
    if isinstance(kind, UnionType) and NoneType in typing.get_args(kind):
        rest = [k for k in typing.get_args(kind) if k is not NoneType]
        return rest[0] if len(rest) == 1 else kind
    return kind
