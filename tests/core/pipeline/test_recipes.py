"""The recipe of a run: damage is told, and it is brought back."""

import random
from pathlib import Path

import pytest

from posesyn_core import UserError
from posesyn_core.cli import main
from posesyn_core.pipeline.recipes import recipe_is_sound
from posesyn_core.pipeline.run import create_run, open_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path / "run", parse_recipe('dataset = "world"\nseed = 7'), Registry.empty()).folder


def posesyn(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(str(stop.value.code))


def test_every_damage_to_a_recipe_is_told_and_repaired(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, chance = run / "recipe.toml", random.Random(0)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    for damaged in (bytes(flipped), whole.replace(b"seed = 7", b"seed = 3"), b"", b"[[", whole[:30]):
        path.write_bytes(damaged)
        assert posesyn("check", str(run)) == 1
        told = capsys.readouterr().out
        assert "recipe.toml is not what was written" in told and f"posesyn check {run} --repair" in told
        assert posesyn("check", str(run), "--repair") == 0
        assert path.read_bytes() == whole
        assert any(old.read_bytes() == damaged for old in run.rglob(".superseded/*/recipe.toml"))
    assert open_run(run, Registry.empty()).recipe.seed == 7


def test_another_command_says_what_brings_a_broken_recipe_back(run: Path) -> None:
    (run / "recipe.toml").write_text("[[")
    with pytest.raises(UserError, match=r"not valid TOML.*posesyn check .* --repair"):
        open_run(run, Registry.empty())


@pytest.mark.parametrize(
    "copy", [b"", b"null", b"[1]", b'{"recipe": 3, "checksum": ""}', b'{"recipe": "", "checksum": ""}']
)
def test_a_damaged_copy_is_no_copy(run: Path, copy: bytes) -> None:
    (run / ".recipe.json").write_bytes(copy)
    assert recipe_is_sound(run)
