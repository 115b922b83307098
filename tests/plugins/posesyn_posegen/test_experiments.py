"""PoseGen's own tables on a tiny world, and their published figures."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

from posesyn_core.cli import main
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


class Interrupted(Exception):
    """In place of a user's."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if "table" in name])
def test_the_free_worlds_tables_go_on_after_an_interruption(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``posesyn experiment posegen-tableN --world free``, everything small: interrupted, started again, complete."""
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path / "cache"))
    people = '{{name="world", part="{}", split="{}", count=4, image_size=128, labels="{}", label="held-out"}}'
    settings = (
        f"dataset={people.format('wild', 'mine', '2d')}", f"real={people.format('lab', 'real', '3d')}",
        f"test={people.format('wild', 'test', '3d')}", "score.hard=1", "score.easy=1", "animate.frame_stride=24",
        "finetune.steps=1", "finetune.batch_size=2", "filter.threshold=9999",
        *(f"motion.{each}" for each in SMALL),
    )  # fmt: skip
    nerf = '{name="anerf", size=48}'
    registry, told = Registry.discover(), []

    def stop(stage: str, _: Any) -> None:
        told.append(stage)
        if stage.endswith("animate"):
            raise Interrupted

    (free,) = (worlds["free"] for worlds in registry.manager.hook.register_worlds() if "free" in worlds)
    world, folder = evolve(free(), nerf=nerf), tmp_path / "out"
    with pytest.raises(Interrupted):
        do_table(name, Laboratory(world, folder, registry, stop, settings), [0])
    assert told and not (folder / f"{name}.json").exists()
    drawn = folder / "seed-0/ours/animate/000000.parquet"
    before = drawn.stat().st_mtime_ns
    set_all = [part for setting in settings for part in ("--set", setting)]
    main(["experiment", name, "--world", "free", "--nerf", nerf, "--run", str(folder), *set_all])
    assert drawn.stat().st_mtime_ns == before
    saved = json.loads((folder / f"{name}.json").read_text())
    assert [row["row"] for row in saved] == [row.name for row in table_of(name, "starter", 1).rows]
    assert all(row["figures"]["0"]["held-out"]["mpjpe"] > 0 for row in saved), saved
    assert saved[0]["row"] in capsys.readouterr().out


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
