"""A work whose parts take a while and leave a trace of who did them: for executors that are killed."""

import os
import time
from collections.abc import Iterator

import numpy as np

from posesyn_core import Motion
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work

PARTS = 24
SECONDS = 0.1


class SlowNumbers(Work[int, Motion]):
    """``PARTS`` parts of two units each."""

    stage, part = "synthesize", 2

    @property
    def table(self) -> Table[Motion]:
        return self.run.motions

    def units(self) -> list[Unit[int]]:
        return [(str(number), number) for number in range(2 * PARTS)]

    def total(self) -> int:
        return 2 * PARTS

    def rows(self, batches: Iterator[list[Unit[int]]]) -> Iterator[Row[Motion]]:
        for batch in batches:
            trace = self.run.folder / "traces" / f"{batch[0][1] // 2}-{os.getpid()}-{time.time_ns()}"
            write_atomic(trace, str(os.getpid()))
            time.sleep(SECONDS)
            for name, number in batch:
                motion = Motion(name, "s", "", np.full((1, 22, 3), number, np.float32))
                yield Row(name, rejected="odd") if number % 2 else Row(name, motion)
