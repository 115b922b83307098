"""A recipe from elsewhere starts no program that the user of the machine has not approved."""

import sys
from pathlib import Path

import pytest

from posesyn_core import UserError
from posesyn_core.cli import main
from posesyn_core.components import Kind
from posesyn_core.pipeline.programs import Program, approve, programs, unapproved
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import Recipe, parse_recipe
from posesyn_core.registry import Registry


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path / "cache"))


def recipe(command: str) -> Recipe:
    return parse_recipe(f'dataset = "world"\nanimator = {{ name = "file", command = "{command}" }}\n')


def test_a_program_is_found_and_asked_for_once() -> None:
    found = programs(recipe("rm -r /"), Registry.discover())
    assert found == unapproved(found) == [Program("animator.command", "rm -r /")]
    approve([Program("animator.command", "true")])
    assert unapproved(found) == found
    approve(found)
    assert unapproved(found) == []
    assert programs(recipe(""), Registry.discover()) == []


def test_a_run_does_not_make_a_component_whose_program_is_not_approved(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe("draw --fast"), Registry.discover())
    with pytest.raises(UserError, match=r"'animator.command' starts the program 'draw --fast': .* --yes"):
        run.create(Kind.ANIMATOR, run.recipe.animator, "animator")
    approve(programs(run.recipe, run.registry))
    assert run.create(Kind.ANIMATOR, run.recipe.animator, "animator").config.command == "draw --fast"


def test_the_command_line_asks_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(
        'dataset = { name = "folder", root = "nowhere" }\nanimator = { name = "file", command = "draw" }\n'
    )
    arguments = ["run", str(tmp_path / "recipe.toml"), "--run", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "starts the program 'draw'" in capsys.readouterr().err and not (tmp_path / "run").exists()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda text: "n")
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "nothing was done" in capsys.readouterr().err and not (tmp_path / "run").exists()
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--yes"])
    assert "nowhere" in capsys.readouterr().err  # approved: it goes on to the data set
