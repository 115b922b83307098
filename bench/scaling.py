"""What sharing a run costs: beside its work, with the number of parts, of samples and of actors.

Claims: the driver of a Ray run spends less than 20 ms on a part; its scheduling is flat over 10^6 parts, its memory
bounded; a scored sample costs the same at 10^3, 10^4 and 10^5 (within 10 %), in flat memory; two one-core actors score
and animate at least 1.7 times as fast as one (on two idle cores).

    python bench/scaling.py --parts 200 2000              # real parts without work: local, shard, Ray's driver
    python bench/scaling.py --simulated 10000 1000000     # scheduling alone: the cluster answers at once
    python bench/scaling.py --samples 1000 10000 100000   # score, with a network that costs nothing
    python bench/scaling.py --actors 1 2                  # score and animate of the free world on a local cluster

A plan on paper for 10^9 pictures is in docs/cluster.md.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from posesyn_core import Camera, Motion, PoseEstimate, Sample
from posesyn_core.contracts.needs import Resources
from posesyn_core.contracts.sections import ExecutorChoice
from posesyn_core.files.images import encode_jpeg
from posesyn_core.pipeline.animate import Clips
from posesyn_core.pipeline.cluster import RayExecutor, _Pool
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.references import analyse_references
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.pipeline.score import Scores
from posesyn_core.pipeline.shards import Shard, ShardExecutor
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


def peak() -> int:
    """MiB of this process at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


class Nothing(Work[int, Motion]):
    """Parts of two units that cost nothing to do; how many is ``synthesize.motions_per_sample`` of the recipe."""

    stage, part = "synthesize", 2

    @property
    def table(self) -> Table[Motion]:
        return self.run.motions

    def units(self) -> Iterator[Unit[int]]:
        return ((str(number), number) for number in range(2 * self.run.recipe.synthesize.motions_per_sample))

    def rows(self, batches: Iterator[list[Unit[int]]]) -> Iterator[Row[Motion]]:
        joints = np.zeros((1, 22, 3), np.float32)
        return (Row(name, Motion(name, "s", "", joints)) for batch in batches for name, _ in batch)


def per_part(executor: Executor, parts: int) -> float:
    """Milliseconds of this process's time for a part."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = parse_recipe(f'dataset = "world"\n[synthesize]\nmotions_per_sample = {parts}\n')
        work = Nothing(create_run(Path(folder) / "run", recipe, Registry.discover()))
        started = time.process_time()
        executor.fill(work)
        spent = time.process_time() - started
    return 1000 * spent / parts


class Answering:
    """Stands for a cluster whose actors are there and have done whatever they are asked as soon as they are."""

    exceptions = SimpleNamespace(RayError=ConnectionError, RayTaskError=RuntimeError)

    def remote(self, *_: object) -> Any:
        """Of a class, an actor, or one of its methods: something new to refer to."""
        asked = SimpleNamespace(remote=lambda *_: object())
        handle = SimpleNamespace(do=asked, ready=asked)
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: handle))

    def wait(self, references: Sequence[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return list(references[-1:]), list(references[:-1])

    def get(self, _: Any) -> tuple[int, str]:
        return 2, ""

    def kill(self, _: Any) -> None: ...


def simulated(parts: int, actors: int) -> float:
    """Microseconds of scheduling a part."""
    work: Any = SimpleNamespace(label="simulated", stage="score", run=SimpleNamespace(folder=Path("/nowhere")))
    done = [0]

    def advance(count: int) -> None:
        done[0] += count

    shown: Any = SimpleNamespace(advance=advance)
    pool = _Pool(Answering(), ExecutorChoice("ray", "", actors), work, shown, Resources())
    started = time.process_time()
    pool.do((number, 2) for number in range(parts))
    assert done[0] == 2 * parts and len(pool.members) == actors
    return 1e6 * (time.process_time() - started) / parts


class Cheap:
    """An estimator that costs nothing: every joint where the label is, moved a little."""

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        camera = Camera(np.full(2, 1000.0), np.full(2, 32.0))
        return [PoseEstimate(np.zeros((24, 3)), sample.keypoints2d + 1, camera) for sample in samples]


class CheapScores(Scores):
    """The stage with that estimator."""

    @cached_property
    def estimator(self) -> tuple[Any, None]:
        return Cheap(), None


def per_sample(samples: int) -> float:
    """Milliseconds of a scored sample: annotations, Eq. 1, tables."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "a.jpg").write_bytes(encode_jpeg(np.zeros((64, 64, 3), np.uint8)))
        person = {"image": "a.jpg", "keypoints": [[10 + at, 20 + 2 * at, 1] for at in range(24)], "box": [4, 4, 60, 60]}
        (folder / "keypoints.json").write_text(json.dumps({"joint_set": "smpl24", "people": [person] * samples}))
        recipe = parse_recipe(f'dataset = {{ name = "folder", root = "{folder}" }}\n')
        work = CheapScores(create_run(folder / "run", recipe, Registry.discover()))
        started = time.process_time()
        filled = LOCAL.fill(work)
        assert (filled.units, filled.rejected) == (samples, 0)
        return 1000 * (time.process_time() - started) / samples


class SmallScores(Scores):
    """In parts of eight, so that there are enough of them."""

    part = 8


class SmallClips(Clips):
    """One at a time."""

    part = 1


def rates(run: Run, work: type[Work[Any, Any]], address: str, actors: Sequence[int]) -> dict[int, float]:
    """Parts a second for each number of actors, from the second round of parts on: set-up is left out."""
    found = {}
    for count in actors:
        table = work(run).table
        shutil.rmtree(table.folder, ignore_errors=True)
        RayExecutor(ExecutorChoice("ray", address, count, cpus=1)).fill(work(run))
        times = sorted(path.stat().st_mtime for path in table.parts())
        found[count] = (len(times) - 2 * count) / (times[-1] - times[2 * count - 1])
    return found


def prepared(folder: Path, samples: int) -> Run:
    """A run of the free world with all that animate starts from."""
    recipe = parse_recipe(
        f'dataset = {{ name = "world", part = "wild", split = "bench", labels = "2d", count = {samples} }}\n'
        f"[machine]\nworkers = 1\n[score]\nhard = {samples // 8}\neasy = {samples // 8}\n[animate]\nframe_stride = 8\n"
    )
    run = create_run(folder, recipe, Registry.discover())
    for stage in ("score", "select", "caption", "synthesize"):
        run_stage(run, stage)
    analyse_references(run, LOCAL)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, nargs="*", default=[], help="real parts without work")
    parser.add_argument("--simulated", type=int, nargs="*", default=[], help="parts of a simulated cluster")
    parser.add_argument("--samples", type=int, nargs="*", default=[], help="scored with a cheap estimator")
    parser.add_argument("--actors", type=int, nargs="*", default=[], help="one-core actors that score and animate")
    parser.add_argument("--pictures", type=int, default=128, help="that they score")
    options = parser.parse_args()
    for parts in options.simulated:
        print(f"scheduling {parts:>9} parts: {simulated(parts, 64):6.1f} us a part, peak {peak()} MiB", flush=True)
    first = 0.0
    for samples in options.samples:
        cost = per_sample(samples)
        first = first or cost
        print(f"score {samples:>8} samples: {cost:6.3f} ms each, x{cost / first:.3f}, peak {peak()} MiB", flush=True)
    if options.parts or options.actors:
        on_a_cluster(options.parts, options.actors, options.pictures)


def on_a_cluster(parts: Sequence[int], actors: Sequence[int], pictures: int) -> None:
    """What needs Ray: a cluster of one-core nodes of this machine."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    for _ in range(max([2, *actors]) - 1):
        cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    ways: dict[str, Executor] = {
        "local": LOCAL,
        "shard 0/1": ShardExecutor(Shard(0, 1), wait=False),
        "ray's driver": RayExecutor(ExecutorChoice("ray", cluster.address)),
    }
    for name, executor in ways.items() if parts else ():
        for count in parts:
            line = f"{per_part(executor, count):6.2f} ms of this process's time a part, peak {peak()} MiB"
            print(f"{name:<12} {count:>7} parts: {line}", flush=True)
    if actors:
        with tempfile.TemporaryDirectory() as folder:
            run = prepared(Path(folder) / "run", pictures)
            for work in (SmallScores, SmallClips):
                found = rates(run, work, cluster.address, actors)
                told = ", ".join(
                    f"{count} actors {rate:.2f} parts/s x{rate / found[actors[0]]:.2f}" for count, rate in found.items()
                )
                print(f"{work.stage:<12} {told}", flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
