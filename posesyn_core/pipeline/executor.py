"""How a work's missing parts become rows on this machine: in order, resumable, what changed told and set aside."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from attrs import field, frozen

from posesyn_core.pipeline.rejections import most_frequent
from posesyn_core.pipeline.seals import DamagedFile
from posesyn_core.pipeline.settling import settling
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.pipeline.tables import Row, Table, part_number
from posesyn_core.pipeline.work import Part, Unit, Work
from posesyn_core.progress import Progress, progress, tell

U = TypeVar("U")
V = TypeVar("V")


@frozen
class Filled:
    """What a full table holds: how many units, how many of them rejected, and the most frequent reasons."""

    units: int
    rejected: int
    reasons: dict[str, int] = field(factory=dict)

    def figures(self) -> dict[str, Any]:
        """For a stage's summary."""
        return {"rejected": self.rejected, **({"reasons": self.reasons} if self.rejected else {})}


class Executor(Protocol):
    """Does the missing parts of any work."""

    leads: bool
    """Whether this process does the stages that one process does for all."""

    def fill(self, work: Work[Any, Any]) -> Filled:
        """Complete the work's table, part by part; parts that are there already are not done again."""
        ...


class LocalExecutor:
    """The work's own threads in this process, one stream of batches over all missing parts."""

    leads = True

    def fill(self, work: Work[Any, Any]) -> Filled:
        """As :class:`Executor` says. Parts appear in order; those of other units or settings are set aside."""
        present = Present(work)
        with progress(work.label, work.total()) as shown:

            def missing() -> Iterator[Part[Any]]:
                for part in work.parts():
                    if present.has(part):
                        shown.advance(len(part.units))
                    else:
                        yield part

            do_parts(work, missing(), shown, present.make_room)
            present.finish()
        return filled(work.table)


LOCAL = LocalExecutor()


def do_parts(
    work: Work[Any, Any], parts: Iterator[Part[Any]], shown: Progress, make_room: Callable[[int], None] | None = None
) -> None:
    """Turn parts into rows, in one stream of batches, and write each as it is full; first ``make_room`` for it."""
    in_work: deque[Part[Any]] = deque()

    def batches() -> Iterator[list[Unit[Any]]]:
        for part in parts:
            in_work.append(part)
            yield from work.batches(part)

    rows: list[Row[Any]] = []
    written = 0
    with settling() as settle:
        for row in work.rows(batches()):
            if written == 1 and not rows:  # there is more than one part to do, and all that it takes is set up
                settle()
            rows.append(row)
            shown.advance()
            if len(rows) == len(in_work[0].units):
                done = in_work.popleft()
                if make_room is not None:
                    make_room(done.number)
                work.table.write_part(done.number, rows, done.identity)
                rows, written = [], written + 1


class Present:
    """Which parts of a work are in its table; those that are not this work's are told and set aside.

    They stay in their places until what takes those is there: a stage that can't be done leaves them alone.
    """

    def __init__(self, work: Work[Any, Any]) -> None:
        self.work, self.parts, self.told = work, 0, False
        self.stale: dict[int, str] = {}

    def is_there(self, part: Part[Any]) -> bool:
        """Whether the part is there; nothing is changed."""
        return self._fault(part) == ""

    def has(self, part: Part[Any]) -> bool:
        """Whether the part is there; what else is there in its place is noted. Ask for every part, in order."""
        self.parts = part.number + 1
        fault = self._fault(part)
        if fault:
            self.stale[part.number] = fault
        return fault == ""

    def make_room(self, number: int) -> None:
        """Set aside what was found in the place of a part."""
        if number in self.stale:
            self._set_aside(number, self.stale.pop(number))

    def _fault(self, part: Part[Any]) -> str | None:
        """What is wrong with the part's file: "" if nothing is, None if there is none."""
        name = self.work.table.part(part.number).name
        try:
            seal = self.work.table.seal(part.number)
        except DamagedFile as damaged:
            return f"{name} {damaged.fault}"
        if seal is None:
            return None
        return "" if seal.identity == part.identity else f"the input of {name} has changed{self._change(part)}"

    def finish(self, mine: Callable[[int], bool] = lambda number: True) -> None:
        """Set aside what lies beyond the last part, as far as it is ``mine``."""
        for path in self.work.table.parts()[::-1]:
            if part_number(path) >= self.parts and mine(part_number(path)):
                self._set_aside(part_number(path), f"{path.name} is of units that are no longer there")

    def _set_aside(self, number: int, why: str) -> None:
        place = set_aside(self.work.run.folder, [self.work.table.part(number)])
        if not self.told:
            tell(f"{self.work.label}: {why}; such parts are done again, the old ones lie in {str(place)!r}")
        self.told = True

    def _change(self, part: Part[Any]) -> str:
        """Which units came and went, if any did."""
        new, old = [name for name, _ in part.units], self.work.table.units(self.work.table.part(part.number))
        came, went = [name for name in new if name not in set(old)], [name for name in old if name not in set(new)]
        changes = [
            f"{len(names)} {word}, first {names[0]!r}" for names, word in ((came, "new"), (went, "gone")) if names
        ]
        return f" ({'; '.join(changes)})" if changes else ""


def filled(table: Table[Any]) -> Filled:
    """What a table holds."""
    units = rejected = 0
    for seal in table.seals():
        units, rejected = units + seal.rows, rejected + seal.rejected
    return Filled(units, rejected, most_frequent(reason for _, reason in table.rejections()))
