"""The reference people: who analyses them, what is refused and recorded; and what the motions laid onto them may do."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from attrs import evolve, frozen

from posesyn_core import Component, Kind, Motion, PoseEstimate, Sample, SampleError, UserError, hookimpl
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run, create_run, fork_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import MotionRequest
from tests.tiny import folder_data_set

BETAS = np.linspace(-0.5, 0.5, 10)


@frozen
class Options:
    kind: str = "good"


class Analyst:
    """Sees what the starter sees, as another person; a picky one finds only ``welcome``, and of ``unwelcome`` nothing.

    Anybody else it places far beside the picture.
    """

    batches: Sequence[int] = ()
    welcome = unwelcome = ""

    def __init__(self, options: Options) -> None:
        self.inner = Registry.discover().create(Kind.ESTIMATOR, "starter", {}, "test")
        self.good = options.kind == "good"

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        from posesyn_core.inference.predict import predict

        (found,) = predict(self.inner, [samples])
        Analyst.batches = (*Analyst.batches, len(samples))
        return [self._changed(sample, estimate) for sample, estimate in zip(samples, found, strict=True)]

    def _changed(self, sample: Sample, estimate: Any) -> PoseEstimate:
        if not self.good and sample.id == self.unwelcome:
            raise SampleError("nobody is there")
        aside = np.array([0.0 if self.good or sample.id == self.welcome else 50.0, 0, 0])
        return evolve(estimate, smpl=evolve(estimate.smpl, betas=BETAS, transl=estimate.smpl.transl + aside))


class Mover:
    """Motions that a generator may come up with."""

    def __init__(self, options: Options) -> None:
        self.kind = options.kind

    def generate(self, requests: Sequence[MotionRequest]) -> list[Motion]:
        return [Motion(r.id, r.sample_id, r.caption, self._joints(r.pose)) for r in requests]

    def _joints(self, pose: Any) -> np.ndarray:
        joints = np.repeat(pose[None], 1 if self.kind == "one frame" else 4, axis=0)
        match self.kind:
            case "rising":
                joints[2:, :, 1] += 100
            case "huge":
                joints[1, 5:] = 1e30
            case "origin":
                joints[:] = 0
            case "scattered":
                joints = 0.2 * np.random.default_rng(0).normal(size=joints.shape)
        return joints


class Plugin:
    @hookimpl
    def register_estimators(self) -> list[Component]:
        return [Component(Kind.ESTIMATOR, "analyst", "", Analyst, Options)]

    @hookimpl
    def register_motion_generators(self) -> list[Component]:
        return [Component(Kind.MOTION, "mover", "", Mover, Options)]


Fork = Callable[..., Run]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with motions, and nothing drawn yet."""
    registry = Registry.discover()
    registry.add(Plugin(), Origin("plugin", "tests", "1"))
    recipe = folder_data_set(tmp_path_factory.mktemp("data"), people=6, part="lab")
    settings = ("score.easy=4", "animate.max_frames=3", "machine.batch_size=3", "score.hard=2")
    run = create_run(tmp_path_factory.mktemp("run"), load_recipe(recipe, settings), registry)
    for stage in STAGES[: STAGES.index("animate")]:
        run_stage(run, stage)
    return run


@pytest.fixture
def forked(source: Run, tmp_path: Path) -> Fork:
    """``forked(*settings, name="a")``: a run like the source, with other settings."""

    def fork(*settings: str, name: str = "fork") -> Run:
        return fork_run(source, tmp_path / name, load_recipe(source.folder / "recipe.toml", settings))

    return fork


def reference_bodies(run: Run) -> list[np.ndarray]:
    bodies = [clip.plan.reference_estimate.smpl for clip in run.clips.values()]
    return [smpl.betas for smpl in bodies if smpl is not None]


def test_another_estimator_may_analyse_the_references(forked: Fork) -> None:
    Analyst.batches = ()
    run = forked("reference=analyst")
    figures = run_stage(run, "animate")
    assert Analyst.batches == (3, 1)  # the easy samples in batches of the machine's size
    assert (figures["references"], figures["references_rejected"], figures["clips"]) == (4, 0, 2)
    for betas in reference_bodies(run):
        np.testing.assert_allclose(betas, BETAS, atol=1e-6)

    (run.folder / "animate" / "done.json").unlink()
    run.clips.part(0).unlink()
    assert run_stage(run, "animate") == figures and Analyst.batches == (3, 1)  # what is known is not asked again


def test_the_scoring_estimator_by_name_gives_the_same_clips(forked: Fork) -> None:
    plain, named = forked(name="plain"), forked("reference=starter", name="named")
    run_stage(plain, "animate")
    run_stage(named, "animate")
    for ours, theirs in zip(plain.clips.values(), named.clips.values(), strict=True):
        np.testing.assert_array_equal(ours.plan.joints2d, theirs.plan.joints2d)


def test_the_reference_estimator_decides_whether_clips_are_taken_over(forked: Fork, tmp_path: Path) -> None:
    first = forked("reference=starter")
    run_stage(first, "animate")
    same = fork_run(first, tmp_path / "same", evolve(first.recipe, name="same"))
    assert same.summary("animate") is not None and list(same.references.values())
    other = fork_run(first, tmp_path / "other", evolve(first.recipe, reference=None))
    assert other.summary("synthesize") is not None and other.summary("animate") is None
    assert not list(other.references.values())


def test_the_references_engine_is_its_own(forked: Fork) -> None:
    with pytest.raises(UserError, match=r"'analyst' has no network of its own: remove \[reference\.engine\]"):
        run_stage(forked("reference=analyst", "reference.engine=compile"), "animate")
    with pytest.raises(UserError, match="warp"):
        forked("reference=starter", "reference.engine=warp", name="unknown").check()


def test_refused_references_are_recorded_and_counted(forked: Fork) -> None:
    run = forked('reference={name="analyst", kind="picky"}')
    easy = [selected.scored.sample.id for selected in run.of_role("easy")]
    Analyst.welcome, Analyst.unwelcome = easy[1], easy[2]
    figures = run_stage(run, "animate")
    assert (figures["references"], figures["references_rejected"], figures["clips"]) == (1, 3, 2)
    recorded = pq.read_table(run.folder / "rejected.parquet").to_pylist()
    reasons = {row["unit"]: row["reason"] for row in recorded if row["stage"] == "reference"}
    assert set(reasons) == {*easy} - {easy[1]} and reasons[easy[2]] == "nobody is there"
    assert reasons[easy[0]] == "only 0 % of the reference's estimated joints lie in the person box"
    assert {clip.plan.reference.id for clip in run.clips.values()} == {easy[1]}
    run_stage(run, "report")
    page = (run.folder / "report.html").read_text()
    assert "of the reference&#39;s estimated joints lie in the person box" in page


def test_without_any_reference_every_clip_is_rejected_with_the_reason(forked: Fork) -> None:
    run = forked('reference={name="analyst", kind="picky"}')
    Analyst.welcome = Analyst.unwelcome = ""
    figures = run_stage(run, "animate")
    assert (figures["clips"], figures["rejected"], figures["references"]) == (2, 2, 0)
    for _, reason in run.clips.rejections():
        assert "none of the 4 reference people can be animated" in reason and "only 0 % of" in reason


def test_a_motion_of_one_frame_is_drawn(forked: Fork) -> None:
    run = forked('motion={name="mover", kind="one frame"}', "animate.max_residual_mm=1000")
    run_stage(run, "synthesize")
    assert run_stage(run, "animate")["frames"] == 2
    assert run_stage(run, "filter")["frames"] == 2


def test_frames_in_which_the_motion_leaves_the_image_are_rejected(forked: Fork) -> None:
    run = forked('motion={name="mover", kind="rising"}', "animate.frame_stride=1", "animate.max_residual_mm=1000")
    run_stage(run, "synthesize")
    assert run_stage(run, "animate")["rejected"] == 0
    figures = run_stage(run, "filter")
    reasons = dict(run.frames.rejections())
    assert figures["rejected"] == len(reasons) == 2
    assert all("leaves the image" in reason or "outside the image" in reason for reason in reasons.values())
    assert all(unit.endswith("/0002") for unit in reasons)


def test_a_fit_that_is_not_finite_rejects_its_clip(forked: Fork) -> None:
    run = forked('motion={name="mover", kind="huge"}', "animate.frame_stride=1")
    run_stage(run, "synthesize")
    assert run_stage(run, "animate")["rejected"] == 2
    assert set(dict(run.clips.rejections()).values()) == {"joints -> SMPL gave numbers that are not finite"}


def test_a_motion_without_extent_is_nobodys(forked: Fork) -> None:
    run = forked('motion={name="mover", kind="origin"}', "animate.frame_stride=1")
    assert run_stage(run, "synthesize")["rejected"] == 2
    assert all("no person's" in reason for _, reason in run.motions.rejections())
    assert run_stage(run, "animate")["clips"] == 0


def test_a_motion_that_no_body_can_do_rejects_its_clip_with_the_residual(forked: Fork) -> None:
    run = forked('motion={name="mover", kind="scattered"}', "animate.frame_stride=1")
    run_stage(run, "synthesize")
    assert run_stage(run, "animate")["rejected"] == 2
    for _, reason in run.clips.rejections():
        assert re.fullmatch(r"joints -> SMPL residual \d{3} mm > 60 mm", reason)
