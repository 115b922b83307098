"""Data that change between a kill and its resumption: the table is that of the new data, no unit twice, none lost."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.runs import Finished, contents, differing

People = list[dict[str, Any]]


def added(people: People, images: Path) -> People:
    shutil.copy(images / "0.jpg", images / "new.jpg")
    return [{**people[0], "image": "images/new.jpg"}, *people]


def removed(people: People, images: Path) -> People:
    return people[1:]


def renamed(people: People, images: Path) -> People:
    (images / "2.jpg").rename(images / "two.jpg")
    return [{**one, "image": one["image"].replace("/2.jpg", "/two.jpg")} for one in people]


def reordered(people: People, images: Path) -> People:
    return people[::-1]


def replaced(people: People, images: Path) -> People:
    (images / "1.jpg").write_bytes((images / "3.jpg").read_bytes())
    return people


def edited(people: People, images: Path) -> People:
    return [{**one, "keypoints": [[x + 1, y, c] for x, y, c in one["keypoints"]]} for one in people]


def lost(people: People, images: Path) -> People:
    (images / "0.jpg").unlink()
    return people


CHANGES: tuple[Callable[[People, Path], People], ...] = (added, removed, renamed, reordered, replaced, edited, lost)
QUICK = (added, replaced)
"""What is tried where time is short."""


@pytest.fixture
def data(finished: Finished, tmp_path: Path) -> Iterator[Path]:
    """The folder of the data set; as it was afterwards. Its copy lies where no reader looks for pictures."""
    kept = tmp_path / "kept"
    shutil.copytree(finished.root / "images", kept / "images")
    shutil.copy(finished.root / "keypoints.json", kept)
    yield finished.root
    shutil.rmtree(finished.root / "images")
    shutil.copytree(kept, finished.root, dirs_exist_ok=True)


@pytest.mark.parametrize(
    "change", [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in CHANGES]
)
def test_the_table_is_that_of_the_changed_data(
    finished: Finished, data: Path, change: Callable[[People, Path], People], tmp_path: Path
) -> None:
    arguments = ["score", "RUN", "--recipe", finished.arguments[1], *finished.arguments[4:]]
    shutil.rmtree(finished.folder)
    killed = [str(finished.folder), str(tmp_path / "undisturbed")]
    commands = [[argument if argument != "RUN" else folder for argument in arguments] for folder in killed]
    assert finished.victim.do(*commands[0], stage="score", event=11)["killed"]
    score = finished.folder / "score"
    assert list(score.glob("0*.parquet")) and not (score / "done.json").exists()
    book = json.loads((data / "keypoints.json").read_text())
    book["people"] = change(book["people"], data / "images")
    (data / "keypoints.json").write_text(json.dumps(book))
    for command in commands:
        finished.victim.complete(*command)
    tables = [contents(Path(folder) / "score") for folder in killed]
    assert differing(*tables) == []
