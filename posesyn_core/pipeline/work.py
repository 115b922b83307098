"""What a table's work is, for whoever does it: units in a fixed order, in parts, each part on its own.

A :class:`Work` is made from a run cheaply and anywhere. What costs (networks, bodies) it sets up once, with the first
units that it is given. Executors (:mod:`posesyn_core.pipeline.executor`) know nothing else of a stage.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count, islice
from typing import Any, Generic, TypeVar

from attrs import frozen

from posesyn_core.errors import PoseSynError, UserError
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.seals import fingerprint
from posesyn_core.pipeline.tables import Row, Table

U = TypeVar("U")
V = TypeVar("V")

Unit = tuple[str, U]
"""A unit's id and what there is to work on."""


@frozen
class Part(Generic[U]):
    """Consecutive units of a work that are done and written together.

    ``identity`` tells the units, what they consist of, and the settings: whatever the rows follow from.
    """

    number: int
    units: Sequence[Unit[U]]
    identity: str


class Work(ABC, Generic[U, V]):
    """The work that fills one table of a run."""

    stage: str
    part: int
    """How many units make a part of the table."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def label(self) -> str:
        """What progress calls it."""
        return self.stage

    @property
    @abstractmethod
    def table(self) -> Table[V]:
        """Where the rows go."""

    @property
    def batch(self) -> int:
        """How many units are computed together at most."""
        return self.part

    @abstractmethod
    def units(self) -> Iterable[Unit[U]]:
        """All units in their fixed order; no network is needed to tell them."""

    def total(self) -> int | None:
        """How many units there are, if that is known beforehand."""
        return None

    def content(self, unit: U) -> Any:
        """What a unit's row follows from, beside its id."""
        return unit

    @abstractmethod
    def rows(self, batches: Iterator[list[Unit[U]]]) -> Iterator[Row[V]]:
        """One row per unit, in order; may read ahead. Called for one stream of batches after another."""

    def parts(self) -> Iterator[Part[U]]:
        """All parts in order."""
        return (self.made(number, units) for number, units in self.chunks())

    def chunks(self) -> Iterator[tuple[int, list[Unit[U]]]]:
        """The number and the units of every part, in order."""
        stream = iter(self.units())
        for number in count():
            units = list(islice(stream, self.part))
            if not units:
                return
            yield number, units

    def made(self, number: int, units: Sequence[Unit[U]]) -> Part[U]:
        """The part of these units."""
        contents = [(name, self.content(unit)) for name, unit in units]
        return Part(number, units, fingerprint(self._settings, contents))

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return self.run.settings(self.stage)

    def batches(self, part: Part[U]) -> Iterator[list[Unit[U]]]:
        """A part's units as they are computed together. A batch never spans two parts: a resumed run forms the same
        batches, and with them the same last bits, as an undisturbed one."""
        return (list(part.units[at : at + self.batch]) for at in range(0, len(part.units), self.batch))


def each_alone(function: Callable[[Sequence[U]], Sequence[V]], batch: Sequence[Unit[U]]) -> list[Row[V]]:
    """Apply a batched component; if it raises, unit by unit, so that one bad unit rejects itself alone."""
    try:
        values = function([unit for _, unit in batch])
        if len(values) != len(batch):
            raise UserError(f"a component returned {len(values)} results for {len(batch)} units")
        return [Row(name, value) for (name, _), value in zip(batch, values, strict=True)]
    except UserError:
        raise
    except Exception as error:  # a plugin's fault with one unit must not end the run
        if len(batch) == 1:
            return [Row(batch[0][0], rejected=reason_of(error))]
        return [row for unit in batch for row in each_alone(function, [unit])]


def reason_of(error: Exception) -> str:
    """A rejection's reason: the sentence of our own errors, type and text of any other."""
    return str(error) if isinstance(error, PoseSynError) else f"{type(error).__name__}: {error}"
