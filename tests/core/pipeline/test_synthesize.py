"""The stage `synthesize`: interrupted and resumed without repeating work; captions and poses of any kind."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.method.orientation import camera_to_y_up
from posesyn_core.pipeline import synthesize as stage
from posesyn_core.pipeline.run import HARD, Run
from posesyn_core.pipeline.tables import Row
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import Motion, MotionRequest
from posesyn_t2mgpt.generator import T2MGpt
from tests.hard import hard_run

SETTINGS = ["synthesize.max_frames=40", "synthesize.motions_per_sample=2"]
CAPTIONS = ["A person walks.", "A person jumps.", "A person kicks.", "A person crawls."]


def stored(run: Run) -> dict[str, np.ndarray]:
    return {motion.id: motion.joints for motion in run.motions.values()}


def test_an_interrupted_synthesis_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.Motions, "part", 2)
    undisturbed = hard_run(tmp_path / "undisturbed", 4, SETTINGS, CAPTIONS)
    run_stage(undisturbed, "synthesize")
    run = hard_run(tmp_path / "run", 4, SETTINGS, CAPTIONS)
    generate, asked = T2MGpt.generate, list[str]()

    def interrupted(self: T2MGpt, requests: Sequence[MotionRequest]) -> list[Motion]:
        if len(asked) >= 4:
            raise KeyboardInterrupt
        asked.extend(request.id for request in requests)
        return generate(self, requests)

    monkeypatch.setattr(T2MGpt, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_stage(run, "synthesize")
    assert run.summary("synthesize") is None
    before = {part: part.stat().st_mtime_ns for part in run.motions.parts()}
    assert len(before) == 2 and list(stored(run)) == asked

    def counting(self: T2MGpt, requests: Sequence[MotionRequest]) -> list[Motion]:
        asked.extend(request.id for request in requests)
        return generate(self, requests)

    monkeypatch.setattr(T2MGpt, "generate", counting)
    assert run_stage(run, "synthesize")["motions"] == 8
    assert len(asked) == len(set(asked)) == 8
    assert {part: part.stat().st_mtime_ns for part in before} == before
    for one, other in zip(run.motions.parts(), undisturbed.motions.parts(), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_captions_are_used_or_rejected_each_alone(tmp_path: Path) -> None:
    """The generator reads English of any length; what can't guide it is a recorded rejection, not a poor motion."""
    captions = [
        "",
        "A person " + "jumps and kicks and " * 60,
        "Человек прыгает через забор.",
        "Une femme danse à côté.",
    ]
    run = hard_run(tmp_path / "run", 4, ["synthesize.max_frames=40"], captions)
    assert run_stage(run, "synthesize") == {
        "motions": 4,
        "rejected": 2,
        "reasons": {
            "the caption … has no words; guidance … needs some (or …)": 1,
            "the caption … is not in Latin letters; translate it into English": 1,
        },
        "frames": 80,
    }
    assert [motion.caption for motion in run.motions.values()] == [captions[1], captions[3]]
    assert all(np.isfinite(joints).all() for joints in stored(run).values())
    empty, foreign = (reason for _, reason in run.motions.rejections())
    assert "has no words" in empty and "not in Latin letters" in foreign


def test_every_pose_keeps_its_own_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever parts the tables have; samples whose caption was rejected, or that have none, are left out."""
    monkeypatch.setattr(stage, "TOGETHER", 3)
    run = hard_run(tmp_path / "run", 4, SETTINGS, CAPTIONS)
    rows = list(run.captions.rows())
    run.captions.write_part(0, [rows[0], Row(rows[1].unit, rejected="nothing to say")])
    run.captions.write_part(1, [rows[3]])
    requests = [request for _, request in stage.Motions(run).units()]
    assert [(one.sample_id, one.caption) for one in requests] == [
        (rows[at].unit, CAPTIONS[at]) for at in (0, 0, 3, 3)
    ]  # fmt: skip
    poses = {one.scored.sample.id: one.pose.joints3d[:22] for one in run.of_role(HARD)}
    for one in requests:
        np.testing.assert_allclose(one.pose, camera_to_y_up(poses[one.sample_id]))


def test_a_broken_pseudo_label_rejects_itself_alone(tmp_path: Path) -> None:
    run = hard_run(tmp_path / "run", 4, ["synthesize.max_frames=40"], CAPTIONS)
    rows = list(run.selected.rows())
    for at, joints in ((1, np.full((24, 3), np.nan, np.float32)), (2, np.zeros((24, 3), np.float32))):
        selected = rows[at].value
        assert selected is not None and selected.role == HARD
        broken = evolve(selected.scored.estimate, joints3d=joints)
        rows[at] = Row(rows[at].unit, evolve(selected, scored=evolve(selected.scored, estimate=broken)))
    run.selected.write_part(0, rows)
    figures = run_stage(run, "synthesize")
    assert figures["rejected"] == 2
    reasons = dict(run.motions.rejections())
    assert "not finite" in reasons[f"{rows[1].unit}#0"]
    assert "no body" in reasons[f"{rows[2].unit}#0"]
    assert list(stored(run)) == [f"{rows[0].unit}#0", f"{rows[3].unit}#0"]


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ({}, r"T2MGpt\..* returned a dict where a list of Motion is needed"),
        ([np.zeros((40, 22, 3))] * 2, "returned an array in its list, where each must be a Motion"),
        ([], "returned 0 results for 2 inputs"),
    ],
)
def test_a_generator_that_returns_something_else_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returned: object, complaint: str
) -> None:
    run = hard_run(tmp_path / "run", 2, ["synthesize.max_frames=40"], CAPTIONS[:2])
    monkeypatch.setattr(T2MGpt, "generate", lambda self, requests: returned)
    with pytest.raises(UserError, match=complaint):
        run_stage(run, "synthesize")


@pytest.mark.parametrize(
    ("scale", "complaint"), [(0.0, "limb bones of 0 m"), (1000.0, r"other units\?"), (np.nan, "not finite")]
)
def test_a_motion_of_nobody_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float, complaint: str
) -> None:
    run, generate = hard_run(tmp_path / "run", 2, ["synthesize.max_frames=40"], CAPTIONS[:2]), T2MGpt.generate

    def scaled(self: T2MGpt, requests: Sequence[MotionRequest]) -> list[Motion]:
        first, *rest = generate(self, requests)
        return [evolve(first, joints=first.joints * scale), *rest]

    monkeypatch.setattr(T2MGpt, "generate", scaled)
    assert run_stage(run, "synthesize")["rejected"] == 1
    assert re.search(complaint, next(iter(dict(run.motions.rejections()).values())))
