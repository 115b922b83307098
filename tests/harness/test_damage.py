"""Damage to a finished run: told, with the command that makes it whole again, byte by byte."""

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from posesyn_core.cli import main
from posesyn_core.pipeline.checking import damages
from posesyn_core.pipeline.order import later
from tests.harness.runs import Finished, contents, differing


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


def exchange(path: Path, chance: random.Random) -> None:
    """Put another file of the same kind in its place."""
    others = [p for p in path.parent.glob(f"*{path.suffix}") if p.read_bytes() != path.read_bytes()]
    if others:
        path.write_bytes(chance.choice(others).read_bytes())
    else:
        remove(path, chance)


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (flip, truncate, remove, exchange)
PARTS = r"\d{6}\.parquet$"
EVERYTHING = r"^(?!.*(inputs|done)\.json)"
PICTURES = r"\d{4}\.jpg$"
QUICK = ((PARTS, exchange), (PICTURES, remove))
"""What is tried where time is short."""
BOOKS = r"(inputs|done)\.json$"


def test_a_whole_run_is_told_whole(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(finished.folder)])
    assert "all files of the run are intact" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pattern", "harm"),
    [
        pytest.param(pattern, harm, marks=() if (pattern, harm) in QUICK else pytest.mark.slow)
        for pattern in (PARTS, PICTURES)
        for harm in DAMAGES
    ],
)
def test_damage_is_named_and_repaired_to_the_same_bytes(
    finished: Finished, harm: Callable[[Path, random.Random], None], pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(f"{harm.__name__} {pattern}")
    path = chance.choice(finished.files(pattern))
    harm(path, chance)
    with pytest.raises(SystemExit, match="1"):
        main(["check", str(finished.folder)])
    told = capsys.readouterr().out
    assert str(path.relative_to(finished.folder)) in told or path.parent.name in told
    repairs = re.findall(r"posesyn (\w+ \S+ --repair)", told)
    assert repairs
    for repair in dict.fromkeys(repairs):
        finished.victim.complete(*repair.split())
    assert differing(contents(finished.folder), finished.whole) == []


def test_a_foreign_file_and_a_foreign_part_are_named_and_set_aside(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = finished.files(rf"^caption/{PARTS}")
    (finished.folder / "caption" / "notes.txt").write_text("mine")
    shutil.copy(parts[0], parts[0].with_name("000077.parquet"))
    with pytest.raises(SystemExit, match="1"):
        main(["check", str(finished.folder)])
    told = capsys.readouterr().out
    assert "caption/notes.txt does not belong to the run" in told
    assert "caption/000077.parquet does not belong to the table" in told
    finished.victim.complete("caption", str(finished.folder), "--repair")
    assert differing(contents(finished.folder), finished.whole) == []
    assert [path.read_text() for path in finished.folder.rglob("notes.txt")] == ["mine"]


def test_a_stage_does_not_build_on_damaged_parts(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    part = finished.files(rf"^synthesize/{PARTS}")[-1]
    part.unlink()
    with pytest.raises(SystemExit, match="2"):
        main(["animate", str(finished.folder), "--restart", "animate"])
    assert f"'{part}' is gone; `posesyn check {finished.folder}`" in capsys.readouterr().err


def test_every_flipped_bit_of_a_table_is_noticed(finished: Finished) -> None:
    chance = random.Random(0)
    tables = finished.run.tables()
    for part in chance.sample(finished.files(PARTS), 6):
        before = part.read_bytes()
        table = next(table for table in tables.values() if table.folder == part.parent)
        for _ in range(70):
            flip(part, chance)
            with pytest.raises(Exception, match=r"posesyn check"):
                table.verify(part)
            part.write_bytes(before)


@pytest.mark.slow
def test_hundreds_of_damages(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """All noticed; a sample of them repaired."""
    chance, noticed, repaired = random.Random(1), Counter[str](), 0
    for number in range(300):
        pattern = chance.choice((PARTS, EVERYTHING, BOOKS))
        path, harm = chance.choice(finished.files(pattern)), chance.choice(DAMAGES)
        before = path.read_bytes()
        harm(path, chance)
        if path.exists() and path.read_bytes() == before:
            continue
        if path.name == "done.json" and not path.exists() and not later(path.parent.name):
            path.write_bytes(before)  # a stage that nobody has gone on from is unfinished without, not damaged
            continue
        found = list(damages(finished.run))
        assert found, (path, harm)
        noticed[harm.__name__] += 1
        if number % 6 == 0:
            for stage in dict.fromkeys(damage.stage for damage in found):
                finished.victim.complete(stage, str(finished.folder), "--repair")
            assert differing(contents(finished.folder), finished.whole) == [], (path, harm)
            repaired += 1
        else:
            path.write_bytes(before)
    with capsys.disabled():
        print(f"\n{noticed.total()} damages noticed ({dict(noticed)}), {repaired} of them repaired to the same bytes")
