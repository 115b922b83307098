"""Claim: real training data of a million entries takes less than 2 GB of memory, and drawing the next batch from it
takes as long as from a thousand entries.

Frames with 24 joints in 2D and 3D, a body and a camera are read one by one, as a run's stage finetune does. Batches of
32 are drawn: first only which entries they hold, then with the entries read from where they are kept, whose speed is
that of the disk and of what the system caches of it. A round through the entries begins with its order, made once.

    python bench/training_data.py [entries]
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posesyn_core.files.records import Records
from posesyn_core.training.loader import Mixture
from posesyn_core.training.sources import Joined, Weighted
from posesyn_core.values import Camera, LabelledFrame, SmplParams

BATCHES, BATCH = 200, 32


def frames(count: int) -> Iterator[LabelledFrame]:
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(24, 3)).astype(np.float32)
    camera = Camera(joints[0, :2], joints[1, :2])
    smpl = SmplParams(joints[0], joints[:23], joints[:10, 0], joints[1])
    for number in range(count):
        yield LabelledFrame(
            id=f"data/train/{number:08d}",
            image=Path(f"/data/images/{number:08d}.jpg"),
            box=joints[:4, 0],
            joints2d=joints[:, :2],
            confidence=joints[:, 2],
            camera=camera,
            joints3d=joints,
            smpl=smpl,
            source="real",
        )


def resident() -> float:
    """MB of memory at its peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def drawing(mixture: Mixture) -> tuple[float, float]:
    """Milliseconds for the first batch, and the median of later ones."""
    times = []
    for step in range(BATCHES):
        start = time.perf_counter()
        mixture.batch(step)
        times.append(1000 * (time.perf_counter() - start))
    return times[0], float(np.median(times[1:]))


def main() -> None:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    before, medians = resident(), {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (1000, total):
            start, records = time.perf_counter(), Records(LabelledFrame, Path(folder))
            for frame in frames(count):
                records.append(frame)
            rate = count / (time.perf_counter() - start)
            print(f"{count:>9,} entries read at {rate:,.0f}/s; memory {resident() - before:.0f} MB above the start")
            places = Weighted({"a": range(count), "b": range(count)}, {"a": 0.3, "b": 0.7})
            whole = Weighted({"a": records, "b": records}, {"a": 0.3, "b": 0.7})
            for name, real in (
                ("drawn from one pool", Joined([range(count)])),
                ("drawn by weights", places),
                ("read, one pool", Joined([records])),
                ("read, by weights", whole),
            ):
                first, medians[name, count] = drawing(Mixture(real, [], BATCH, 0.0, seed=0))
                print(f"{name:>30}: first batch {first:8.3f} ms, then {medians[name, count]:.3f} ms")
            print(f"{'memory':>30}: {resident() - before:.0f} MB above the start")
    for name in ("drawn from one pool", "drawn by weights"):
        ratio = medians[name, total] / medians[name, 1000]
        print(f"{name}: a batch of {total:,} entries / of 1,000 = {ratio:.2f}")


if __name__ == "__main__":
    main()
