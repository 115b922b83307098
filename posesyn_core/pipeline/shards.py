"""One run done by several processes that know nothing of each other but the run folder: ``--shard 3/16``.

Shard i of n does the parts whose numbers leave i when divided by n, so that no part is done twice, by whatever
scheduler, on however many machines, at once or one after another. The folder lies where all see it.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from posesyn_core.errors import PoseSynError, UserError
from posesyn_core.pipeline.executor import Filled, Present, do_parts, filled
from posesyn_core.pipeline.work import Part, Work
from posesyn_core.progress import progress, tell

SECONDS_BETWEEN_LOOKS = 1.0
LOOKS_BETWEEN_LINES = 60


class PartsMissing(PoseSynError):
    """A shard has done its parts, and those of others are not there yet: no failure, but the stage is not complete."""


@frozen
class Shard:
    """Number ``index`` of ``count`` processes, from 0."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Of "3/16"; UserError for anything else."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or int(found[1]) >= int(found[2]):
            raise UserError(f"--shard {text!r} must be like 0/16 ... 15/16: which of how many, from 0")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, number: int) -> bool:
        """Whether the part of that number is this shard's."""
        return number % self.count == self.index


class ShardExecutor:
    """Does the parts of one shard; then waits for those of the others, or says that they are missing."""

    def __init__(self, shard: Shard, wait: bool) -> None:
        self.shard, self.wait, self.leads = shard, wait, shard.index == 0

    def fill(self, work: Work[Any, Any]) -> Filled:
        """As an :class:`~posesyn_core.pipeline.executor.Executor`. PartsMissing as the class says."""
        present, of_others = Present(work), dict[int, Part[Any]]()
        with progress(f"{work.label} {self.shard}") as shown:

            def missing() -> Iterator[Part[Any]]:
                for part in work.parts():
                    if not self.shard.has(part.number):
                        if not present.is_there(part):
                            of_others[part.number] = Part(part.number, (), part.identity)
                    elif not present.has(part):
                        yield part

            do_parts(work, missing(), shown, present.make_room)
            present.finish(self.shard.has)

        def complete() -> bool:
            for number in [number for number, part in of_others.items() if present.is_there(part)]:
                del of_others[number]
            return not of_others

        self.wait_until(complete, lambda: f"{work.label}: {len(of_others)} parts of other shards are missing")
        return filled(work.table)

    def wait_until(self, ready: Callable[[], bool], what: Callable[[], str]) -> None:
        """Return when it is ``ready``; PartsMissing saying ``what`` is missing if this executor does not wait."""
        looks = 0
        while not ready():
            if not self.wait:
                raise PartsMissing(what())
            if looks % LOOKS_BETWEEN_LINES == 0:
                tell(f"{what()}: waiting for them")
            looks += 1
            time.sleep(SECONDS_BETWEEN_LOOKS)
