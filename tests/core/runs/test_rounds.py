"""Rounds: each goes on from the estimator of the last, and the page shows what became of the error."""

from pathlib import Path

import pytest

from posesyn_core.cli import main
from posesyn_core.errors import UserError
from posesyn_core.pipeline.run import create_run, open_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.rounds import recipe_of_runs, run_rounds
from posesyn_core.runs.stages import run_all
from tests.tiny import folder_data_set

TEST = 'test={name="world", part="lab", split="tests", count=4, image_size=128, label="held-out"}'
TINY = ("finetune.steps=1", "finetune.batch_size=2", "filter.tau=9999", "animate.frame_stride=24", "export.formats=[]")


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]]]:
    folder = tmp_path_factory.mktemp("rounds")
    recipe = load_recipe(folder_data_set(folder), [*TINY, TEST, "rounds=2"])
    told: list[str] = []
    errors = run_rounds(folder / "run", recipe, Registry.discover(), lambda stage, _: told.append(stage))
    assert [stage for stage in told if stage.startswith("round")] == ["round 1", "round 2"]
    return folder / "run", errors


def test_the_second_round_starts_from_what_the_first_trained(rounds: tuple[Path, list[dict[str, float]]]) -> None:
    folder, errors = rounds
    second = open_run(folder / "round-2", Registry.discover())
    assert second.recipe.estimator.options["weights"] == str(folder / "round-1/finetune/posesyn/weights.safetensors")
    assert second.require("evaluate")["variants"]["shipped"]["mpjpe"] == errors[1]["mpjpe"]
    assert [one["round"] for one in errors] == [0, 1, 2]
    assert len({one["mpjpe"] for one in errors}) == 3


def test_the_page_shows_every_round(rounds: tuple[Path, list[dict[str, float]]]) -> None:
    folder, errors = rounds
    page = (folder / "report.html").read_text()
    assert page.count("<polyline") == 2
    assert "round-2/report.html" in page
    assert all(f"{one['mpjpe']:.1f} mm" in page for one in errors)


def test_rounds_without_training_are_refused(tmp_path: Path) -> None:
    recipe = load_recipe(folder_data_set(tmp_path), ["rounds=2"])
    with pytest.raises(UserError, match=r"set finetune\.steps"):
        run_rounds(tmp_path / "run", recipe, Registry.discover(), lambda *_: None)


def test_rounds_added_to_a_finished_run_go_on_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load_recipe(folder_data_set(tmp_path), [*TINY, TEST])
    run_all(create_run(tmp_path / "run", recipe, Registry.discover()), lambda *_: None)
    page = (tmp_path / "run/report.html").read_bytes()
    weights = (tmp_path / "run/finetune/posesyn/weights.safetensors").stat().st_mtime_ns

    main(["resume", str(tmp_path / "run"), "--set", "rounds=2"])

    out = capsys.readouterr().out
    assert "after round 2: MPJPE " in out and "rounds.html" in out
    second = open_run(tmp_path / "run/round-2", Registry.discover())
    trained = tmp_path / "run/finetune/posesyn/weights.safetensors"
    assert second.recipe.estimator.options["weights"] == str(trained)
    assert trained.stat().st_mtime_ns == weights, "the finished round is not trained again"
    assert (tmp_path / "run/report.html").read_bytes() == page
    rounds = (tmp_path / "run/rounds.html").read_text()
    assert 'href="report.html"' in rounds and 'href="round-2/report.html"' in rounds
    assert load_recipe(recipe_of_runs(tmp_path / "run")).rounds == 2


def test_a_folder_without_a_run_can_not_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        recipe_of_runs(tmp_path)
