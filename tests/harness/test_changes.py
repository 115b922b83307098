"""What a change of settings costs: the stages that it concerns, and nothing before them."""

from pathlib import Path

import pytest

from posesyn_core.pipeline.order import STAGES
from tests.harness.runs import Finished, checksums, contents, differing


def places(finished: Finished, *stages: str) -> dict[Path, int]:
    """The files of the stages, and which file each of them is."""
    return {path: path.stat().st_ino for path in finished.files(rf"^({'|'.join(stages)})/")}


@pytest.mark.parametrize(
    ("setting", "stage"),
    [
        ("score.hard=1", "select"),
        pytest.param("score.easy=1", "select", marks=pytest.mark.slow),
        pytest.param("filter.tau=90000", "filter", marks=pytest.mark.slow),
    ],
)
def test_what_lies_before_a_change_stays(finished: Finished, setting: str, stage: str) -> None:
    before = places(finished, *STAGES[: STAGES.index(stage)])
    costly = finished.whole["finetune/posesyn/weights.safetensors"]
    finished.victim.complete(stage, str(finished.folder), "--set", setting, "--restart", stage)
    assert before and {path: path.stat().st_ino for path in before} == before
    assert costly in checksums(finished.folder)  # in its place, or set aside


def test_a_filter_that_refuses_in_the_middle_leaves_the_verdicts_as_they_were(finished: Finished) -> None:
    """Frames that were dropped as they were drawn can't be kept later; the command finds out at one of them."""
    errors = sorted(row.verdict.error for row in finished.run.frames.values())
    folder, tau = str(finished.folder), errors[len(errors) // 2]
    finished.victim.complete("animate", folder, "--set", f"filter.tau={tau}", "--restart", "animate")
    finished.victim.complete("filter", folder)
    before = contents(finished.folder)
    wider = ["filter", folder, "--set", "filter.tau=90000", "--restart", "filter"]
    assert finished.victim.do(*wider) == {"killed": False, "code": 2}
    assert differing(contents(finished.folder), before) == []
