"""A run's parts on a Ray cluster: ``posesyn run RECIPE --executor ray``.

Pools of plain actors, not Ray Data: the part is the unit of work, its result a file that the actor writes itself, and
what exists already must not be computed again. Ray Data would move blocks of rows through its object store and write
them by names of its own. An actor opens the run by its folder, sets a work up once, finds the units of a part by itself
(a data set's reader goes forward alone, and so do the numbers that an actor is given) and returns how many rows it
wrote: no picture and no row passes between machines. Only what Ray's core has kept since 2.0 is used: actors, ``wait``,
``kill``.

What is lost with an actor or a node is done by another one; what fails again and again is named. A lost driver loses
the parts in flight: the run, started again, goes on. The run folder and the data lie where all nodes see them.
"""

import secrets
from collections import Counter, deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from attrs import define, field

from posesyn_core.contracts.needs import Resources
from posesyn_core.contracts.sections import ExecutorChoice
from posesyn_core.errors import PoseSynError, UserError
from posesyn_core.files.paths import remove_partials
from posesyn_core.pipeline.executor import Filled, Present, do_parts, filled
from posesyn_core.pipeline.resources import resources
from posesyn_core.pipeline.run import open_run
from posesyn_core.pipeline.settling import settle
from posesyn_core.pipeline.superseded import one_moment
from posesyn_core.pipeline.work import Part, Work
from posesyn_core.progress import Progress, progress, tell
from posesyn_core.registry import Registry

AHEAD = 2
"""Parts that an actor has at a time: it need not wait for the driver between two of them."""
ATTEMPTS = 5
"""How often a part is tried before its failure is the run's."""
SECONDS_BETWEEN_LOOKS = 2.0

PartNumber = tuple[int, int]
"""A part's number, and how many units it has."""


class PartWorker:
    """One actor of a pool: a work of a run, set up once, done part by part."""

    def __init__(self, folder: str, of: type[Work[Any, Any]], cpus: float) -> None:
        self.folder, self.of, self.cpus = folder, of, cpus
        self.work: Work[Any, Any] | None = None
        self.ahead: Iterator[tuple[int, list[Any]]] = iter(())
        self.next = 0

    def ready(self) -> None:
        """Answered once the actor is there."""

    def do(self, number: int) -> tuple[int, str]:
        """Write one part; how many rows it has, and what is wrong with the recipe or the data, if anything is."""
        begins = self.work is None
        try:
            if self.work is None:
                keep_to(self.cpus)
                self.work = self.of(open_run(Path(self.folder), Registry.discover()))
            part = self._part(self.work, number)
            with one_moment(Path(self.folder), alone=False):
                do_parts(self.work, iter([part]), _Silent())
            if begins:
                settle()
            return len(part.units), ""
        except PoseSynError as error:
            return 0, str(error)

    def _part(self, work: Work[Any, Any], number: int) -> Part[Any]:
        if number < self.next or self.next == 0:
            self.ahead, self.next = work.chunks(), 0
        for at, units in self.ahead:
            self.next = at + 1
            if at == number:
                return work.made(at, units)
        raise UserError(f"{work.label} has no part {number} any more: the data set has changed")


def keep_to(cpus: float) -> None:
    """Let OpenCV use no more threads than an actor has CPUs; it would use all of the node's. Ray sees to OpenMP's."""
    import cv2

    threads = max(1, int(cpus))
    cv2.setNumThreads(threads if threads > 1 else 0)  # 0: none beside the caller's


class _Silent:
    def advance(self, count: int = 1) -> None: ...


@define(eq=False)
class _Member:
    """An actor as the driver sees it: ``parts`` are those that it has been given."""

    handle: Any
    here: bool = False
    parts: int = 0


class RayExecutor:
    """Fills tables with a pool of actors, which grows while there is work for more of them."""

    leads = True

    def __init__(self, choice: ExecutorChoice) -> None:
        """Connect to the cluster. UserError if Ray is not installed or no cluster answers."""
        self.choice, self.ray = choice, _connected(choice.address)

    def fill(self, work: Work[Any, Any]) -> Filled:
        """As an :class:`~posesyn_core.pipeline.executor.Executor`; parts appear in any order."""
        with progress(work.label, work.total()) as shown:
            pool = _Pool(self.ray, self.choice, work, shown, resources(work.run, work.stage, self.choice))
            try:
                pool.do(self._missing(work, shown))
            finally:
                pool.close()
        if pool.losses:
            remove_partials(work.table.folder)  # no actor is at work any more
        return filled(work.table)

    def _missing(self, work: Work[Any, Any], shown: Progress) -> Iterator[PartNumber]:
        present = Present(work)
        for part in work.parts():
            if present.has(part):
                shown.advance(len(part.units))
            else:
                present.make_room(part.number)
                yield part.number, len(part.units)
        present.finish()


@define
class _Pool:
    """The actors of one work, and the parts that they are at."""

    ray: Any
    choice: ExecutorChoice
    work: Work[Any, Any]
    shown: Progress
    taken: Resources
    """By each actor."""
    members: list[_Member] = field(factory=list)
    running: dict[Any, tuple[_Member, PartNumber]] = field(factory=dict)
    """By the reference of the answer."""
    awaited: dict[Any, _Member] = field(factory=dict)
    """Actors that have been asked for and are not there yet; more than one is never asked for at a time."""
    again: deque[PartNumber] = field(factory=deque)
    attempts: Counter[int] = field(factory=Counter)
    losses: int = 0
    """Actors that are gone: what they were writing may lie about."""

    def do(self, missing: Iterator[PartNumber]) -> None:
        """Have all ``missing`` parts written. UserError as the module says."""
        first = next(missing, None)
        if first is None:
            return
        missing = chain([first], missing)
        while True:
            self._grow(bool(self.again) or not self.members)
            if not self._hand_out(missing) and not self.running:
                return
            answered, _ = self.ray.wait([*self.running, *self.awaited], num_returns=1, timeout=SECONDS_BETWEEN_LOOKS)
            for reference in answered:
                if reference in self.awaited:
                    self._arrived(reference)
                else:
                    self._answered(reference)

    def _hand_out(self, missing: Iterator[PartNumber]) -> bool:
        """Give parts to actors that have room, one each in turn; False if there is none left."""
        for _ in range(AHEAD):
            for member in self.members:
                if not member.here or member.parts >= AHEAD:
                    continue
                part = self.again.popleft() if self.again else next(missing, None)
                if part is None:
                    return False
                member.parts += 1
                self.running[member.handle.do.remote(part[0])] = member, part
        return True

    def _grow(self, needed: bool) -> None:
        """Ask for one more actor, unless one is awaited, there are enough, or one that is there has nothing to do."""
        busy = all(member.parts for member in self.members)
        if self.awaited or not (needed or busy) or (self.choice.actors and len(self.members) >= self.choice.actors):
            return
        actor = self.ray.remote(PartWorker).options(
            name=f"posesyn-{self.work.label}-{secrets.token_hex(4)}",
            num_cpus=self.taken.cpus,
            num_gpus=self.taken.gpus,
            memory=int(self.taken.memory_gb * 2**30) or None,
            max_restarts=0,
        )
        member = _Member(actor.remote(str(self.work.run.folder), type(self.work), self.taken.cpus))
        self.members.append(member)
        self.awaited[member.handle.ready.remote()] = member

    def _arrived(self, reference: Any) -> None:
        member = self.awaited.pop(reference)
        try:
            self.ray.get(reference)
            member.here = True
        except self.ray.exceptions.RayError as error:
            self._lost(member, str(error))
            self._count(-1, str(error))

    def _answered(self, reference: Any) -> None:
        if reference not in self.running:  # lost with its actor meanwhile
            return
        member, part = self.running.pop(reference)
        member.parts -= 1
        try:
            rows, complaint = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # the actor is there, its work failed
            self._once_more(part, str(error.cause))
            return
        except self.ray.exceptions.RayError as error:
            self._once_more(part, str(error))
            self._lost(member, str(error))
            return
        if complaint:
            raise UserError(complaint)
        self.shown.advance(rows)

    def _once_more(self, part: PartNumber, fault: str) -> None:
        self._count(part[0], fault)
        self.again.append(part)
        self.again = deque(sorted(self.again))

    def _count(self, number: int, fault: str) -> None:
        """UserError if a part, or an actor's start (-1), has failed too often."""
        self.attempts[number] += 1
        if self.attempts[number] >= ATTEMPTS:
            what = f"part {number} of {self.work.label}" if number >= 0 else f"an actor for {self.work.label}"
            raise UserError(f"{what} failed {ATTEMPTS} times on the cluster, the last time with: {fault.strip()}")

    def _lost(self, member: _Member, fault: str) -> None:
        """Forget an actor that is gone; its other parts are done again, and don't count as tried."""
        if member not in self.members:
            return
        tell(f"{self.work.label}: an actor is lost ({fault.strip().splitlines()[0]}); its parts are done again")
        self.members.remove(member)
        self.losses += 1
        for reference in [reference for reference, (of, _) in self.running.items() if of is member]:
            self.again.append(self.running.pop(reference)[1])
        self.again = deque(sorted(self.again))

    def close(self) -> None:
        """End all actors."""
        for member in self.members:
            self.ray.kill(member.handle)


def _connected(address: str) -> Any:
    """The library, connected to a cluster, to which it stays connected."""
    try:
        import ray
    except ImportError as error:
        raise UserError("the executor ray needs Ray; install it with `pip install 'posesyn[ray]'`") from error
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"no Ray cluster answers at {address!r}: start one with `ray start --head`, or take --address local "
                f"for one of this machine alone ({error})"
            ) from error
    return ray
