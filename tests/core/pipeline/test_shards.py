"""Several processes share a run: each part once, the same bytes, nothing mixed."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from posesyn_core import UserError
from posesyn_core.pipeline.executor import LOCAL, Filled
from posesyn_core.pipeline.locks import run_lock, shard_lock
from posesyn_core.pipeline.run import create_run
from posesyn_core.pipeline.shards import PartsMissing, Shard, ShardExecutor
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from tests.core.pipeline.numbers import UNITS, Numbers, files, started
from tests.harness.runs import contents, differing
from tests.tiny import folder_data_set


def shard(index: int, count: int) -> ShardExecutor:
    return ShardExecutor(Shard(index, count), wait=False)


def test_each_shard_does_its_own_parts_and_the_last_completes_the_table(tmp_path: Path) -> None:
    whole, shared = started(tmp_path / "whole"), started(tmp_path / "shared")
    LOCAL.fill(Numbers(whole, UNITS))
    works = [Numbers(shared, UNITS) for _ in range(3)]
    for index in (2, 0):
        with pytest.raises(PartsMissing, match="parts of other shards are missing"):
            shard(index, 3).fill(works[index])
    assert shard(1, 3).fill(works[1]) == Filled(23, 11, {"odd": 11})
    assert [len(work.done) for work in works] == [10, 8, 5]
    assert files(whole) == files(shared)


def test_another_number_of_shards_takes_over(tmp_path: Path) -> None:
    run = started(tmp_path)
    with pytest.raises(PartsMissing):
        shard(0, 4).fill(Numbers(run, UNITS))
    rest = [Numbers(run, UNITS), Numbers(run, UNITS)]
    with pytest.raises(PartsMissing):
        shard(1, 2).fill(rest[1])
    shard(0, 2).fill(rest[0])
    assert len(rest[0].done) + len(rest[1].done) == 23 - 8  # parts 0 and 4 were there


def test_a_part_of_other_input_does_not_count_as_there(tmp_path: Path) -> None:
    run = started(tmp_path)
    LOCAL.fill(Numbers(run, UNITS))
    changed = [("first", "2"), *UNITS[1:]]
    with pytest.raises(PartsMissing, match="1 parts of other shards"):
        shard(1, 2).fill(Numbers(run, changed))
    assert not (run.folder / ".superseded").exists()  # that is for shard 0
    shard(0, 2).fill(again := Numbers(run, changed))
    assert again.done == ["first", "1", "2", "3", "4"]


@pytest.mark.parametrize("text", ["3", "3/3", "-1/3", "a/b", "0/0"])
def test_a_shard_that_can_not_be_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--shard .* must be like 0/16"):
        Shard.parse(text)


HOLD = (
    "import sys, time; from pathlib import Path; from posesyn_core.pipeline.locks import shard_lock\n"
    "with shard_lock(Path(sys.argv[1]), 1, 3):\n    print('held', flush=True); time.sleep(60)"
)


def test_the_same_shard_twice_and_a_whole_run_beside_shards_are_refused(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process works on shard 1/3"), shard_lock(tmp_path, 1, 3):
            pass
        with pytest.raises(UserError, match="another process works on shard 1/3"), run_lock(tmp_path):
            pass
        with shard_lock(tmp_path, 2, 3):
            create_run(tmp_path, parse_recipe('dataset = "world"'), Registry.empty())
        holder.kill()
    with run_lock(tmp_path):
        pass


def posesyn(*arguments: str) -> "subprocess.Popen[str]":
    start = [sys.executable, "-c", "from posesyn_core.cli import main; main()"]
    return subprocess.Popen([*start, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(processes: Sequence["subprocess.Popen[str]"]) -> None:
    said = [process.communicate(timeout=500)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said


@pytest.mark.slow
def test_shards_at_once_end_with_the_bytes_of_one_process(tmp_path: Path) -> None:
    recipe = folder_data_set(tmp_path, people=6, part="lab")
    run = tmp_path / "run"
    arguments = ["run", str(recipe), "--run", str(run), "--set", "filter.tau=400", "--set", "animate.frame_stride=24"]
    ended([posesyn(*arguments)])
    whole = contents(run)
    shutil.rmtree(run)
    ended([posesyn(*arguments, "--shard", f"{index}/3") for index in range(3)])
    assert differing(contents(run), whole) == []
