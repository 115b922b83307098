"""The run directory: opened, refused, started over."""

from pathlib import Path

import pytest

from posesyn_core import UserError
from posesyn_core.files.paths import atomic_folder, atomic_path
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.rejections import write_rejected
from posesyn_core.pipeline.restoring import restore
from posesyn_core.pipeline.run import create_run, open_run
from posesyn_core.pipeline.superseded import delete, superseded
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import load_recipe, parse_recipe
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
    create_run(folder, recipe("score.hard=9"), Registry.empty())  # scoring does not depend on it
    with pytest.raises(UserError, match=r"'score.min_weight' \(0.5 -> 0.25\) differs .* --restart score"):
        create_run(folder, recipe("score.min_weight=0.25"), Registry.empty())
    made.finish("select", {})
    with pytest.raises(UserError, match=r"'score.hard' \(9 -> 7\) differs .* --restart select"):
        create_run(folder, recipe("score.hard=7"), Registry.empty())
    free = ("machine.workers=5", "synthesize.max_frames=60", "name=other", 'estimator.engine="compile"')
    create_run(folder, recipe("score.hard=9", *free), Registry.empty())


def test_restart_sets_that_stage_aside_and_the_later_ones_no_longer_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    made = create_run(folder, recipe(), Registry.empty())
    for stage in STAGES[:-1]:
        made.finish(stage, {"n": 1})
    weights = folder / "finetune" / "posesyn" / "weights.safetensors"
    weights.parent.mkdir()
    weights.write_text("hours of work")
    (folder / "report.html").write_text("seen")
    changed = create_run(folder, recipe("score.hard=9"), Registry.discover(), restart="select")
    assert changed.summary("score") == {"n": 1}
    assert not any(changed.summary(stage) for stage in STAGES[1:-1])
    (place,) = (folder / ".superseded").iterdir()
    assert f"lies in {str(place)!r}" in (told := capsys.readouterr().err)
    assert "caption, synthesize, animate, filter, export, finetune, evaluate" in told
    assert {path.name for path in place.iterdir()} == {"recipe.toml", "moved.jsonl", "select", "report.html"}
    assert load_recipe(place / "recipe.toml") == made.recipe
    assert weights.read_text() == "hours of work"
    changed.finish("select", {"n": 1})  # as it was before
    assert changed.summary("select") == changed.summary("evaluate") == {"n": 1}


def test_results_of_other_inputs_are_set_aside_when_their_stage_is_done_again(tmp_path: Path) -> None:
    made = create_run(tmp_path / "run", recipe(), Registry.empty())
    for stage in STAGES[:-1]:
        made.finish(stage, {"n": 1})
    (made.folder / "finetune" / "weights").write_text("hours of work")
    made.frames.write_part(0, [Row("a", rejected="no person in it")])
    made.finish("filter", {"n": 1})  # comes out otherwise
    assert made.summary("finetune") is None and made.ledger.outdated() == ["export", "finetune", "evaluate"]
    made.begin("finetune")
    (place,) = (made.folder / ".superseded").iterdir()
    assert (place / "finetune" / "weights").read_text() == "hours of work"
    assert (place / "finetune" / "done.json").is_file() and not (made.folder / "finetune" / "done.json").exists()


def test_what_was_set_aside_is_listed_restored_and_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made = create_run(folder, recipe("filter.tau=80"), Registry.empty())
    for stage in STAGES[:-1]:
        made.finish(stage, {"n": stage})
    create_run(folder, recipe("filter.tau=40"), Registry.discover(), restart="filter").finish("filter", {"n": 2})
    (old,) = superseded(folder)
    assert old.stages == ("filter",) and old.size > 0
    replaced = restore(folder, old.folder.name)
    again = open_run(folder, Registry.empty())
    assert again.recipe == made.recipe and again.summary("evaluate") == {"n": "evaluate"}
    assert replaced is not None and [one.folder for one in superseded(folder)] == [replaced]
    with pytest.raises(UserError, match="nothing was set aside at 'x'"):
        restore(folder, "x")
    assert delete(folder) > 0 and superseded(folder) == []


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
