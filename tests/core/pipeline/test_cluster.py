"""A run on a real Ray cluster of two nodes: the same bytes, whatever is lost on the way."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posesyn_core import UserError
from posesyn_core.cli import main
from posesyn_core.contracts.sections import ExecutorChoice
from posesyn_core.pipeline import cluster
from posesyn_core.pipeline.cluster import RayExecutor
from posesyn_core.pipeline.executor import LOCAL, Filled
from posesyn_core.pipeline.run import Run
from posesyn_core.registry import Registry
from tests.core.pipeline.numbers import files, started
from tests.core.pipeline.slow_numbers import PARTS, SlowNumbers
from tests.harness.runs import contents, differing
from tests.tiny import folder_data_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two nodes with a CPU each, to which this process is connected."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    made.add_node(**small)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def executor(nodes: Any) -> RayExecutor:
    return RayExecutor(ExecutorChoice("ray", nodes.address))


def made(folder: Path) -> Run:
    """A run whose components say what an actor takes."""
    return started(folder, Registry.discover())


def done_by(run: Run) -> list[int]:
    """The processes that did parts, one for each time that a part was begun."""
    return [int(path.read_text()) for path in (run.folder / "traces").iterdir()]


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    run = made(tmp_path / "whole")
    LOCAL.fill(SlowNumbers(run))
    return files(run)


def test_both_nodes_work_and_the_table_is_that_of_one_process(
    nodes: Any, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    run = made(tmp_path / "run")
    assert executor(nodes).fill(SlowNumbers(run)) == Filled(2 * PARTS, PARTS, {"odd": PARTS})
    assert files(run) == whole
    assert len(done_by(run)) == PARTS and len(set(done_by(run))) == 2
    executor(nodes).fill(SlowNumbers(run))  # nothing is missing: nobody is asked
    assert len(done_by(run)) == PARTS


@pytest.mark.parametrize("seed", range(4))
def test_actors_killed_at_random_moments_cost_the_parts_that_they_had(
    nodes: Any, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(cluster, "ATTEMPTS", 30)
    run, chance, kills, stop = made(tmp_path / "run"), random.Random(seed), [0], threading.Event()

    def kill() -> None:
        while not stop.wait(chance.uniform(0.5, 1.5)):
            alive = [pid for pid in set(done_by(run)) if Path(f"/proc/{pid}").exists()]
            if alive and kills[0] < 20:
                os.kill(chance.choice(alive), signal.SIGKILL)
                kills[0] += 1

    (run.folder / "traces").mkdir(parents=True)
    killer = threading.Thread(target=kill)
    killer.start()
    executor(nodes).fill(SlowNumbers(run))
    stop.set()
    killer.join()
    print(f"{kills[0]} actors killed")
    assert kills[0] and files(run) == whole
    assert len(done_by(run)) <= PARTS + kills[0]


@pytest.mark.parametrize("seed", range(20))
def test_a_lost_node_costs_the_parts_that_it_had(
    nodes: Any, tmp_path: Path, whole: dict[str, bytes], seed: int
) -> None:
    run = made(tmp_path / "run")
    extra = nodes.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    timer = threading.Timer(random.Random(seed).uniform(0.2, 4.0), nodes.remove_node, (extra,))
    timer.start()
    executor(nodes).fill(SlowNumbers(run))
    timer.join()
    assert files(run) == whole
    assert len(done_by(run)) <= PARTS + cluster.AHEAD


DRIVE = (
    "import sys; from pathlib import Path; from posesyn_core.pipeline.cluster import RayExecutor\n"
    "from posesyn_core.pipeline.run import open_run; from posesyn_core.contracts.sections import ExecutorChoice\n"
    "from posesyn_core.registry import Registry; from tests.core.pipeline.slow_numbers import SlowNumbers\n"
    "run = open_run(Path(sys.argv[1]), Registry.discover())\n"
    "RayExecutor(ExecutorChoice('ray', sys.argv[2])).fill(SlowNumbers(run))"
)


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_driver_costs_the_parts_in_flight(
    nodes: Any, tmp_path: Path, whole: dict[str, bytes], seed: int
) -> None:
    run, kills, chance = made(tmp_path / "run"), 0, random.Random(seed)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", DRIVE, str(run.folder), nodes.address]) as driver:
            begun, parts, more = time.monotonic(), len(run.motions.parts()), chance.randint(0, 5)
            while driver.poll() is None and time.monotonic() < begun + 60 and len(run.motions.parts()) < parts + more:
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 0.2))
            driver.kill()
            kills += 1
    executor(nodes).fill(SlowNumbers(run))
    assert files(run) == whole
    assert len(done_by(run)) <= PARTS + kills * 2 * cluster.AHEAD


class Hopeless(SlowNumbers):
    """Fails on every part."""

    def rows(self, batches: Any) -> Any:
        raise MemoryError("no room")


class Refusing(SlowNumbers):
    """Something is wrong with the recipe."""

    def rows(self, batches: Any) -> Any:
        raise UserError("there are no weights")


def test_what_fails_again_and_again_is_named_and_a_mistake_is_said_at_once(nodes: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"part \d+ of synthesize failed 5 times .*no room"):
        executor(nodes).fill(Hopeless(made(tmp_path / "hopeless")))
    with pytest.raises(UserError, match="there are no weights"):
        executor(nodes).fill(Refusing(made(tmp_path / "refusing")))


def test_the_whole_loop_ends_with_the_bytes_of_one_process(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = folder_data_set(tmp_path, people=6, part="lab")
    settings = ["filter.tau=400", "animate.frame_stride=24", "synthesize.motions_per_sample=5"]
    arguments = ["run", str(recipe), "--run", str(tmp_path / "run"), *(f"--set={setting}" for setting in settings)]
    main(arguments)
    whole = contents(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    main([*arguments, "--executor", "ray", "--address", nodes.address])
    assert differing(contents(tmp_path / "run"), whole) == ["recipe.toml", "report.html"]  # they say who did the work


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'posesyn\[ray\]'"):
        RayExecutor(ExecutorChoice("ray"))
