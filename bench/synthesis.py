"""Claim: synthesis takes a bounded time per sample in memory that stays flat, and resumes without repeating work.

The stage `synthesize` on 500 hard samples (poses of real motion capture, captions given), each expanded into a motion
of 196 frames. The first process is killed when --kill-at of the samples are in the table; a second one finishes. Prints
seconds per sample, resident memory over the second process (late / early), and how many of the parts that the first one
left the second one did not touch.

    OMP_NUM_THREADS=1 python bench/synthesis.py [--motions val.npz] [--samples 500] [--set motion.precision=float32]
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from attrs import frozen

from posesyn_core import Camera, PoseEstimate, Sample
from posesyn_core.method.orientation import camera_to_y_up
from posesyn_core.pipeline.run import HARD, Captioned, Run, Selected, create_run, open_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.seeds import rng
from posesyn_core.values import FloatArray, ScoredSample

SHARED = Path(os.environ.get("POSESYN_SHARED", Path(__file__).parents[2] / "shared"))
FRAMES = 196
WRITTEN = 64
"""Samples per part of the prepared tables."""

STAGE = """
import sys
from pathlib import Path
from posesyn_core.pipeline.run import open_run
from posesyn_core.runs.stages import run_stage
from posesyn_core.registry import Registry
run_stage(open_run(Path(sys.argv[1]), Registry.discover()), "synthesize")
"""
"""What each of the two processes runs."""


def prepare(folder: Path, options: argparse.Namespace) -> Run:
    """A run whose hard samples are selected and captioned: random frames of the motions, with their descriptions."""
    lengths = f"[synthesize]\nmin_frames = {FRAMES}\nmax_frames = {FRAMES}\n"
    recipe = parse_recipe(f'dataset = "world"\n[score]\nhard = {options.samples}\n{lengths}', options.set)
    run = create_run(folder, recipe, Registry.discover())
    with np.load(options.motions, allow_pickle=False) as file:
        joints, offsets, texts = file["joints"], file["offsets"], file["texts"]
    frames = rng(0, "all", "synthesis bench").integers(len(joints), size=options.samples)
    captions = [json.loads(texts[np.searchsorted(offsets, frame, side="right") - 1])[0] for frame in frames]
    chosen = [hard_sample(number, camera_to_y_up(joints[frame])) for number, frame in enumerate(frames)]
    names = [selected.scored.sample.id for selected in chosen]
    for part, start in enumerate(range(0, options.samples, WRITTEN)):
        rows = slice(start, start + WRITTEN)
        run.selected.write_part(part, [Row(n, s) for n, s in zip(names[rows], chosen[rows], strict=True)])
        some = zip(names[rows], captions[rows], strict=True)
        run.captions.write_part(part, [Row(name, Captioned(name, caption)) for name, caption in some])
    run.finish("select", {"hard": options.samples, "easy": 0})
    run.finish("caption", {"captions": options.samples, "rejected": 0})
    return run


def hard_sample(rank: int, joints: FloatArray) -> Selected:
    """A hard sample without an image whose pseudo-label is ``joints`` (22, 3), camera frame."""
    joints3d = np.concatenate([joints, joints[20:22]]) - joints[:1]  # hands at the wrists
    camera = Camera(np.full(2, 1000, np.float32), np.full(2, 112, np.float32))
    joints2d, ones = np.zeros((24, 2), np.float32), np.ones(24, np.float32)
    sample = Sample(f"bench/all/{rank:06d}", b"", np.array([0, 0, 224, 224], np.float32), "smpl24", joints2d, ones)
    return Selected(HARD, rank, ScoredSample(sample, 1.0, ones, PoseEstimate(joints3d, joints2d, camera)))


@frozen
class Moment:
    """What was seen of a process: motions in the table, seconds since its start, CPU seconds used, resident MB."""

    motions: int
    seconds: float
    cpu: float
    memory: float


def look(run: Run, pid: int, started: float) -> Moment | None:
    """The process now; None when it has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except (FileNotFoundError, ProcessLookupError):
        return None
    cpu = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Moment(done(run), time.perf_counter() - started, cpu, memory) if pages else None


def done(run: Run) -> int:
    """Motions in the table."""
    return sum(pq.read_metadata(part).num_rows for part in run.motions.parts())


def synthesize(run: Run, until: int) -> list[Moment]:
    """Run the stage in a process of its own and kill it when ``until`` motions are in the table."""
    process = subprocess.Popen([sys.executable, "-c", STAGE, str(run.folder)])
    seen: list[Moment] = []
    started = time.perf_counter()
    while process.poll() is None:
        moment = look(run, process.pid, started)
        if moment is not None:
            seen.append(moment)
            if moment.motions >= until:
                process.kill()
        time.sleep(0.2)
    if process.returncode and until > done(run):
        raise SystemExit(f"synthesis ended with {process.returncode}")
    return seen


def checksums(run: Run) -> dict[str, tuple[str, int]]:
    """Content and time of change of every part."""
    return {p.name: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in run.motions.parts()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motions", type=Path, default=SHARED / "data/motions/val.npz")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--kill-at", type=float, default=0.2, help="share of the samples")
    parser.add_argument("--set", action="append", default=[], help="a recipe key, e.g. motion.batch=8")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = prepare(Path(folder) / "run", options)
        synthesize(run, until=round(options.kill_at * options.samples))
        before = checksums(run)
        had = done(run)
        print(f"killed with {had} of {options.samples} motions in {len(before)} parts", flush=True)
        seen = synthesize(run, until=options.samples + 1)
        report(open_run(run.folder, run.registry), seen, had, before)


def report(run: Run, seen: list[Moment], had: int, before: dict[str, tuple[str, int]]) -> None:
    """Print the figures of the second process, which found ``had`` motions in the parts ``before``."""
    summary = run.require("synthesize")
    total, frames = summary["motions"], summary["frames"]
    kept = sum(checksums(run)[name] == was for name, was in before.items())
    made = [moment for moment in seen if moment.motions > had]
    first, last = made[0], made[-1]
    count = max(last.motions - first.motions, 1)
    early = max(moment.memory for moment in made if moment.motions == first.motions)
    late = max(moment.memory for moment in made if moment.motions >= total / 2)
    print(f"resumed: {total - had} motions made, {kept} of {len(before)} parts of the first process untouched")
    print(f"{total} motions of {frames / total:.0f} frames, {summary['rejected']} rejected")
    print(
        f"seconds per sample: {(last.seconds - first.seconds) / count:.3f}, of CPU {(last.cpu - first.cpu) / count:.3f}"
    )
    print(f"resident memory: {early:.0f} MB after its first part, at most {late:.0f} MB in the run's second half")
    print(f"late / early resident memory = {late / early:.3f}")


if __name__ == "__main__":
    main()
