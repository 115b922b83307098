"""How a stage's units become rows: in order, in resumable parts, each failure confined to its unit."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow.parquet as pq

from posesyn_core.errors import PoseSynError, UserError
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.progress import progress

U = TypeVar("U")
R = TypeVar("R")
V = TypeVar("V")

Unit = tuple[str, U]
"""A unit's id and what there is to work on."""


def fill(
    table: Table[V],
    units: Iterable[Unit[U]],
    work: Callable[[Iterator[list[Unit[U]]]], Iterator[Row[V]]],
    *,
    part: int,
    batch: int,
    label: str,
    total: int | None = None,
) -> tuple[int, int]:
    """Do the units whose part is not in ``table`` yet; return (units, rejected ones) of the whole table.

    ``work`` takes an iterator of batches and yields one row per unit, in order; it may read ahead. A batch never
    spans two parts, so that a resumed run forms the same batches, and with them the same last bits, as an
    undisturbed one.
    """
    open_parts: deque[tuple[int, int]] = deque()

    with progress(label, total) as shown:

        def batches() -> Iterator[list[Unit[U]]]:
            stream = iter(units)
            for number in itertools.count():
                chunk = list(itertools.islice(stream, part))
                if not chunk:
                    return
                if table.part(number).exists():
                    shown.advance(len(chunk))
                    continue
                open_parts.append((number, len(chunk)))
                yield from (chunk[at : at + batch] for at in range(0, len(chunk), batch))

        rows: list[Row[V]] = []
        for row in work(batches()):
            rows.append(row)
            shown.advance()
            if len(rows) == open_parts[0][1]:
                table.write_part(open_parts.popleft()[0], rows)
                rows = []
    return _counts(table)


def _counts(table: Table[Any]) -> tuple[int, int]:
    metadata = [pq.read_metadata(part) for part in table.parts()]
    return sum(m.num_rows for m in metadata), sum(1 for _ in table.rejections())


def each_alone(function: Callable[[Sequence[U]], Sequence[V]], batch: Sequence[Unit[U]]) -> list[Row[V]]:
    """Apply a batched component; if it raises, unit by unit, so that one bad unit rejects itself alone."""
    try:
        values = function([unit for _, unit in batch])
        if len(values) != len(batch):
            raise UserError(f"a component returned {len(values)} results for {len(batch)} units")
        return [Row(name, value) for (name, _), value in zip(batch, values, strict=True)]
    except UserError:
        raise
    except Exception as error:  # a plugin's fault with one unit must not end the run
        if len(batch) == 1:
            return [Row(batch[0][0], rejected=reason_of(error))]
        return [row for unit in batch for row in each_alone(function, [unit])]


def reason_of(error: Exception) -> str:
    """A rejection's reason: the sentence of our own errors, type and text of any other."""
    return str(error) if isinstance(error, PoseSynError) else f"{type(error).__name__}: {error}"
