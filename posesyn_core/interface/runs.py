"""Runs from Python: start one, and read one into arrays."""

import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.errors import UserError
from posesyn_core.interface.making import plugins
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.pipeline.run import open_run as open_folder
from posesyn_core.pipeline.tables import REJECTED, UNIT, Table, without_none
from posesyn_core.progress import tell
from posesyn_core.recipe import Recipe, load_recipe
from posesyn_core.runs.rounds import run_rounds
from posesyn_core.runs.stages import run_all


@frozen
class RunTables:
    """A run's tables and figures: ``run.arrays("score", "error")``."""

    run: Run

    @property
    def recipe(self) -> Recipe:
        """The run's resolved recipe."""
        return self.run.recipe

    def figures(self, stage: str) -> dict[str, Any]:
        """The counts and figures that a finished stage ended with."""
        return self.run.require(stage)

    def values(self, stage: str) -> list[Any]:
        """The stage's results as the attrs values that they are, without the rejected units."""
        return list(self._table(stage).values())

    def rejected(self, stage: str) -> dict[str, str]:
        """Why units were rejected, by their ids."""
        return dict(self._table(stage).rejections())

    def columns(self, stage: str) -> list[str]:
        """The columns that :meth:`arrays` knows, nested ones with dots."""
        return [UNIT, *_leaves(self._table(stage).of)]

    def arrays(self, stage: str, *columns: str) -> dict[str, NDArray[Any]]:
        """Columns of a stage's table, one row for each unit that was not rejected, in the table's order.

        No ``columns``: all of them. Arrays of one shape come stacked, "estimate.joints3d" as (N, 24, 3), NaN where a
        row has none; those of varying length, and texts, as object arrays of N. UserError for an unknown column.
        """
        table, known = self._table(stage), self.columns(stage)
        wanted = columns or tuple(known)
        for name in wanted:
            if name not in known:
                raise UserError(f"the table {stage!r} has no column {name!r}; it has {', '.join(known)}")
        shapes = _leaves(table.of)
        read = [pq.ParquetFile(part).read(columns=[*wanted, REJECTED]) for part in table.parts()]
        if not read:
            return {name: np.empty(0) for name in wanted}
        rows = pa.concat_tables(read)
        rows = rows.filter(pc.is_null(rows[REJECTED]))
        return {name: _array(_column(rows, name), shapes.get(name)) for name in wanted}

    def _table(self, stage: str) -> Table[Any]:
        tables = self.run.tables()
        if stage not in tables:
            raise UserError(f"the stage {stage!r} has no table; there are {', '.join(tables)}")
        return tables[stage]


def open_run(folder: Path | str) -> RunTables:
    """Open a run's folder to read its tables and figures; UserError if it is none."""
    return RunTables(open_folder(Path(folder), plugins()))


def run(recipe: Path | str, folder: Path | str | None = None, settings: Sequence[str] = ()) -> RunTables:
    """Run all stages of a recipe, or go on where an earlier call stopped; as the command ``posesyn run``.

    ``folder`` is where (default: runs/<the recipe's name>), ``settings`` are "section.key=value". The tables of a run
    of several rounds are those of the last one.
    """
    chosen = load_recipe(Path(recipe), settings)
    place = Path("runs") / chosen.name if folder is None else Path(folder)
    if chosen.rounds > 1:
        run_rounds(place, chosen, plugins(), _tell)
        return open_run(place / f"round-{chosen.rounds}")
    opened = create_run(place, chosen, plugins())
    run_all(opened, _tell)
    return RunTables(opened)


def _tell(stage: str, figures: Mapping[str, Any]) -> None:
    plain = [f"{name} {value}" for name, value in figures.items() if isinstance(value, int | float | str)]
    tell(f"{stage}: {', '.join(plain)}")


Shape = tuple[int | str, ...]


def _leaves(cls: type, prefix: str = "") -> dict[str, Shape | None]:
    """The columns of an attrs class, with the shape of those that are arrays; lists and images are none."""
    found: dict[str, Shape | None] = {}
    types = typing.get_type_hints(cls)
    for attribute in attrs.fields(cls):
        kind, name = without_none(types[attribute.name]), f"{prefix}{attribute.name}"
        if attrs.has(kind):
            found |= _leaves(kind, f"{name}.")
        elif "shape" in attribute.metadata or kind in (str, int, float, bool):
            found[name] = attribute.metadata.get("shape")
    return found


def _column(rows: pa.Table, name: str) -> pa.Array:
    whole, *fields = name.split(".")
    column = pc.struct_field(rows[whole], fields) if fields else rows[whole]
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _array(column: pa.Array, shape: Shape | None) -> NDArray[Any]:
    plain = column.to_numpy(zero_copy_only=False)
    if shape is None:
        return plain
    sizes = [-1 if isinstance(size, str) else size for size in shape]
    rows = [None if row is None else np.asarray(row, np.float32).reshape(sizes) for row in plain]
    found = {row.shape for row in rows if row is not None} or ({tuple(sizes)} if -1 not in sizes else set())
    if len(found) == 1:
        missing = np.full(found.pop(), np.nan, np.float32)
        return np.stack([missing if row is None else row for row in rows])
    each = np.empty(len(rows), object)
    each[:] = rows
    return each
