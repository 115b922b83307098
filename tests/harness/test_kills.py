"""Killed at random moments of every stage, a run ends with the bytes of an undisturbed one."""

import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.harness.runs import Finished, checksums, contents, differing, whole_run
from tests.harness.victim import BEGINNING, ORDER

EVENTS_OF_TEN = 7
"""How many of ten kills come right before a change to the files; the others come at any time."""
LONGEST = 1.5
"""Seconds after the beginning of a stage within which those come."""
QUICK = ("export",)
"""What is killed where time is short; the rest is killed in the slow tests."""


class Killer:
    """Does a run again and again, killed in every stage, and compares its files with the undisturbed run's."""

    def __init__(self, finished: Finished, seed: int) -> None:
        self.done, self.random, self.kills = finished, random.Random(seed), Counter[str]()

    def attack(self, stages: Sequence[str], times: int) -> None:
        """One run that is killed ``times`` times in each of the stages."""
        shutil.rmtree(self.done.folder)
        for stage in stages:
            for _ in range(times):
                if self.random.randrange(10) < EVENTS_OF_TEN:
                    moment: dict[str, float] = {"event": self.random.randint(1, self.done.counts[stage])}
                else:
                    moment = {"after": self.random.uniform(0, LONGEST)}
                self.kills[stage] += self.done.victim.do(*self.done.arguments, stage=stage, **moment)["killed"]
        self.done.victim.complete(*self.done.arguments)
        assert differing(contents(self.done.folder), self.done.whole) == []


@pytest.fixture
def killer(finished: Finished) -> Killer:
    return Killer(finished, seed=7)


def test_a_run_killed_where_it_writes_most_ends_with_the_same_bytes(killer: Killer) -> None:
    killer.attack(QUICK, times=2)
    assert killer.kills.total() == 2 * len(QUICK)


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_with_the_same_bytes(killer: Killer) -> None:
    killer.attack(ORDER, times=1)
    assert killer.kills.total() >= len(ORDER) - 1  # the last may come after the end of everything


@pytest.mark.slow
def test_two_hundred_kills(killer: Killer, capsys: pytest.CaptureFixture[str]) -> None:
    before = killer.kills.total()
    rounds = 0
    while killer.kills.total() - before < 200:
        killer.attack(ORDER, times=5)
        rounds += 1
    with capsys.disabled():
        print(f"\n{killer.kills.total() - before} kills in {rounds} runs, all resumed to the same bytes:")
        print("  " + ", ".join(f"{stage} {count}" for stage, count in killer.kills.items()))


@pytest.mark.parametrize(
    "moments", [pytest.param((8,), id="one"), pytest.param(range(3, 15, 2), id="all", marks=pytest.mark.slow)]
)
def test_a_restart_killed_at_any_moment_loses_nothing(killer: Killer, moments: Sequence[int]) -> None:
    """Whatever a restart puts out of the way is in its place or set aside, and the restart can be done again."""
    restart = ["filter", str(killer.done.folder), "--set", "filter.tau=90000", "--restart", "filter"]
    killer.done.victim.complete(*restart)
    wanted = contents(killer.done.folder)
    kept = [killer.done.whole[name] for name in ("finetune/posesyn/weights.safetensors", "filter/000000.parquet")]
    for event in moments:
        killer.done.heal()
        assert killer.done.victim.do(*restart, stage=BEGINNING, event=event)["killed"]
        assert set(kept) <= checksums(killer.done.folder)
        killer.done.victim.complete(*restart)
        assert differing(contents(killer.done.folder), wanted) == []
        assert set(kept) <= checksums(killer.done.folder)


def main(runs: int, seed: int) -> None:
    """The long part by hand, in pieces of any length: each run is killed five times in every stage."""
    with tempfile.TemporaryDirectory() as folder, whole_run(Path(folder)) as finished:
        killer = Killer(finished, seed)
        for number in range(1, runs + 1):
            killer.attack(ORDER, times=5)
            told = ", ".join(f"{stage} {count}" for stage, count in killer.kills.items())
            print(f"{killer.kills.total()} kills in {number} runs, all resumed to the same bytes: {told}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7)
