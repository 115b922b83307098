"""One process at a time works on a run."""

import subprocess
import sys
from pathlib import Path

import pytest

from posesyn_core import UserError
from posesyn_core.pipeline.locks import run_lock
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry

HOLD = (
    "import sys, time; from pathlib import Path; from posesyn_core.pipeline.locks import run_lock\n"
    "with run_lock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
)


def test_a_second_process_is_refused_naming_the_first_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    recipe = parse_recipe('dataset = "world"')
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"another process works on the run in .*process {holder.pid} on"):
            create_run(tmp_path, recipe, Registry.empty())
        assert not (tmp_path / "recipe.toml").exists()
        holder.kill()
    create_run(tmp_path, recipe, Registry.empty())


def test_one_process_may_lock_again_what_it_holds(tmp_path: Path) -> None:
    with run_lock(tmp_path), run_lock(tmp_path):
        create_run(tmp_path, parse_recipe('dataset = "world"'), Registry.empty())


def test_the_other_processes_of_a_shared_training_leave_the_lock_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with run_lock(tmp_path):
        assert not (tmp_path / ".lock").exists()
