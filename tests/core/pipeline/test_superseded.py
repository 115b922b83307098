"""What a command sets aside: in one place, back again if the command is refused, and brought back by name."""

from pathlib import Path

import pytest

from posesyn_core import UserError
from posesyn_core.pipeline.locks import run_lock
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.restoring import restore
from posesyn_core.pipeline.run import Run, create_run, open_run
from posesyn_core.pipeline.superseded import set_aside, superseded
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry

REGISTRY = Registry.discover()


def recipe(root: Path, *overrides: str):  # type: ignore[no-untyped-def]
    return parse_recipe(f'dataset = {{ name = "folder", root = "{root}" }}\n[score]\nhard = 4', overrides)


@pytest.fixture
def made(tmp_path: Path) -> Run:
    """A run in which every stage is complete and the training took hours."""
    (tmp_path / "keypoints.json").write_text("{}")
    run = create_run(tmp_path / "run", recipe(tmp_path), REGISTRY)
    run.frames.write_part(0, [Row("a", rejected="no person in it")], "x")
    for stage in STAGES[:-1]:
        run.begin(stage)
        run.finish(stage, {"n": stage})
    (run.folder / "finetune/posesyn").mkdir()
    (run.folder / "finetune/posesyn/weights.safetensors").write_text("hours of work")
    (run.folder / "report.html").write_text("seen")
    return run


def state(run: Run) -> dict[str, bytes]:
    """Every file of a run but those of the lock, in the places where the stages left them."""
    files = (path for path in run.folder.rglob("*") if path.is_file())
    named = {str(path.relative_to(run.folder)): path.read_bytes() for path in files}
    return {name: data for name, data in named.items() if not name.startswith(".lock")}


@pytest.mark.parametrize("stage", STAGES[:-1])
def test_a_restart_that_lacks_something_sets_nothing_aside(made: Run, tmp_path: Path, stage: str) -> None:
    before = state(made)
    with pytest.raises(UserError, match="torch devices are called"):
        create_run(made.folder, recipe(tmp_path, "machine.device=nonsense"), REGISTRY, restart=stage)
    assert state(made) == before


@pytest.mark.parametrize("stage", STAGES[:-1])
def test_a_command_that_is_refused_before_it_made_anything_leaves_the_run_as_it_was(
    made: Run, tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(made)
    with pytest.raises(UserError, match="no such engine"), run_lock(made.folder):
        run = create_run(made.folder, recipe(tmp_path, "machine.workers=7"), REGISTRY, restart=stage)
        assert run.summary(stage) is None and superseded(made.folder)
        run.begin(stage)
        (run.folder / stage / "rejected.jsonl").write_text("")
        (run.folder / stage / "world-truth.jpg").write_text("")
        raise UserError("no such engine")
    assert "is in its place again" in capsys.readouterr().err
    assert {name: data for name, data in state(made).items() if not name.startswith(".superseded")} == before
    assert open_run(made.folder, REGISTRY).summary("evaluate") == {"n": "evaluate"}


def test_what_was_begun_in_earnest_stays(made: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="full"), run_lock(made.folder):
        run = create_run(made.folder, recipe(tmp_path, "synthesize.max_frames=80"), REGISTRY, restart="synthesize")
        run.begin("synthesize")
        run.motions.write_part(0, [Row("a", rejected="no motion")], "y")
        raise UserError("the disk is full")
    (old,) = superseded(made.folder)
    assert old.stages == ("synthesize",)
    assert open_run(made.folder, REGISTRY).recipe.synthesize.max_frames == 80


def test_results_of_other_inputs_stay_if_their_stage_is_refused(made: Run) -> None:
    made.frames.write_part(0, [Row("a", rejected="another reason")], "y")
    made.finish("filter", {"n": 2})
    before = state(made)
    with pytest.raises(UserError, match="no GPU"), run_lock(made.folder):
        made.begin("finetune")
        raise UserError("no GPU")
    assert state(made) == before


def test_a_command_has_one_place_and_another_command_another(made: Run) -> None:
    with run_lock(made.folder):
        set_aside(made.folder, [made.folder / "report.html"])
        set_aside(made.folder, [made.folder / "finetune/posesyn"])
    with run_lock(made.folder):
        set_aside(made.folder, [made.folder / "finetune"])
    first, second = superseded(made.folder)
    assert first.stages == ("finetune",) and (second.folder / "finetune/done.json").is_file()
    assert (first.folder / "finetune/posesyn/weights.safetensors").read_text() == "hours of work"


def test_what_cannot_lie_beside_the_first_gets_a_place_of_its_own(made: Run) -> None:
    with run_lock(made.folder):
        set_aside(made.folder, [made.folder / "filter"])
        made.frames.write_part(0, [Row("a", rejected="another reason")], "y")
        set_aside(made.folder, [made.frames.part(0)])
    assert len(superseded(made.folder)) == 2


@pytest.mark.parametrize("order", [1, -1])
def test_all_that_a_change_cost_is_brought_back_in_any_order(made: Run, tmp_path: Path, order: int) -> None:
    """A threshold is changed, what follows is done again; then the user wants everything as it was."""
    before = state(made)
    with run_lock(made.folder):
        changed = create_run(made.folder, recipe(tmp_path, "filter.tau=40"), REGISTRY, restart="filter")
        changed.begin("filter")
        changed.frames.write_part(0, [Row("a", rejected="another reason")], "y")
        changed.finish("filter", {"n": 2})
    with run_lock(made.folder):
        for stage in ("export", "finetune", "evaluate"):
            changed.begin(stage)
            changed.finish(stage, {"n": 2})
    places = [one.folder.name for one in superseded(made.folder)]
    assert len(places) == 2
    for name in places[::order]:
        with run_lock(made.folder):
            restore(made.folder, name)
    again = {name: data for name, data in state(made).items() if not name.startswith(".superseded")}
    assert again == before
    assert open_run(made.folder, REGISTRY).summary("evaluate") == {"n": "evaluate"}


def test_parts_come_back_to_their_table_without_those_that_it_did_not_have(made: Run) -> None:
    before = state(made)
    with run_lock(made.folder):
        set_aside(made.folder, [made.folder / "filter/done.json", made.folder / "filter/inputs.json"])
        set_aside(made.folder, [made.frames.part(0)])
        for number in range(3):
            made.frames.write_part(number, [Row(str(number), rejected="another reason")], "y")
        made.finish("filter", {"n": 2})
    (old,) = superseded(made.folder)
    with run_lock(made.folder):
        assert restore(made.folder, old.folder.name) is not None
    assert {name: data for name, data in state(made).items() if not name.startswith(".superseded")} == before


def test_files_of_the_users_in_a_place_stay(made: Run) -> None:
    with run_lock(made.folder):
        set_aside(made.folder, [made.folder / "report.html"])
    (old,) = superseded(made.folder)
    (old.folder / "notes.txt").write_text("mine")
    with run_lock(made.folder):
        restore(made.folder, old.folder.name)
    assert (old.folder / "notes.txt").read_text() == "mine" and (made.folder / "report.html").is_file()


def test_everything_is_put_back_from_several_places(made: Run) -> None:
    before = state(made)
    with pytest.raises(UserError, match="no engine"), run_lock(made.folder):
        set_aside(made.folder, [made.folder / "report.html"])
        set_aside(made.folder, [made.folder / "filter"])
        (made.folder / "report.html").write_text("another")
        set_aside(made.folder, [made.folder / "report.html"])
        assert len(superseded(made.folder)) == 2
        raise UserError("no engine")
    assert {name: data for name, data in state(made).items() if not name.startswith(".superseded")} == before


@pytest.mark.parametrize("line", ['"filt', "3", '"/etc/passwd"', '"../../x"', "[[", ""])
def test_a_damaged_line_of_what_was_moved_is_passed_over(made: Run, line: str) -> None:
    with run_lock(made.folder):
        set_aside(made.folder, [made.folder / "report.html"])
    (old,) = superseded(made.folder)
    (old.folder / "moved.jsonl").write_text(f'"report.html"\n{line}')
    with run_lock(made.folder):
        restore(made.folder, old.folder.name)
    assert (made.folder / "report.html").read_text() == "seen"
