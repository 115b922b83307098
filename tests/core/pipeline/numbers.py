"""A small work for tests of executors: numbers, of which the odd ones are rejected."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from posesyn_core import Motion
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry


def motion(name: str) -> Motion:
    return Motion(name, "s", "", np.zeros((1, 22, 3)))


class Numbers(Work[str, Motion]):
    """Rejects the odd ones; can be killed at one."""

    stage, part, batch = "synthesize", 5, 2

    def __init__(self, run: Run, units: Sequence[tuple[str, str]], die_at: str = "") -> None:
        super().__init__(run)
        self.given, self.die_at = units, die_at
        self.done: list[str] = []
        self.sizes: list[int] = []

    @property
    def table(self) -> Table[Motion]:
        return self.run.motions

    def units(self) -> Sequence[tuple[str, str]]:
        return self.given

    def rows(self, batches: Iterator[list[Unit[str]]]) -> Iterator[Row[Motion]]:
        for batch in batches:
            self.sizes.append(len(batch))
            for name, content in batch:
                if name == self.die_at:
                    raise KeyboardInterrupt
                self.done.append(name)
                yield Row(name, rejected="odd") if int(content) % 2 else Row(name, motion(name))


UNITS = [(str(i), str(i)) for i in range(23)]


def started(folder: Path, registry: Registry | None = None) -> Run:
    return create_run(folder, parse_recipe('dataset = "world"'), registry or Registry.empty())


def files(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.motions.folder.iterdir()}
