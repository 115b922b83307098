"""While a stage is at work, collections leave out what it has set up; afterwards they find everything again."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from posesyn_core import Motion
from posesyn_core.pipeline.cluster import PartWorker
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.settling import settle, settling
from posesyn_core.pipeline.shards import Shard, ShardExecutor
from posesyn_core.pipeline.tables import Row
from posesyn_core.pipeline.work import Unit
from tests.core.pipeline.numbers import UNITS, Numbers, started
from tests.core.pipeline.slow_numbers import SlowNumbers


class Knot:
    """Refers to itself, so that a collection alone removes it."""

    def __init__(self) -> None:
        self.itself = self


class Tangled(Numbers):
    """Leaves a knot when it is set up, and one for each batch; holds another as long as it lives."""

    def rows(self, batches: Iterator[list[Unit[str]]]) -> Iterator[Row[Motion]]:
        self.held, self.frozen = Knot(), list[int]()
        self.left, self.dropped = [weakref.ref(self.held)], [weakref.ref(Knot())]

        def tangled() -> Iterator[list[Unit[str]]]:
            for batch in batches:
                self.frozen.append(gc.get_freeze_count())
                self.dropped.append(weakref.ref(Knot()))
                yield batch

        yield from super().rows(tangled())


@pytest.fixture(autouse=True)
def nothing_is_frozen() -> Iterator[None]:
    assert gc.get_freeze_count() == 0
    yield
    gc.unfreeze()


@pytest.mark.parametrize("executor", [LOCAL, ShardExecutor(Shard(0, 1), wait=False)], ids=["local", "shard"])
def test_what_a_stage_has_set_up_is_left_out_until_it_ends(tmp_path: Path, executor: Executor) -> None:
    work = Tangled(started(tmp_path), UNITS)
    executor.fill(work)
    assert work.frozen[0] == 0 and work.frozen[-1] > 1000  # the first part sets up, the others are of many
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert all(knot() is None for knot in work.dropped) and work.left[0]() is work.held
    left = work.left[0]
    del work
    gc.collect()
    assert left() is None


def test_a_stage_that_is_interrupted_leaves_nothing_frozen(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        LOCAL.fill(Tangled(started(tmp_path), UNITS, die_at="13"))
    assert gc.get_freeze_count() == 0


def test_an_actor_leaves_it_out_as_long_as_it_lives(tmp_path: Path) -> None:
    threads = cv2.getNumThreads()
    worker = PartWorker(str(started(tmp_path).folder), SlowNumbers, 1.0)
    try:
        for number in range(2):
            assert worker.do(number) == (2, "")
            assert gc.get_freeze_count() > 1000
    finally:
        cv2.setNumThreads(threads)


def test_what_others_have_frozen_stays_so() -> None:
    gc.freeze()
    with settling() as settled:
        settled()
    assert gc.get_freeze_count() > 1000


def test_who_has_switched_collections_off_is_left_alone() -> None:
    gc.disable()
    try:
        assert not settle() and gc.get_freeze_count() == 0
    finally:
        gc.enable()
