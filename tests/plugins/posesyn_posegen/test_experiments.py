"""PoseGen's own tables on a tiny world, and their published figures."""

import json
from io import StringIO
from pathlib import Path

import pytest
from attrs import evolve
from rich.console import Console

from posesyn_core.contracts.worlds import World
from posesyn_core.errors import UserError
from posesyn_core.experiments.runner import Laboratory
from posesyn_core.registry import Registry
from posesyn_posegen.experiments import do_table
from posesyn_posegen.plugin import EXPERIMENTS
from posesyn_posegen.tables import table_of
from tests.tiny import folder_data_set

TEST = 'test={name="world", part="lab", split="tests", count=4, image_size=128, label="3DPW"}'
REAL = 'real=[{name="world", part="lab", split="tests", count=4, image_size=128}]'
SETTINGS = ("finetune.steps=1", "finetune.batch_size=2", "animate.frame_stride=24", "export.formats=[]", TEST, REAL)
SMALL = ("epochs=1", "batch_size=4", "feedback_from=1", "feedback_poses=2", "channels=8", "middle=8")


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path / "cache"))
    world = World(
        folder_data_set(tmp_path).read_text(),
        nerf='{name="reprojection", resolution=64}',
        posegen=(*(f"motion.{each}" for each in SMALL), "filter.threshold=9999"),
    )
    return Laboratory(world, tmp_path / "out", Registry.discover(), lambda *_: None, SETTINGS)


def test_table_5(laboratory: Laboratory) -> None:
    (printed,) = do_table("posegen-table5", evolve(laboratory, rows=("Baseline", "A1", "A3")), [0])
    text = StringIO()
    Console(file=text, width=200).print(printed)
    assert "(96.9)" in text.getvalue() and "(91.3)" in text.getvalue()
    saved = {row["row"]: row for row in json.loads((laboratory.folder / "posegen-table5.json").read_text())}
    assert set(saved) == {"Baseline", "A1: poses", "A3: poses, K, FB"}
    errors = [row["figures"]["0"]["3DPW"]["mpjpe"] for row in saved.values()]
    assert len(set(errors)) == 3 and not any(row["missing"] for row in saved.values())
    assert len(list((laboratory.folder.parent / "cache" / "posegen").iterdir())) == 2  # without and with the feedback


def test_what_is_lacking_is_said(laboratory: Laboratory) -> None:
    with pytest.raises(UserError, match=r"need .*real.* data"):
        do_table("posegen-table7", evolve(laboratory, settings=(*SETTINGS, "real=[]")), [0])
    with pytest.raises(UserError, match="not a share"):
        do_table("posegen-figure6", evolve(laboratory, settings=(*SETTINGS, "score.hard=0.5")), [0])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_table_has_rows(name: str) -> None:
    table = table_of(name, "spin", 120)
    assert table.rows and all(len(values) == len(table.metrics) for values in table.quoted.values())
    published = [row.published[table.data] for row in table.rows if row.published]
    assert published and all(set(found) <= set(table.metrics) for found in published)
    assert not any(row.published for row in table_of("posegen-table1", "mine", 120).rows)


def test_sizes_of_figure_6() -> None:
    assert [row.name for row in table_of("posegen-figure6", "spin", 120).rows] == [
        f"{size} poses" for size in (960, 3000, 6000, 9000)
    ]
