"""How a work's missing parts become rows on this machine: in order, resumable, what changed told and set aside."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from attrs import field, frozen

from posesyn_core.pipeline.rejections import most_frequent
from posesyn_core.pipeline.seals import DamagedFile, Seal
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.pipeline.tables import Row, Table, part_number
from posesyn_core.pipeline.work import Part, Unit, Work
from posesyn_core.progress import progress, tell

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

    def fill(self, work: Work[Any, Any]) -> Filled:
        """Complete the work's table, part by part; parts that are there already are not done again."""
        ...


class LocalExecutor:
    """The work's own threads in this process, one stream of batches over all missing parts."""

    def fill(self, work: Work[Any, Any]) -> Filled:
        """As :class:`Executor` says. Parts appear in order; those of other units or settings are set aside first."""
        open_parts: deque[Part[Any]] = deque()
        with progress(work.label, work.total()) as shown:

            def batches() -> Iterator[list[Unit[Any]]]:
                present = Present(work)
                for part in work.parts():
                    if present.has(part):
                        shown.advance(len(part.units))
                        continue
                    open_parts.append(part)
                    yield from work.batches(part)
                present.finish()

            rows: list[Row[Any]] = []
            for row in work.rows(batches()):
                rows.append(row)
                shown.advance()
                if len(rows) == len(open_parts[0].units):
                    done = open_parts.popleft()
                    work.table.write_part(done.number, rows, done.identity)
                    rows = []
        return filled(work.table)


LOCAL = LocalExecutor()


class Present:
    """Which parts of a work are in its table; those that are not this work's are told and set aside."""

    def __init__(self, work: Work[Any, Any]) -> None:
        self.work, self.parts, self.told = work, 0, False

    def has(self, part: Part[Any]) -> bool:
        """Whether the part is there. Ask for every part, in order."""
        self.parts += 1
        path = self.work.table.part(part.number)
        try:
            seal = self.work.table.seal(part.number)
        except DamagedFile as damaged:
            self._set_aside(part.number, f"{path.name} {damaged.fault}")
            return False
        if seal is None:
            return False
        if seal.identity != part.identity:
            self._set_aside(part.number, f"the input of {path.name} has changed{self._change(part, seal)}")
            return False
        return True

    def finish(self) -> None:
        """Set aside what lies beyond the last part."""
        for path in self.work.table.parts()[::-1]:
            if part_number(path) >= self.parts:
                self._set_aside(part_number(path), f"{path.name} is of units that are no longer there")

    def _set_aside(self, number: int, why: str) -> None:
        place = set_aside(self.work.run.folder, [self.work.table.part(number)])
        if not self.told:
            tell(f"{self.work.label}: {why}; such parts are done again, the old ones lie in {str(place)!r}")
        self.told = True

    def _change(self, part: Part[Any], seal: Seal) -> str:
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
