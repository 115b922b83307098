"""Selecting merges parts: the same choice as over all rows at once, reading few of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from posesyn_core import Camera, PoseEstimate, Sample, ScoredSample
from posesyn_core.method import eem
from posesyn_core.pipeline import tables
from posesyn_core.pipeline.run import EASY, HARD, Run, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage


def scored(unit: str, error: float) -> ScoredSample:
    sample = Sample(unit, Path("a.jpg"), [0, 0, 9, 9], "coco17", np.ones((17, 2)), np.ones(17))  # type: ignore[arg-type]
    estimate = PoseEstimate(np.ones((24, 3)), np.zeros((24, 2)), Camera([500, 510], [112, 100]))  # type: ignore[arg-type]
    return ScoredSample(sample, error, np.zeros(17), estimate)  # type: ignore[arg-type]


def mined(folder: Path, errors: np.ndarray, part: int, *settings: str) -> Run:
    recipe = parse_recipe('dataset = "world"\nreference = "starter"', [*settings])
    run = create_run(folder, recipe, Registry.empty())
    for start in range(0, len(errors), part):
        rows = [
            Row(f"s{at}", scored(f"s{at}", float(errors[at]))) for at in range(start, min(start + part, len(errors)))
        ]
        run.scored.write_part(start // part, [*rows, Row(f"bad{start}", rejected="no joint is labelled")])
    run.finish("score", {"samples": len(errors)})
    return run


def selected(run: Run, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    monkeypatch.setattr("posesyn_core.pipeline.select.is_whole", lambda estimate: True)
    run_stage(run, "select")
    return tuple([s.scored.sample.id for s in run.of_role(role)] for role in (HARD, EASY))  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(3))
def test_merged_parts_select_what_all_rows_together_do(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = np.random.default_rng(seed).integers(0, 40, 90).astype(float)  # many are equal
    run = mined(tmp_path, errors, 7, "score.hard=6", "score.easy=5")
    hard, easy = eem.select(errors, [f"s{at}" for at in range(len(errors))], 6, 5)
    assert selected(run, monkeypatch) == ([name for name, _ in hard], [name for name, _ in easy])


def test_many_are_selected_in_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posesyn_core.pipeline.select.PART", 4)
    run = mined(tmp_path, np.arange(30.0), 7, "score.hard=6", "score.easy=3")
    assert selected(run, monkeypatch) == ([f"s{at}" for at in range(29, 23, -1)], ["s0", "s1", "s2"])
    assert [len(run.selected.units(part)) for part in run.selected.parts()] == [4, 4, 1]
    assert [one.rank for role in (HARD, EASY) for one in run.stream_of_role(role)] == [*range(6), *range(3)]


def test_rows_of_parts_without_a_candidate_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = np.full(200, 50.0) + np.arange(200) / 1000
    errors[:10] = [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]
    run = mined(tmp_path, errors, 10, "score.hard=2", "score.easy=2")
    before, read = tables.read_columns, list[str]()

    def noted(path: Path, columns: Sequence[str]) -> Any:
        if "error" in columns:
            read.append(path.name)
        return before(path, columns)

    monkeypatch.setattr(tables, "read_columns", noted)
    assert selected(run, monkeypatch) == (["s9", "s8"], ["s0", "s1"])
    assert read == ["000000.parquet"]
    extremes = eem.Extremes[str](2, 2)
    extremes.add(errors[:10], [str(at) for at in range(10)])
    assert not any(extremes.may_take(*run.scored.bounds(part, "error")) for part in run.scored.parts()[1:])
    assert extremes.may_take(0.0, 50.0) and extremes.may_take(50.0, 103.0) and not extremes.may_take(5.0, 99.0)


def test_random_selection_ranks_by_the_draw_of_each_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = np.arange(60, dtype=float)
    choices = []
    for part in (7, 60):
        run = mined(tmp_path / str(part), errors, part, "score.hard=5", "score.easy=5", "score.method=random")
        choices.append(selected(run, monkeypatch))
    assert choices[0] == choices[1] and choices[0][0] != [f"s{at}" for at in range(59, 54, -1)]
    recipe = evolve(run.recipe, seed=1)
    other = mined(tmp_path / "other", errors, 7, "score.hard=5", "score.easy=5", "score.method=random", "seed=1")
    assert other.recipe == recipe and selected(other, monkeypatch) != choices[0]
