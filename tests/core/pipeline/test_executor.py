"""Filling a table: resumable, in order, one bad unit never harms another."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from posesyn_core import SampleError, UserError
from posesyn_core.pipeline.executor import LOCAL, Filled
from posesyn_core.pipeline.work import each_alone
from tests.core.pipeline.numbers import UNITS, Numbers, files, started


def test_an_interrupted_table_is_completed_with_the_same_bytes(tmp_path: Path) -> None:
    whole, broken = started(tmp_path / "whole"), started(tmp_path / "broken")
    assert LOCAL.fill(Numbers(whole, UNITS)) == Filled(23, 11, {"odd": 11})

    with pytest.raises(KeyboardInterrupt):
        LOCAL.fill(Numbers(broken, UNITS, die_at="13"))
    again = Numbers(broken, UNITS)
    LOCAL.fill(again)
    assert again.done == [str(i) for i in range(10, 23)]
    assert files(whole) == files(broken)


def test_batches_never_span_parts(tmp_path: Path) -> None:
    work = Numbers(started(tmp_path), UNITS[:12])
    LOCAL.fill(work)
    assert work.sizes == [2, 2, 1, 2, 2, 1, 2]


@pytest.mark.parametrize(
    ("units", "redone", "told"),
    [
        ([*UNITS[:6], ("new", "2"), *UNITS[6:]], slice(5, 24), "1 new, first 'new'; 1 gone, first '9'"),
        ([*UNITS[:7], *UNITS[8:]], slice(5, 22), "1 new, first '10'; 1 gone, first '7'"),
        ([*UNITS[:2], ("2", "4"), *UNITS[3:]], slice(0, 5), "the input of 000000.parquet has changed;"),
        (UNITS[:10], slice(0, 0), "000004.parquet is of units that are no longer there"),
    ],
)
def test_parts_of_other_units_are_told_set_aside_and_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], units: list[tuple[str, str]], redone: slice, told: str
) -> None:
    run, fresh = started(tmp_path / "run"), started(tmp_path / "fresh")
    LOCAL.fill(Numbers(run, UNITS))
    before = files(run)
    again, undisturbed = Numbers(run, units), Numbers(fresh, units)
    LOCAL.fill(again)
    LOCAL.fill(undisturbed)
    assert again.done == [name for name, _ in units][redone]
    assert files(run) == files(fresh)
    assert told in capsys.readouterr().err
    old = {path.name: path.read_bytes() for path in run.folder.rglob(".superseded/*/synthesize/*.parquet")}
    assert old and old == {name: before[name] for name in old}
    assert {**files(run), **old}.keys() == before.keys()


def test_a_damaged_part_is_set_aside_and_done_again(tmp_path: Path) -> None:
    run = started(tmp_path)
    LOCAL.fill(Numbers(run, UNITS))
    before, part = files(run), run.motions.part(2)
    part.write_bytes(part.read_bytes()[:-100])
    again = Numbers(run, UNITS)
    LOCAL.fill(again)
    assert again.done == [str(i) for i in range(10, 15)] and files(run) == before


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
