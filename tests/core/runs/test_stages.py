"""The whole loop on a few rendered people, and every variant that is one key of the recipe."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attrs import frozen
from click.testing import CliRunner
from PIL import Image as Pillow

from posesyn_core import UserError, hookimpl
from posesyn_core.cli import taking
from posesyn_core.components import Component, Kind
from posesyn_core.errors import NothingLeft
from posesyn_core.geometry import skeletons
from posesyn_core.geometry.cameras import project
from posesyn_core.method.filtering import pose_error_3d
from posesyn_core.pipeline.fiftyone import export_fiftyone
from posesyn_core.pipeline.filter import labelled_frames
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import require_some, run_all, run_stage
from posesyn_core.values import Keypoints, Sample
from tests.tiny import folder_data_set

TEST = "test={name='world', part='lab', split='tests', count=4, image_size=128, workers=1}"
REAL = "real=[{name='world', part='lab', split='tests', count=4, image_size=128, workers=1}]"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_data_set(tmp_path_factory.mktemp("data"), people=6, part="lab")


def started(recipe: Path, folder: Path, registry: Registry, *overrides: str) -> Run:
    return create_run(folder, load_recipe(recipe, overrides), registry)


def until(run: Run, last: str) -> dict[str, Any]:
    """Run the stages up to ``last``; return its figures."""
    figures: dict[str, Any] = {}
    for stage in STAGES[: STAGES.index(last) + 1]:
        figures = run_stage(run, stage)
    return figures


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Run:
    """A complete run: every other test may read it."""
    settings = (TEST, REAL, "finetune.steps=2", "finetune.batch_size=4", "filter.tau=1000")
    run = started(recipe, tmp_path_factory.mktemp("run"), registry, *settings)
    run_all(run, lambda stage, figures: None)
    return run


def test_every_stage_leaves_what_it_says(finished: Run) -> None:
    assert finished.summary("score") == {"samples": 6, "rejected": 0}
    assert finished.summary("select") == {"hard": 2, "easy": 2}
    assert finished.require("filter")["kept"] == finished.require("animate")["frames"] > 0
    variants = finished.require("evaluate")["variants"]
    assert set(variants) == {"shipped", "real_only", "posesyn"}
    assert all(np.isfinite(figures["mpjpe"]) and figures["samples"] == 4 for figures in variants.values())
    for variant in ("real_only", "posesyn"):
        assert (finished.folder / "finetune" / variant / "weights.safetensors").is_file()
    for name in ("report.html", "rejected.parquet", "export/webdataset", "export/coco", "export/spin"):
        assert (finished.folder / name).exists(), name


@pytest.mark.parametrize("kind", ["coco", "webdataset"])
def test_an_exported_data_set_has_its_card(finished: Run, kind: str) -> None:
    folder = finished.folder / "export" / kind
    text, kept = (folder / "README.md").read_text(), finished.require("filter")["kept"]
    hard = {selected.scored.sample.id for selected in finished.of_role("hard")}
    assert f"{kept} pictures of people" in text and f"| frames kept (in this folder) | {kept} |" in text
    assert "| animator | `reprojection` | - | our own (Apache-2.0) | none | yours, as far as" in text
    assert "| estimator | `starter` | starter |" in text
    assert "`tpe_error` (tau = 1000" in text and "the free body (MakeHuman, CC0)" in text
    with (folder / "sources.csv").open() as file:
        sources = list(csv.DictReader(file))
    assert sum(int(source["frames"]) for source in sources) == kept
    assert {source["hard_image"] for source in sources} <= hard
    assert all(source["caption"] and f"`{source['reference_image']}`" in text for source in sources)


def test_a_run_can_be_browsed_in_fiftyone(finished: Run, tmp_path: Path) -> None:
    """As FiftyOne documents its data sets on disk: relative coordinates, labels by their class, every picture there."""
    counts = export_fiftyone(finished, tmp_path / "fiftyone")
    frames = finished.require("filter")["kept"]
    assert counts == {"photographs": 6, "frames": frames, "unreadable": 0}
    metadata = json.loads((tmp_path / "fiftyone" / "metadata.json").read_text())
    smpl = skeletons.joint_set("smpl24")
    assert metadata["media_type"] == "image"
    for field in ("labels", "predictions"):
        drawn = metadata["info"]["skeletons"][field]
        assert drawn["labels"] == list(smpl.joints) and drawn["edges"] == [list(bone) for bone in smpl.bones]
    samples = json.loads((tmp_path / "fiftyone" / "samples.json").read_text())["samples"]
    assert len(samples) == 6 + frames
    for sample in samples:
        with Pillow.open(sample["filepath"]) as picture:
            assert (sample["metadata"]["width"], sample["metadata"]["height"]) == picture.size
        (box,) = sample["people"]["detections"]
        assert box["_cls"] == "Detection" and all(-0.5 < share < 1.5 for share in box["bounding_box"])
        for field in ("labels", "predictions"):
            assert sample[field]["_cls"] == "Keypoints"
            assert all(len(skeleton["points"]) == 24 for skeleton in sample[field]["keypoints"])
    tags = [tag for sample in samples for tag in sample["tags"]]
    assert tags.count("hard") == tags.count("easy") == 2 and tags.count("kept") == frames
    worst = finished.of_role("hard")[0].scored
    (found,) = (one for one in samples if one["people"]["detections"][0]["sample_id"] == worst.sample.id)
    assert found["error"] == worst.error and "hard" in found["tags"]


@pytest.mark.parametrize("installed", [True, False])
def test_whoever_has_no_fiftyone_is_told_what_brings_it(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    monkeypatch.setattr("posesyn_core.cli.taking.find_spec", lambda name: object() if installed else None)
    command = [str(finished.folder), "--out", str(tmp_path / "fiftyone")]
    done = CliRunner().invoke(taking.export_fiftyone, command, obj=finished.registry, catch_exceptions=False)
    assert done.exit_code == 0 and "6 photographs" in done.output
    assert ("pip install 'posesyn[fiftyone]'" in done.output) is not installed


def test_hard_samples_have_larger_errors_than_easy_ones(finished: Run) -> None:
    errors = {role: [s.scored.error for s in finished.of_role(role)] for role in ("hard", "easy")}
    assert errors["hard"] == sorted(errors["hard"], reverse=True)
    assert errors["easy"] == sorted(errors["easy"])
    assert min(errors["hard"]) >= max(errors["easy"])


def test_labels_are_the_projection_of_the_planned_joints(finished: Run) -> None:
    clips = list(finished.clips.values())
    assert {clip.plan.sample_id for clip in clips} == {s.scored.sample.id for s in finished.of_role("hard")}
    for clip in clips:
        plan = clip.plan
        seen = project(plan.joints3d, plan.camera.focal_length, plan.camera.principal_point)
        np.testing.assert_allclose(seen, plan.joints2d, atol=0.01)
        assert len(clip.frames) == len(plan.joints3d) == len(list(labelled_frames(clip)))
        assert all(frame.on_disk and frame.image.is_file() for frame in clip.frames)


def test_a_clip_starts_as_its_reference_stands(finished: Run) -> None:
    for clip in finished.clips.values():
        reference = clip.plan.reference_estimate.smpl
        assert reference is not None
        np.testing.assert_allclose(clip.plan.global_orient[0], reference.global_orient, atol=1e-3)
        np.testing.assert_allclose(clip.plan.transl[0], reference.transl, atol=1e-4)
        np.testing.assert_allclose(clip.plan.betas, reference.betas)


def test_the_filter_judges_by_equation_6(finished: Run) -> None:
    row = next(iter(finished.frames.values()))
    estimator = finished.create(Kind.ESTIMATOR, finished.recipe.estimator, "estimator")
    from posesyn_core.inference.predict import predict
    from posesyn_core.values import Sample

    frame = row.frame
    sample = Sample(frame.id, frame.image, frame.box, "smpl24", frame.joints2d, frame.confidence)
    estimate = next(iter(predict(estimator, [[sample]])))[0]
    assert frame.joints3d is not None
    error = pose_error_3d(1000 * estimate.joints3d[None, :22], 1000 * frame.joints3d[None, :22])  # type: ignore[union-attr]
    assert row.verdict.error == pytest.approx(float(error[0]), abs=0.05)


def test_a_finished_run_does_nothing_again(finished: Run) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.parquet") if path.parent != finished.folder
    }
    weights = finished.folder / "finetune/posesyn/weights.safetensors"
    stamp = weights.stat().st_mtime_ns
    run_all(finished, lambda stage, figures: None)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert weights.stat().st_mtime_ns == stamp


def test_trackers_are_told_of_every_stage(recipe: Path, tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    class Tracker:
        @hookimpl
        def stage_started(self, run: Path, stage: str) -> None:
            told.append(("started", stage))

        @hookimpl
        def stage_finished(self, run: Path, stage: str, summary: dict[str, Any]) -> None:
            told.append(("finished", stage))
            json.dumps(summary)

    own = Registry.discover()
    own.add(Tracker(), Origin("tracker", "test", "1"))
    until(started(recipe, tmp_path / "run", own), "select")
    assert told == [("started", "score"), ("finished", "score"), ("started", "select"), ("finished", "select")]


def hard_ids(run: Run) -> list[str]:
    return [selected.scored.sample.id for selected in run.of_role("hard")]


def test_without_eem_the_samples_are_drawn_at_random_by_the_seed(
    recipe: Path, tmp_path: Path, registry: Registry
) -> None:
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 3)):
        run = started(recipe, tmp_path / name, registry, "score.method=random", f"seed={seed}")
        until(run, "select")
        drawn.append(hard_ids(run))
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn}) > 1


def test_another_estimator_may_mine_and_another_may_label(recipe: Path, tmp_path: Path, registry: Registry) -> None:
    own = started(recipe, tmp_path / "own", registry)
    until(own, "select")
    other = started(recipe, tmp_path / "other", registry, "eem={name='starter', weights='random'}")
    until(other, "select")
    assert list(own.scored.column("error")) != list(other.scored.column("error"))

    for labels in ("estimated_2d", "estimated_3d"):
        labelled = started(recipe, tmp_path / labels, registry, f"score.labels={labels}", "labeller=starter")
        until(labelled, "score")
        errors = [error for _, error in labelled.scored.column("error")]
        assert max(errors) < 1e-3  # its own predictions as labels: no error at all


def test_a_2d_estimator_may_label(recipe: Path, tmp_path: Path) -> None:
    class Detector:
        joint_set = "coco17"

        def detect(self, samples: Sequence[Sample]) -> list[Keypoints]:
            points = [skeletons.convert(s.keypoints2d, None, s.joint_set, "coco17") for s in samples]
            return [Keypoints(found, known) for found, known in points]

    @frozen
    class Config:
        pass

    class Plugin:
        @hookimpl
        def register_keypoint_estimators(self) -> list[Component]:
            return [Component(Kind.KEYPOINTS, "detector", "the truth in COCO's joints", lambda _: Detector(), Config)]

    registry = Registry.discover()
    registry.add(Plugin(), Origin("detector", "tests", "1"))
    run = started(recipe, tmp_path / "run", registry, "score.labels=estimated_2d", "labeller=detector")
    until(run, "score")
    assert {scored.compared for scored in run.scored.values()} == {"coco17"}
    for name in ("left_wrist", "right_knee"):
        ours = [s.joint_errors[skeletons.COCO17.joints.index(name)] for s in run.scored.values()]
        assert np.isfinite(ours).all() and min(ours) > 0

    with pytest.raises(UserError, match="estimates 2D joints only"):
        until(started(recipe, tmp_path / "3d", registry, "score.labels=estimated_3d", "labeller=detector"), "score")


def test_engines_give_the_same_selection(recipe: Path, tmp_path: Path, registry: Registry) -> None:
    eager = started(recipe, tmp_path / "eager", registry)
    until(eager, "select")
    batched = started(recipe, tmp_path / "batched", registry, "machine.batch_size=1", "machine.workers=1")
    until(batched, "select")
    assert hard_ids(eager) == hard_ids(batched)


@pytest.mark.parametrize("guidance", ["text_only", "pose_only", "pseudo_label"])
def test_guidance_variants(guidance: str, recipe: Path, tmp_path: Path, registry: Registry) -> None:
    run = started(
        recipe, tmp_path / "run", registry, f"synthesize.guidance={guidance}", "synthesize.motions_per_sample=2"
    )
    figures = until(run, "synthesize")
    assert figures["motions"] == 4 and figures["rejected"] == 0
    motions = list(run.motions.values())
    assert len({motion.id for motion in motions}) == 4
    still = [float(np.ptp(motion.joints, axis=0).max()) == 0 for motion in motions]
    assert all(still) if guidance == "pseudo_label" else not any(still)


@pytest.mark.parametrize("orientation", ["literal", "heading"])
def test_orientation_and_reference_variants(
    orientation: str, recipe: Path, tmp_path: Path, registry: Registry, finished: Run
) -> None:
    settings = (f"animate.orientation={orientation}", "animate.references_per_motion=2", "animate.max_frames=3")
    run = started(recipe, tmp_path / "run", registry, *settings)
    figures = until(run, "animate")
    assert figures["clips"] == 4 and figures["frames"] == 12
    references = [clip.plan.reference.id for clip in run.clips.values()]
    assert len(set(references[:2])) == 2
    same = next(c for c in run.clips.values() if c.plan.id.endswith("@0"))
    anchored = next(c for c in finished.clips.values() if c.plan.id == same.plan.id)
    assert np.abs(same.plan.global_orient[2] - anchored.plan.global_orient[2]).max() > 1e-3


def test_a_bad_fit_is_rejected_with_its_number(recipe: Path, tmp_path: Path, registry: Registry) -> None:
    run = started(recipe, tmp_path / "run", registry, "animate.max_residual_mm=0.01", "animate.max_frames=3")
    figures = until(run, "animate")
    assert figures["rejected"] == 2
    with pytest.raises(NothingLeft, match=r"animate of 2 clips: 2 rejected, .*residual … mm > … mm \(2\)"):
        require_some("animate", figures)
    assert all("residual" in reason and "mm" in reason for _, reason in run.clips.rejections())


def test_a_filter_that_keeps_nothing_is_told_before_training(recipe: Path, tmp_path: Path, registry: Registry) -> None:
    run = started(
        recipe, tmp_path / "run", registry, REAL, "filter.tau=0.001", "finetune.steps=2", "animate.max_frames=2"
    )
    figures = until(run, "filter")
    with pytest.raises(NothingLeft, match=r"4 dropped, most often for: .*exceeds tau = … mm \(4\) .*--restart filter"):
        require_some("filter", figures)
    assert until(run, "export")["frames"] == 0
    assert all(not row.verdict.keep and "exceeds tau" in row.verdict.reason for row in run.frames.values())
    with pytest.raises(NothingLeft, match=r"exceeds tau = … mm \(4\).*raise filter\.tau"):
        run_stage(run, "finetune")


def test_without_training_and_test_data_the_loop_ends_with_notes(
    recipe: Path, tmp_path: Path, registry: Registry
) -> None:
    run = started(recipe, tmp_path / "run", registry, "animate.max_frames=2")
    assert "report" in until(run, "report")
    assert "note" in run.require("finetune") and "note" in run.require("evaluate")


def test_an_animator_that_draws_too_little_rejects_its_clip(recipe: Path, tmp_path: Path) -> None:
    from attrs import frozen

    from posesyn_core import Component

    @frozen
    class Config:
        pass

    class Lazy:
        def animate(self, plan: Any) -> Sequence[np.ndarray]:
            return [np.zeros((8, 8, 3), np.uint8)]

    def register_animators() -> list[Component]:
        return [Component(Kind.ANIMATOR, "lazy", "", lambda config: Lazy(), Config)]

    own = Registry.discover()
    own.add(SimpleNamespace(register_animators=hookimpl(register_animators)), Origin("lazy", "test", "1"))
    run = started(recipe, tmp_path / "run", own, "animator=lazy")
    assert until(run, "animate")["rejected"] == 2
    assert all("drew 1 frames for a plan of" in reason for _, reason in run.clips.rejections())
