"""Killed at random moments of every stage, a run ends with the bytes of an undisturbed one."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.runs import Victim, checksums, command, contents, differing, victim
from tests.harness.victim import BEGINNING, ORDER

EVENTS_OF_TEN = 7
"""How many of ten kills come right before a change to the files; the others come at any time."""
LONGEST = 1.5
"""Seconds after the beginning of a stage within which those come."""


class Killer:
    """Does a run again and again, killed in every stage, and compares its files with the undisturbed run's."""

    def __init__(self, root: Path, victim: Victim, seed: int) -> None:
        self.run, self.victim, self.random = root / "run", victim, random.Random(seed)
        self.command, self.kills = command(root), Counter[str]()
        counts = root / "counts.json"
        victim.complete(*self.command, counts=str(counts))
        self.counts: dict[str, int] = json.loads(counts.read_text())
        self.undisturbed = contents(self.run)

    def attack(self, stages: list[str], times: int) -> None:
        """One run that is killed up to ``times`` times in each stage."""
        shutil.rmtree(self.run)
        for stage in stages:
            for _ in range(times):
                if self.random.randrange(10) < EVENTS_OF_TEN:
                    moment = {"event": self.random.randint(1, self.counts[stage])}
                else:
                    moment = {"after": self.random.uniform(0, LONGEST)}
                self.kills[stage] += self.victim.do(*self.command, stage=stage, **moment)["killed"]
        self.victim.complete(*self.command)
        assert differing(contents(self.run), self.undisturbed) == []


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    root = tmp_path_factory.mktemp("kills")
    with victim(root / "run") as process:
        yield Killer(root, process, seed=7)


def test_a_run_killed_in_every_stage_ends_with_the_same_bytes(killer: Killer) -> None:
    killer.attack(list(ORDER), times=1)
    assert killer.kills.total() >= len(ORDER) - 1  # the last may come after the end of everything


@pytest.mark.slow
def test_two_hundred_kills(killer: Killer, capsys: pytest.CaptureFixture[str]) -> None:
    before = killer.kills.total()
    rounds = 0
    while killer.kills.total() - before < 200:
        killer.attack(list(ORDER), times=5)
        rounds += 1
    with capsys.disabled():
        print(f"\n{killer.kills.total() - before} kills in {rounds} runs, all resumed to the same bytes:")
        print("  " + ", ".join(f"{stage} {count}" for stage, count in killer.kills.items()))


def test_a_restart_killed_at_any_moment_loses_nothing(killer: Killer, tmp_path: Path) -> None:
    """Whatever a restart puts out of the way is in its place or set aside, and the restart can be done again."""
    restart = ["filter", str(killer.run), "--set", "filter.tau=390", "--restart", "filter"]
    shutil.copytree(killer.run, tmp_path / "run")
    killer.victim.complete(*restart)
    wanted = contents(killer.run)
    kept = [killer.undisturbed[name] for name in ("finetune/posesyn/weights.safetensors", "filter/000000.parquet")]
    for event in range(3, 15, 2):
        shutil.rmtree(killer.run)
        shutil.copytree(tmp_path / "run", killer.run)
        assert killer.victim.do(*restart, stage=BEGINNING, event=event)["killed"]
        assert set(kept) <= checksums(killer.run)
        killer.victim.complete(*restart)
        assert differing(contents(killer.run), wanted) == []
        assert set(kept) <= checksums(killer.run)
