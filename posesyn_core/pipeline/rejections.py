"""What the stages rejected and why: told in summaries, gathered in ``rejected.parquet``.

*Rejected* is a unit that could not be worked on, or whose result can't be used: it is recorded with its reason.
*Dropped* is a frame that the filter judged and did not keep. *Refused* is a wish of the user's (:class:`UserError`).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from posesyn_core.files.paths import atomic_path
from posesyn_core.files.reading import read_text
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.seals import DamagedFile
from posesyn_core.pipeline.tables import check_remedy

REJECTED_ENTRIES = "rejected.jsonl"
"""In the folder of a stage that reads further data sets: their rejected entries, and training frames not to be read."""
TOLD = 3
"""How many reasons a summary tells, the most frequent ones."""
_SCHEMA = pa.schema([("stage", pa.string()), ("unit", pa.string()), ("reason", pa.string())])
_AT_ONCE = 1 << 14
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\b\d+(\.\d+)?(e[-+]?\d+)?\b")


def pattern(reason: str) -> str:
    """A reason without what is particular to its unit: names in quotes, paths and numbers."""
    return _PARTICULAR.sub("…", reason)


def most_frequent(reasons: Iterable[str]) -> dict[str, int]:
    """The most frequent patterns with their counts; equally frequent ones by name."""
    counts = Counter(map(pattern, reasons))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOLD])


def reasons_text(reasons: Mapping[str, int]) -> str:
    """One line for people."""
    return "; ".join(f"{reason} ({count})" for reason, count in reasons.items())


def write_rejected(run: Run) -> int:
    """Gather the rejections of all stages in ``rejected.parquet``; return how many there are."""
    total = 0
    with atomic_path(run.folder / "rejected.parquet") as temporary, pq.ParquetWriter(temporary, _SCHEMA) as writer:
        rows: list[tuple[str, str, str]] = []
        for row in _rejections(run):
            rows.append(row)
            if len(rows) == _AT_ONCE:
                writer.write_table(_as_table(rows))
                total, rows = total + len(rows), []
        writer.write_table(_as_table(rows))
    return total + len(rows)


def _rejections(run: Run) -> Iterator[tuple[str, str, str]]:
    """(stage, unit, reason) of every table, and of the data sets that are read beside the mined one."""
    for stage, table in run.tables().items():
        yield from ((stage, unit, reason) for unit, reason in table.rejections())
    for stage in STAGES:
        path = run.folder / stage / REJECTED_ENTRIES
        if path.is_file():
            for line in read_text(path, "list of rejections").splitlines():
                yield stage, *_unit_and_reason(path, line)


def _unit_and_reason(path: Path, line: str) -> tuple[str, str]:
    """DamagedFile unless the line holds just these."""
    try:
        match json.loads(line):
            case [str(unit), str(reason)]:
                return unit, reason
    except (ValueError, RecursionError):
        pass
    raise DamagedFile(path, "is damaged: a line of it is no unit with its reason", check_remedy(path))


def _as_table(rows: list[tuple[str, str, str]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    return pa.table({name: list(column) for name, column in zip(_SCHEMA.names, columns, strict=True)}, schema=_SCHEMA)
