"""A data set scored through engines: the same hard and easy images; and the command line that chooses them."""

import json
from pathlib import Path

import numpy as np
import pytest

from posesyn_core.cli import main
from posesyn_core.pipeline.run import create_run, open_run
from posesyn_core.recipe import EngineChoice, load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from tests.tiny import folder_data_set, small_spin


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    recipe = folder_data_set(folder, people=12)
    recipe.write_text(f'estimator = {{ name = "spin", weights = "{small_spin(folder)}" }}\n' + recipe.read_text())
    return recipe


def selected(recipe: Path, folder: Path, registry: Registry, engine: str) -> list[tuple[str, str]]:
    """(role, id) of the selected samples, by rank."""
    run = create_run(
        folder, load_recipe(recipe, [f"estimator.engine={engine}", "score.hard=5", "score.easy=4"]), registry
    )
    for stage in ("score", "select"):
        run_stage(run, stage)
    return [(role, one.scored.sample.id) for role in ("hard", "easy") for one in run.of_role(role)]


@pytest.mark.parametrize("engine", ["onnx", pytest.param("compile", marks=pytest.mark.slow)])
def test_engines_select_the_same_images(
    engine: str, recipe: Path, tmp_path: Path, registry: Registry, graphs: Path
) -> None:
    expected = selected(recipe, tmp_path / "torch", registry, "torch")
    assert len(expected) == 9
    assert selected(recipe, tmp_path / engine, registry, engine) == expected


def test_the_command_line_chooses_engine_and_precision(
    recipe: Path, tmp_path: Path, graphs: Path, capsys: pytest.CaptureFixture[str], registry: Registry
) -> None:
    folder = tmp_path / "run"
    main(["score", str(folder), "--recipe", str(recipe), "--engine", "onnx", "--precision", "fp32"])
    assert "engine 'onnx' (fp32) for 'spin': joints differ by 0.0" in capsys.readouterr().err
    assert open_run(folder, registry).recipe.estimator.engine == EngineChoice("onnx", {"precision": "fp32"})
    main(["score", str(folder), "--engine", "torch", "--restart", "score"])
    assert open_run(folder, registry).recipe.estimator.engine == EngineChoice()


def test_predict_runs_on_the_engine(recipe: Path, tmp_path: Path, graphs: Path) -> None:
    photo = next(recipe.parent.glob("images/*.jpg"))
    found = {}
    for engine in ("torch", "onnx"):
        weights = str(recipe.with_name("spin.safetensors"))
        options = ("--estimator", "spin", "--weights", weights)
        main(
            [
                "predict",
                str(photo),
                "--whole-picture",
                *options,
                "--engine",
                engine,
                "--out",
                str(tmp_path / engine),
                *("--format", "json", "--format", "obj"),
            ]
        )
        assert (tmp_path / engine / f"{photo.stem}.0.obj").stat().st_size
        (person,) = json.loads((tmp_path / engine / f"{photo.stem}.json").read_text())["people"]
        found[engine] = np.array(person["joints3d"])
    np.testing.assert_allclose(found["onnx"], found["torch"], atol=1e-4)


def test_an_engine_outside_the_tolerance_is_refused_unless_told_otherwise(
    recipe: Path, tmp_path: Path, graphs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = 'estimator.engine={name="torch", precision="bf16", tolerance=%s}'
    refused = ["score", str(tmp_path / "a"), "--recipe", str(recipe), "--set", engine % "0.001"]
    with pytest.raises(SystemExit) as stop:
        main(refused)
    assert stop.value.code == 2
    assert "engine 'torch' (bf16) for 'spin' is refused: joints differ by" in capsys.readouterr().err
    main(["score", str(tmp_path / "b"), "--recipe", str(recipe), "--set", engine % "50"])
    assert "12 samples" in capsys.readouterr().out


def test_the_command_line_exports_every_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], graphs: Path
) -> None:
    main(["engine", "export", "spin", "--out", str(tmp_path / "out"), "--set", "weights=random"])
    assert "spin.fp32.onnx" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["spin.fp32.onnx"]
