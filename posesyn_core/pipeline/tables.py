"""Tables on disk: rows of attrs values in Parquet parts that are either complete or absent.

A table is a folder of parts. Part k holds the results of the units k * PART .. (k + 1) * PART - 1 of the stage's
fixed order, so its name and content depend neither on batch size nor on interruptions. Each unit has one row: its
value, or the reason for its rejection in the column ``rejected``. Parts are sealed
(:mod:`posesyn_core.pipeline.seals`): one that is not what was written is a :class:`DamagedFile`, however it is read.
"""

import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, cast

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.order import RECIPE
from posesyn_core.pipeline.seals import DamagedFile, Seal, read_bounds, read_columns, read_seal, read_sealed, sealed
from posesyn_core.values.places import EncodedImage, Url, place_of

T = TypeVar("T")
V = TypeVar("V")

UNIT, REJECTED = "unit", "rejected"
DECODED = 32
"""Rows that are Python's dicts and lists at the same time. Those of a thousand rows live so long that the garbage
collector looks through everything that the process has, again and again: a fifth of the time of a cheap stage."""
_PART = re.compile(r"\d{6,}\.parquet")


@frozen
class Row(Generic[V]):
    """The result for one unit of work: a value, or why there is none."""

    unit: str
    value: V | None = None
    rejected: str | None = None


@frozen
class Column:
    """A column beside the fields of the class, for whoever reads the file: it repeats a part of each value."""

    name: str
    kind: type
    value: Callable[[Any], Any]


@frozen
class Table(Generic[V]):
    """The rows of one stage, all of one attrs class; ``columns`` are written beside its fields, and never read."""

    folder: Path
    of: type[V]
    columns: tuple[Column, ...] = ()

    def part(self, number: int) -> Path:
        """The file of one part."""
        return self.folder / f"{number:06d}.parquet"

    def parts(self) -> list[Path]:
        """The parts that exist, in order."""
        return sorted((path for path in self.folder.glob("*.parquet") if _PART.fullmatch(path.name)), key=part_number)

    def seal(self, number: int) -> Seal | None:
        """What a part says of itself; None if it is not there."""
        part = self.part(number)
        return self._read(part, read_seal) if part.exists() else None

    def seals(self) -> Iterator[Seal]:
        """Those of all parts, in order."""
        return (self._read(part, read_seal) for part in self.parts())

    def write_part(self, number: int, rows: Sequence[Row[V]], identity: str = "") -> None:
        """Write one part atomically; ``identity`` tells what it is made of."""
        columns: dict[str, list[Any]] = {UNIT: [row.unit for row in rows], REJECTED: [row.rejected for row in rows]}
        plain = [{} if row.value is None else to_plain(row.value) for row in rows]
        schema = self.schema()
        for name in schema.names[2 : len(schema) - len(self.columns)]:
            columns[name] = [row.get(name) for row in plain]
        for extra in self.columns:
            columns[extra.name] = [None if row.value is None else extra.value(row.value) for row in rows]
        rejected = sum(row.rejected is not None for row in rows)
        write_atomic(self.part(number), sealed(pa.table(columns, schema=schema), identity, rejected))

    def verify(self, part: Path) -> None:
        """DamagedFile unless every byte of a part is as it was written."""
        self._read(part, read_sealed)

    def _read(self, part: Path, how: Callable[[Path], T]) -> T:
        try:
            return how(part)
        except (ValueError, FileNotFoundError) as error:
            fault = "is gone" if isinstance(error, FileNotFoundError) else str(error)
            raise DamagedFile(part, fault, check_remedy(part)) from error

    def schema(self) -> pa.Schema:
        """``unit``, ``rejected``, then one column per field of the class, and those beside them."""
        fields = [pa.field(UNIT, pa.string(), nullable=False), pa.field(REJECTED, pa.string())]
        beside = [pa.field(extra.name, _arrow_of(extra.kind)) for extra in self.columns]
        return pa.schema([*fields, *_arrow_type(self.of), *beside])

    def rows(self) -> Iterator[Row[V]]:
        """All rows in order, one part in memory at a time."""
        for part in self.parts():
            yield from self.rows_of(part)

    def rows_of(self, part: Path) -> Iterator[Row[V]]:
        """The rows of one part, in order."""
        for plain in _plain_rows(self._read(part, read_sealed)):
            unit, rejected = plain.pop(UNIT), plain.pop(REJECTED)
            yield Row(unit, None if rejected is not None else from_plain(plain, self.of), rejected)

    def values(self) -> Iterator[V]:
        """The values of the rows that were not rejected."""
        return (row.value for row in self.rows() if row.value is not None)

    def column(self, name: str) -> Iterator[tuple[str, Any]]:
        """(unit, value of one scalar column) of the rows that were not rejected, reading nothing else.

        A field within a value is named with dots: "verdict.keep".
        """
        for part in self.parts():
            yield from self.column_of(part, name)

    def column_of(self, part: Path, name: str) -> Iterator[tuple[str, Any]]:
        """As :meth:`column`, of one part."""
        whole, *fields = name.split(".")
        table = self._columns(part, UNIT, REJECTED, name)
        values = pc.struct_field(table[whole], fields) if fields else table[whole]
        triples = zip(*(column.to_pylist() for column in (table[UNIT], table[REJECTED], values)), strict=True)
        yield from ((unit, value) for unit, rejected, value in triples if rejected is None)

    def bounds(self, part: Path, name: str) -> tuple[float, float]:
        """The least and the greatest number in a column of a part, from its footer; (inf, -inf) if there is none."""
        return self._read(part, lambda path: read_bounds(path, name))

    def lengths(self, name: str) -> Iterator[int]:
        """How many items the list column ``name`` has, for the rows that were not rejected."""
        for part in self.parts():
            table = self._columns(part, REJECTED, name)
            yield from pc.list_value_length(table[name].filter(pc.is_null(table[REJECTED]))).to_pylist()

    def pick(self, units: Iterable[str], parts: Iterable[Path] | None = None) -> dict[str, V]:
        """The values of the named units, looked for in some parts or in all; only their rows are decoded."""
        wanted = set(units)
        found: dict[str, V] = {}
        for part in self.parts() if parts is None else parts:
            at = [i for i, name in enumerate(self.units(part)) if name in wanted]
            for plain in self._read(part, read_sealed).take(at).to_pylist() if at else ():
                unit, rejected = plain.pop(UNIT), plain.pop(REJECTED)
                if rejected is None:
                    found[unit] = from_plain(plain, self.of)
        return found

    def units(self, part: Path) -> list[str]:
        """The ids of a part's units, in order."""
        return self._columns(part, UNIT)[UNIT].to_pylist()

    def rejections(self) -> Iterator[tuple[str, str]]:
        """(unit, reason) of every rejected unit."""
        for part in self.parts():
            if not self._read(part, read_seal).rejected:
                continue
            table = self._columns(part, UNIT, REJECTED)
            pairs = zip(table[UNIT].to_pylist(), table[REJECTED].to_pylist(), strict=True)
            yield from ((unit, reason) for unit, reason in pairs if reason is not None)

    def _columns(self, part: Path, *names: str) -> pa.Table:
        return self._read(part, lambda path: read_columns(path, names))


def _plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows as Python's dicts and lists, few at a time."""
    return (row for some in table.to_batches(max_chunksize=DECODED) for row in some.to_pylist())


def part_number(part: Path) -> int:
    """The number in the name of a part."""
    return int(part.stem)


def run_of(path: Path) -> Path:
    """The run folder that a file lies in; its own folder if it lies in none."""
    return next((folder for folder in path.parents if (folder / RECIPE).is_file()), path.parent)


def check_remedy(path: Path) -> str:
    """What to do about a damaged file of a run."""
    return f"`posesyn check {run_of(path)}` names the command that repairs it"


def to_plain(value: Any) -> Any:
    """An attrs value as nested dicts of what Arrow takes; arrays are flattened in C order."""
    if isinstance(value, Url):
        return {"path": value.stored(), "data": None}
    if isinstance(value, np.ndarray):
        return value.ravel()
    names = _names(cast(Any, type(value)))
    if names is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, bytes):
        return {"path": None, "data": value}
    if isinstance(value, Path):
        return {"path": str(value), "data": None}
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return value


@cache
def _names(cls: type) -> tuple[str, ...] | None:
    """The fields of an attrs class; None of any other."""
    return tuple(field.name for field in attrs.fields(cls)) if attrs.has(cls) else None


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
        return place_of(plain["path"]) if plain["data"] is None else plain["data"]
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
    return kind is Path or (
        isinstance(kind, UnionType) and set(typing.get_args(kind)) == set(typing.get_args(EncodedImage))
    )


def without_none(kind: Any) -> Any:
    """``X`` of the type ``X | None``."""
    if isinstance(kind, UnionType) and NoneType in typing.get_args(kind):
        rest = [k for k in typing.get_args(kind) if k is not NoneType]
        return rest[0] if len(rest) == 1 else kind
    return kind
