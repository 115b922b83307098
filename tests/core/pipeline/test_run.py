"""The run directory: opened, refused, started over."""

from pathlib import Path

import pytest

from posesyn_core import UserError
from posesyn_core.files.paths import atomic_folder, atomic_path
from posesyn_core.pipeline.run import create_run, open_run, write_rejected
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage

TEXT = 'dataset = { name = "folder", root = "pictures" }\n'


def recipe(*overrides: str):  # type: ignore[no-untyped-def]
    return parse_recipe(TEXT, overrides)


def test_a_run_remembers_its_recipe(tmp_path: Path) -> None:
    made = create_run(tmp_path / "run", recipe("score.hard=7"), Registry.empty())
    assert open_run(made.folder, Registry.empty()).recipe == made.recipe


def test_a_changed_recipe_is_refused_once_work_depends_on_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made = create_run(folder, recipe(), Registry.empty())
    create_run(folder, recipe("score.hard=7"), Registry.empty())  # nothing done yet: may change
    made.finish("score", {})
    with pytest.raises(UserError, match=r"'score.hard' \(7 -> 9\) differs .* --restart score"):
        create_run(folder, recipe("score.hard=9"), Registry.empty())
    create_run(folder, recipe("score.hard=7", "machine.workers=5", "synthesize.max_frames=60"), Registry.empty())


def test_restart_deletes_that_stage_and_the_later_ones(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made = create_run(folder, recipe(), Registry.empty())
    for stage in ("score", "select", "caption", "export"):
        made.finish(stage, {"n": 1})
    create_run(folder, recipe("captioner=other"), Registry.empty(), restart="caption")
    assert made.summary("select") == {"n": 1}
    assert made.summary("caption") is None and made.summary("export") is None


def test_a_folder_of_something_else_and_an_unwritable_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="not empty and not a run"):
        create_run(tmp_path, recipe(), Registry.empty())
    with pytest.raises(UserError, match="can't be written"):
        create_run(tmp_path / "thesis.tex" / "run", recipe(), Registry.empty())
    with pytest.raises(UserError, match="not a run"):
        open_run(tmp_path, Registry.empty())


def test_a_stage_that_is_needed_names_its_command(tmp_path: Path) -> None:
    made = create_run(tmp_path / "run", recipe(), Registry.empty())
    with pytest.raises(UserError, match="posesyn score"):
        made.require("score")


def test_rejections_of_all_stages_are_gathered(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    made = create_run(tmp_path / "run", recipe(), Registry.empty())
    assert write_rejected(made) == 0
    made.scored.write_part(0, [Row("a", rejected="blurred")])
    made.motions.write_part(0, [Row("b", rejected="NaN")])
    assert write_rejected(made) == 2
    assert pq.read_table(made.folder / "rejected.parquet").to_pylist() == [
        {"stage": "score", "unit": "a", "reason": "blurred"},
        {"stage": "synthesize", "unit": "b", "reason": "NaN"},
    ]


def test_leftovers_of_a_killed_process_are_swept_and_nothing_else(tmp_path: Path) -> None:
    made = create_run(tmp_path / "run", recipe(), Registry.empty())
    part, exported = atomic_path(made.folder / "score" / "000000.parquet"), atomic_folder(made.folder / "export/coco")
    leftovers = [part.__enter__(), exported.__enter__()]  # never left: as after a kill
    leftovers[0].write_bytes(b"half")
    (leftovers[1] / "labels.json").write_text("half")
    mine = made.folder / "export" / "notes.partial.txt"
    mine.write_text("precious")
    create_run(made.folder, recipe(), Registry.empty())
    assert not any(leftover.exists() for leftover in leftovers)
    assert mine.read_text() == "precious"


def test_only_training_is_shared_among_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create_run(tmp_path / "run", recipe(), Registry.empty())
    monkeypatch.setenv("WORLD_SIZE", "2")
    for stage in ("score", "evaluate", "report"):
        with pytest.raises(UserError, match=f"only the stage finetune runs in several processes; start {stage}"):
            run_stage(made, stage)
    with pytest.raises(UserError, match="stage 'filter' is not complete"):
        run_stage(made, "finetune")
