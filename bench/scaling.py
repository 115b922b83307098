"""What sharing a run costs: beside its work, with the number of parts, of samples and of actors.

Claims: the driver of a Ray run spends less than 20 ms on a part; its scheduling is flat over 10^6 parts, its memory
bounded; a sample that is scored, expanded into a motion or drawn costs the same at 10^3, 10^4 and 10^5 (within 10 %,
beside the setting up of a stage), in flat memory; two one-core actors score and animate at least 1.7 times as fast as
one (on two idle cores).

    python bench/scaling.py --parts 200 2000              # real parts without work: local, shard, Ray's driver
    python bench/scaling.py --simulated 10000 1000000     # scheduling alone: the cluster answers at once
    python bench/scaling.py --samples 1000 10000 100000   # three stages, with networks that cost nothing
    python bench/scaling.py --actors 1 2                  # score and animate of the free world on a local cluster

Samples are timed by turns: a long run stops again and again for short ones, so that both see the same machine, whatever
else it does.

Actors are timed while all of them work: from where the last of them has finished its first part to where the first of
them has finished its last. On a busy machine their processor time for a part counts: what it does not grow by with a
second actor is what two idle cores would gain. What the machine itself loses where several cores work is told beside:
by plain arithmetic that stays in a core's own cache, and by copies that go through the memory they share.

A plan on paper for 10^9 pictures is in docs/cluster.md.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from attrs import evolve, frozen

from posesyn_core import Camera, Motion, PoseEstimate, Sample
from posesyn_core.contracts.needs import Resources
from posesyn_core.contracts.sections import ExecutorChoice
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import write_atomic
from posesyn_core.inference.probe import probe_samples
from posesyn_core.pipeline.animate import Clips
from posesyn_core.pipeline.cluster import RayExecutor, _Pool
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.judging import Judge
from posesyn_core.pipeline.people import Reference
from posesyn_core.pipeline.references import analyse_references
from posesyn_core.pipeline.run import HARD, Captioned, Run, Selected, create_run
from posesyn_core.pipeline.score import Scores
from posesyn_core.pipeline.select import PART
from posesyn_core.pipeline.shards import Shard, ShardExecutor
from posesyn_core.pipeline.synthesize import Motions
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Part, Unit, Work
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import ClipPlan, Image, LabelledFrame, MotionRequest, ScoredSample, Verdict

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


class Interrupted(Work[Any, Any]):
    """Lets something else happen between its parts."""

    between: Callable[[int], None] | None = None
    """Is told the number of the part that comes next."""

    def parts(self) -> Iterator[Part[Any]]:
        for part in super().parts():
            if self.between is not None:
                self.between(part.number)
            yield part


class Cheap:
    """An estimator that costs nothing: every joint where the label is, moved a little."""

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        camera = Camera(np.full(2, 1000.0), np.full(2, 32.0))
        return [PoseEstimate(np.zeros((24, 3), np.float32), sample.keypoints2d + 1, camera) for sample in samples]


class CheapScores(Interrupted, Scores):
    """The stage with that estimator and a data set that holds nothing in memory: as many people as were captioned."""

    def units(self) -> Iterator[Unit[Any]]:
        person = evolve(probe_samples(2)[0], image=self.run.folder.parent / "a.jpg")
        return ((name, evolve(person, id=name)) for name, _ in self.run.captions.column("caption"))

    @cached_property
    def estimator(self) -> tuple[Any, None]:
        return Cheap(), None


class CheapMotions(Interrupted, Motions):
    """The stage with a generator that keeps the pose for a frame."""

    @cached_property
    def generate(self) -> Callable[[Sequence[MotionRequest]], list[Motion]]:
        return lambda requests: [_still(request) for request in requests]


def _still(request: MotionRequest) -> Motion:
    assert request.pose is not None
    joints = (request.pose - [0, request.pose[:, 1].min(), 0])[None]
    rotations = np.zeros((1, 23, 3), np.float32), np.zeros((1, 3), np.float32)
    return Motion(request.id, request.sample_id, request.caption, joints, 20.0, 0, "", *rotations)


class CheapAnimator:
    """Draws everybody as a black picture."""

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        return (np.zeros((64, 64, 3), np.uint8) for _ in plan.transl)


class KeepsAll:
    """A filter without an opinion."""

    def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
        return [Verdict(True, 0.0) for _ in frames]


class CheapClips(Interrupted, Clips):
    """The stage with those two and that estimator; what is planned, encoded and written is real."""

    @cached_property
    def animator(self) -> Any:
        return CheapAnimator()

    @cached_property
    def judge(self) -> Judge:
        return Judge(Cheap(), None, KeepsAll(), self.run.recipe.machine)


REFERENCES = 16


def begun(folder: Path, samples: int) -> Run:
    """A run of so many entries of a data set, as many hard samples with captions, and a few reference people."""
    (folder / "a.jpg").write_bytes(encode_jpeg(np.zeros((64, 64, 3), np.uint8)))
    entry = {"image": "a.jpg", "keypoints": [[10 + at, 20 + 2 * at, 1] for at in range(24)], "box": [4, 4, 60, 60]}
    (folder / "keypoints.json").write_text(json.dumps({"joint_set": "smpl24", "people": [entry]}))
    recipe = parse_recipe(f'dataset = {{ name = "folder", root = "{folder}" }}\nestimator = "starter"\n')
    run = create_run(folder / "run", recipe, Registry.discover())
    person = evolve(probe_samples(2)[0], image=folder / "a.jpg")
    assert person.joints3d is not None and person.camera is not None
    pose = PoseEstimate(person.joints3d, person.keypoints2d, person.camera, person.smpl)
    for number, at in enumerate(range(0, samples, PART)):
        people = [evolve(person, id=f"{each:08d}") for each in range(at, min(at + PART, samples))]
        scored = [ScoredSample(each, 1.0, np.ones(24, np.float32), pose) for each in people]
        hard = [Selected(HARD, at + rank, each) for rank, each in enumerate(scored)]
        run.selected.write_part(number, [Row(each.id, one) for each, one in zip(people, hard, strict=True)])
        captions = [Row(each.id, Captioned(each.id, "a person stands")) for each in people]
        run.captions.write_part(number, captions)
    drawn = [evolve(person, id=f"reference {at}") for at in range(REFERENCES)]
    run.references.write_part(0, [Row(each.id, Reference(each, pose)) for each in drawn])
    return run


def seconds(of: type[Interrupted], samples: int) -> float:
    """Of this process for one stage of a run of so many samples."""
    with tempfile.TemporaryDirectory() as folder:
        return _seconds(_work(of, Path(folder), samples), samples)


def _work(of: type[Interrupted], folder: Path, samples: int) -> Interrupted:
    run = begun(folder, samples)
    work = of(run)
    if isinstance(work, Clips):
        LOCAL.fill(CheapMotions(run))
        assert work.body is not None  # loaded before anything is timed
    return work


def _seconds(work: Work[Any, Any], samples: int) -> float:
    started = time.process_time()
    filled = LOCAL.fill(work)
    assert (filled.units, filled.rejected) == (samples, 0), filled
    return time.process_time() - started


STAGES = (CheapScores, CheapMotions, CheapClips)
FEW = 512
"""Enough for two parts of each stage."""
WINDOWS = 10
"""Of a long run; the first of them is not counted, as the stage is set up in it."""


def short(of: type[Interrupted], samples: int) -> float:
    """Milliseconds for each sample beyond the first :data:`FEW`, whose run tells what setting up takes; twice."""
    return 500 * sum(seconds(of, samples) - seconds(of, FEW) for _ in range(2)) / (samples - FEW)


def by_turns(of: type[Interrupted], samples: int, first: int) -> tuple[list[float], list[float]]:
    """Milliseconds a sample: in each window of a run of so many, and in a run of the ``first`` size after it."""
    windows: list[float] = []
    shorts: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        work = _work(of, Path(folder), samples)
        every = samples // work.part // WINDOWS
        started = 0.0

        def between(number: int) -> None:
            nonlocal started
            if number == 0 or number % every:
                return
            if number > every:
                windows.append(1000 * (time.process_time() - started) / every / work.part)
                shorts.append(short(of, first))
            started = time.process_time()

        work.between = between
        _seconds(work, samples)
    return windows, shorts


def per_sample(sizes: Sequence[int]) -> None:
    """Tell what a sample costs in every stage, in the larger runs by turns with those of the first size."""
    first = sizes[0]
    for of in STAGES:
        seconds(of, FEW)  # imports and opens what every other run finds there
    for samples in sizes[1:]:
        for of in STAGES:
            windows, shorts = by_turns(of, samples, first)
            long, beside = statistics.mean(windows), statistics.mean(shorts)
            line = f"{long:6.3f} ms each, those of {first} meanwhile {beside:6.3f}: x{long / beside:.3f}"
            end = f"at its end x{windows[-1] / shorts[-1]:.3f}, peak {peak()} MiB"
            print(f"{of.stage:<10} {samples:>8} samples: {line}, {end}", flush=True)


COUNT = """
import os, sys, time
import numpy as np
core, side = int(sys.argv[1]), int(sys.argv[2])
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
one = np.full((side, side), 0.5, np.float32)
other, done = one.copy(), 0
print("ready", flush=True)
sys.stdin.readline()
until = time.perf_counter() + 2
spent = time.process_time()
while time.perf_counter() < until:
    if side < 1000:
        for _ in range(200):
            np.dot(one, one, out=other)
    else:
        np.copyto(other, one)
    done += 1
print(done / (time.process_time() - spent))
"""


def alone_and_together(side: int, cores: int) -> float:
    """Processor time for the same work with all ``cores`` at it, in units of that with one at it."""
    rates = [_counted(side, count)[0] for count in (1, cores)]
    return rates[0] / rates[1]


def _counted(side: int, cores: int) -> list[float]:
    """What each of so many processes gets done in a second, at products or copies of matrices of that side."""
    command = [sys.executable, "-c", COUNT]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [*command, str(core), str(side)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )
        for core in range(cores)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return [float(process.communicate()[0]) for process in processes]


class Traced(Work[Any, Any]):
    """Leaves a trace of each part: who did it, when, and with how much processor time up to then. On one core."""

    def rows(self, batches: Iterator[list[Unit[Any]]]) -> Iterator[Row[Any]]:
        traces = self.run.folder / "traces" / self.stage
        one_core(traces)
        yield from super().rows(batches)  # type: ignore[safe-super]
        write_atomic(traces / f"{os.getpid()}-{time.time():.6f}", f"{time.process_time():.6f}")


def one_core(folder: Path) -> None:
    """Stay on the first core that no other actor has taken."""
    if len(cores := sorted(os.sched_getaffinity(0))) > 1:
        for core in cores:
            with contextlib.suppress(FileExistsError):
                (folder / f"core {core}").mkdir(parents=True)
                os.sched_setaffinity(0, {core})
                return


class SmallScores(Traced, Scores):
    """In parts of eight, so that there are enough of them."""

    part = 8


class SmallClips(Traced, Clips):
    """One at a time."""

    part = 1


@frozen
class Rate:
    """Parts a second of all actors together, processor seconds of a part, and how busy each actor's core was."""

    parts: float
    seconds: float
    busy: float


def rates(run: Run, work: type[Work[Any, Any]], address: str, actors: Sequence[int]) -> dict[int, Rate]:
    """For each number of actors: while all of them work."""
    found = {}
    for count in actors:
        for part in work(run).table.parts():
            part.unlink()
        traces = run.folder / "traces" / work.stage
        shutil.rmtree(traces, ignore_errors=True)
        RayExecutor(ExecutorChoice("ray", address, count, cpus=1)).fill(work(run))
        found[count] = _rate([path for path in traces.iterdir() if path.is_file()])
    return found


def _rate(traces: Sequence[Path]) -> Rate:
    moments: dict[str, list[tuple[float, float]]] = {}
    for trace in traces:
        process, _, at = trace.name.partition("-")
        moments.setdefault(process, []).append((float(at), float(trace.read_text())))
    times = [sorted(each) for each in moments.values()]
    first, last = max(each[0][0] for each in times), min(each[-1][0] for each in times)
    seen = [[moment for moment in each if first <= moment[0] <= last] for each in times]
    spans = [(len(each) - 1, each[-1][0] - each[0][0], each[-1][1] - each[0][1]) for each in seen if len(each) > 1]
    parts, clock, worked = (sum(column) for column in zip(*spans, strict=True))
    return Rate(sum(count / seconds for count, seconds, _ in spans), worked / parts, worked / clock)


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
    parser.add_argument(
        "--samples", type=int, nargs="*", default=[], help="with components that cost nothing: few, and more than those"
    )
    parser.add_argument("--actors", type=int, nargs="*", default=[], help="one-core actors that score and animate")
    parser.add_argument("--pictures", type=int, default=128, help="that they score")
    options = parser.parse_args()
    if len(options.samples) == 1:
        parser.error("--samples needs two sizes or more: what a sample costs among many is compared with few")
    for parts in options.simulated:
        print(f"scheduling {parts:>9} parts: {simulated(parts, 64):6.1f} us a part, peak {peak()} MiB", flush=True)
    if options.samples:
        per_sample(options.samples)
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
    cores = min(max([1, *actors]), len(os.sched_getaffinity(0)))
    if cores > 1:
        arithmetic, copies = alone_and_together(64, cores), alone_and_together(4096, cores)
        line = f"arithmetic takes {arithmetic:.2f} times, copies {copies:.2f} times the processor time"
        print(f"with {cores} cores at work {line}", flush=True)
    if actors:
        with tempfile.TemporaryDirectory() as folder:
            run = prepared(Path(folder) / "run", pictures)
            for work in (SmallScores, SmallClips):
                found = rates(run, work, cluster.address, actors)
                one = found[actors[0]]
                for count, rate in found.items():
                    gain = count * one.seconds / (actors[0] * rate.seconds)
                    line = (
                        f"{count} actors {rate.parts:6.2f} parts/s x{rate.parts / one.parts:.2f}, cores busy "
                        f"{100 * rate.busy:.0f} %; {1000 * rate.seconds:.1f} ms of processor time a part: x{gain:.2f}"
                    )
                    print(f"{work.stage:<8} {line}", flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
