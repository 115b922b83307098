"""Filling a table: resumable, in order, one bad unit never harms another."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from posesyn_core import Motion, SampleError, UserError
from posesyn_core.pipeline.executor import Unit, each_alone, fill
from posesyn_core.pipeline.tables import Row, Table


def motion(name: str) -> Motion:
    return Motion(name, "s", "", np.zeros((1, 22, 3)))


def work(done: list[str], die_at: str = "") -> object:
    def run(batches: Iterator[list[Unit[str]]]) -> Iterator[Row[Motion]]:
        for batch in batches:
            for name, content in batch:
                if name == die_at:
                    raise KeyboardInterrupt
                done.append(name)
                yield Row(name, rejected="odd") if int(content) % 2 else Row(name, motion(name))

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_table_is_completed_with_the_same_bytes(tmp_path: Path) -> None:
    units = [(str(i), str(i)) for i in range(23)]
    whole, broken = Table(tmp_path / "whole", Motion), Table(tmp_path / "broken", Motion)
    assert fill(whole, units, work([]), part=5, batch=2, label="whole") == (23, 11)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        fill(broken, units, work([], die_at="13"), part=5, batch=2, label="broken")  # type: ignore[arg-type]
    again: list[str] = []
    fill(broken, units, work(again), part=5, batch=2, label="again")  # type: ignore[arg-type]
    assert again == [str(i) for i in range(10, 23)]
    assert files(whole.folder) == files(broken.folder)


def test_batches_never_span_parts(tmp_path: Path) -> None:
    sizes = []

    def note(batches: Iterator[list[Unit[str]]]) -> Iterator[Row[Motion]]:
        for batch in batches:
            sizes.append(len(batch))
            yield from (Row(name, motion(name)) for name, _ in batch)

    fill(Table(tmp_path, Motion), [(str(i), "") for i in range(12)], note, part=5, batch=3, label="x")
    assert sizes == [3, 2, 3, 2, 2]


def test_one_bad_unit_rejects_itself_alone() -> None:
    def component(batch: Sequence[str]) -> list[str]:
        if "bad" in batch:
            raise ZeroDivisionError("by nought")
        if "sample" in batch:
            raise SampleError("a NaN pose")
        return [text.upper() for text in batch]

    rows = each_alone(component, [(name, name) for name in ("a", "bad", "b", "sample")])
    assert [row.value for row in rows] == ["A", None, "B", None]
    assert [row.rejected for row in rows] == [None, "ZeroDivisionError: by nought", None, "a NaN pose"]


def test_the_users_mistakes_end_the_run() -> None:
    def component(batch: Sequence[str]) -> list[str]:
        raise UserError("no weights")

    with pytest.raises(UserError, match="no weights"):
        each_alone(component, [("a", "a"), ("b", "b")])
    with pytest.raises(UserError, match="returned 0 results for 1 units"):
        each_alone(lambda batch: [], [("a", "a")])
