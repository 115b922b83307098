"""A killed run, a different number of workers, another batch size: the same results (slow: whole runs)."""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from posesyn_core.pipeline.run import open_run
from posesyn_core.registry import Registry

SMALL = [
    "dataset.count=24", "test.count=8", "score.hard=5", "score.easy=3", "synthesize.max_frames=48",
    "animate.frame_stride=6", "animate.keep_dropped=false", "filter.tau=400", "finetune.steps=4",
    "finetune.batch_size=4", "real=[{name='world', part='lab', split='real', count=8}]",
]  # fmt: skip
KILLS = 10

pytestmark = pytest.mark.slow


def command(folder: Path, *arguments: str) -> list[str]:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    start = [sys.executable, "-c", "from posesyn_core.cli import main; main()", "demo", "--run", str(folder)]
    return [*start, *settings, *arguments]


def complete(folder: Path, *arguments: str) -> Path:
    done = subprocess.run(command(folder, *arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo run; its first seconds also draw the world into the cache, which the other runs share."""
    return complete(tmp_path_factory.mktemp("runs") / "undisturbed")


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All stage tables by name, rows in order."""
    stages = ("score", "select", "caption", "synthesize", "animate", "filter")
    parts = {stage: sorted((folder / stage).glob("[0-9]*.parquet")) for stage in stages}
    return {stage: [row for part in parts[stage] for row in pq.read_table(part).to_pylist()] for stage in stages}


def compare(left: Any, right: Any, where: str, tolerance: float) -> None:
    """Equality, but for numbers within ``tolerance`` and for paths, which differ by the run folder."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            compare(left[key], right[key], f"{where}.{key}", tolerance)
    elif isinstance(left, list):
        assert len(left) == len(right), where
        if left and isinstance(left[0], float):
            np.testing.assert_allclose(left, right, rtol=min(tolerance, 1e-5), atol=tolerance, err_msg=where)
        else:
            for at, (a, b) in enumerate(zip(left, right, strict=True)):
                compare(a, b, f"{where}[{at}]", tolerance)
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=min(tolerance, 1e-5), abs=tolerance, nan_ok=True), where
    elif not where.endswith(".path"):
        assert left == right, where


def exported(folder: Path) -> dict[str, Any]:
    """The labels in the exported files, by file and member."""
    labels: dict[str, Any] = {}
    for path in sorted((folder / "export").rglob("*")):
        if path.suffix == ".tar":
            with tarfile.open(path) as shard:
                for member in shard:
                    if member.name.endswith(".json"):
                        labels[f"{path.name}/{member.name}"] = json.load(shard.extractfile(member))  # type: ignore[arg-type]
        elif path.suffix == ".json" and path.parent.name != "export":
            labels[path.name] = json.loads(path.read_text())
        elif path.suffix == ".npz":
            labels[path.name] = {name: array.tolist() for name, array in np.load(path).items()}
    assert labels
    return labels


def drawn(folder: Path) -> dict[str, bytes]:
    """The frames on disk."""
    frames = folder / "animate" / "frames"
    return {str(path.relative_to(frames)): path.read_bytes() for path in frames.rglob("*.jpg")}


def assert_same_results(left: Path, right: Path, tolerance: float) -> None:
    assert 0 < len(drawn(left)) < json.loads((left / "animate" / "done.json").read_text())["frames"]  # some dropped
    assert drawn(left) == drawn(right)
    compare(tables(left), tables(right), "tables", tolerance)
    compare(exported(left), exported(right), "export", tolerance)
    for stage in ("evaluate", "finetune"):
        figures = [open_run(folder, Registry.empty()).require(stage) for folder in (left, right)]
        compare(*figures, stage, max(tolerance, 1e-12))


def test_a_run_killed_at_random_moments_ends_the_same(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    moments = random.Random(7)
    for _ in range(KILLS):
        process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moments.uniform(2.5, 9.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    complete(folder)
    assert_same_results(undisturbed, folder, tolerance=0)
    assert not list(folder.rglob("*posesyn-partial*"))


@pytest.mark.parametrize("arguments", [("--workers", "1"), ("--workers", "4"), ("--batch-size", "5")])
def test_workers_and_batch_size_change_nothing(undisturbed: Path, tmp_path: Path, arguments: tuple[str, str]) -> None:
    other = complete(tmp_path / "other", *arguments)
    ids = [[row["unit"] for row in tables(folder)["select"]] for folder in (undisturbed, other)]
    assert ids[0] == ids[1]
    compare(tables(undisturbed), tables(other), "tables", 1e-5)
    compare(exported(undisturbed), exported(other), "export", 1e-5)
