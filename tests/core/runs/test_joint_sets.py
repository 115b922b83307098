"""The whole loop with an estimator that knows other joints than SMPL's, and no body."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import UserError, hookimpl
from posesyn_core.components import Component, Kind
from posesyn_core.geometry.skeletons import JointSet, conversion, convert
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import run_all, run_stage
from posesyn_core.values import LabelledFrame, PoseEstimate
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin
from tests.tiny import folder_data_set

TEST = "test={name='world', part='lab', split='tests', count=4, image_size=128, workers=1}"
REAL = "real=[{name='world', part='lab', split='tests', count=4, image_size=128, workers=1}]"
STUMPS = JointSet("stumps4", ("left_hip", "right_hip", "left_knee", "right_knee"), (-1, 0, 0, 1), (0, 1), "Thighs")


class Other(Spin):
    """A network that says its joints in another set, and nothing of a body; ``seen`` are its training frames' sets."""

    joint_set = "h36m16"
    seen: set[str] = set()  # noqa: RUF012

    def decode(self, outputs: Mapping[str, np.ndarray], contexts: Sequence[Any]) -> list[PoseEstimate]:
        return [self._other(estimate) for estimate in super().decode(outputs, contexts)]

    def _other(self, estimate: PoseEstimate) -> PoseEstimate:
        solid, known = convert(estimate.joints3d, None, "smpl24", self.joint_set)
        flat, _ = convert(estimate.joints2d, None, "smpl24", self.joint_set)
        points = [np.where(known[:, None], each, np.nan) for each in (solid, flat)]
        return PoseEstimate(*points, estimate.camera, joint_set=self.joint_set)

    def training_inputs(self, frame: LabelledFrame, rng: np.random.Generator) -> dict[str, np.ndarray]:
        self.seen.add(frame.joint_set)
        return super().training_inputs(frame, rng)


class Stumps(Other):
    joint_set = "stumps4"


class Plugin:
    @staticmethod
    @hookimpl
    def register_estimators() -> list[Component]:
        return [
            Component(Kind.ESTIMATOR, kind.__name__.lower(), "Other joints", kind, SpinConfig)
            for kind in (Other, Stumps)
        ]

    @staticmethod
    @hookimpl
    def register_joint_sets() -> list[JointSet]:
        return [STUMPS]


@pytest.fixture(scope="module")
def registry() -> Registry:
    found = Registry.discover()
    found.add(Plugin(), Origin("other", "tests", "1"))
    assert not found.failures
    return found


def started(folder: Path, registry: Registry, *settings: str) -> Run:
    recipe = folder_data_set(folder / "data", people=6, part="lab")
    return create_run(folder / "run", load_recipe(recipe, settings), registry)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights, the same for every estimator."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    Spin(SpinConfig(weights="random")).save(path)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, registry: Registry, weights: Path) -> Run:
    estimator = f"estimator={{name='other', weights='{weights}'}}"
    settings = (TEST, REAL, estimator, "finetune.steps=2", "finetune.batch_size=4", "filter.tau=1000")
    run = started(tmp_path_factory.mktemp("other"), registry, *settings)
    run_all(run, lambda stage, figures: None)
    return run


def test_the_loop_runs_in_the_estimators_joints(finished: Run) -> None:
    assert finished.summary("score") == {"samples": 6, "rejected": 0}
    for scored in finished.scored.values():
        assert scored.estimate.joint_set == "h36m16"
        labelled = np.isfinite(scored.joint_errors)
        np.testing.assert_array_equal(labelled, (conversion("h36m16", "smpl24") != 0).any(1))
    assert finished.require("filter")["kept"] > 0
    for name in ("report.html", "export/webdataset", "export/coco", "export/spin"):
        assert (finished.folder / name).exists(), name
    variants = finished.require("evaluate")["variants"]
    assert set(variants) == {"shipped", "real_only", "posesyn"}
    assert all(np.isfinite(figures["mpjpe"]) and figures["samples"] == 4 for figures in variants.values())
    assert Other.seen == {"h36m16"}


def test_whole_poses_are_fitted_once_and_recorded(finished: Run) -> None:
    summary = finished.summary("select")
    assert (summary["hard"], summary["easy"], summary["fitted"]) == (2, 2, 4)
    wholes = [selected.whole for role in ("hard", "easy") for selected in finished.of_role(role)]
    residuals = [whole.residual_mm for whole in wholes if whole is not None and whole.smpl is not None]
    assert len(residuals) == 4
    assert summary["mean_residual_mm"] == pytest.approx(np.mean(np.array(residuals, float)), abs=0.01)
    assert 0 < summary["mean_residual_mm"] < 30
    report = (finished.folder / "report.html").read_text()
    assert "joints of the set h36m16" in report
    assert f"{np.mean(np.array(residuals, float)):.1f} mm on average" in report
    references = {row.unit: row.value for row in finished.references.rows()}
    assert all(value is not None and value.estimate.joint_set == "smpl24" for value in references.values())


def test_errors_are_nearly_those_in_smpls_joints(
    finished: Run, tmp_path: Path, registry: Registry, weights: Path
) -> None:
    """Eq. 1 takes limbs alone, relative to the hips instead of the pelvis: a few pixels' difference."""
    run = started(tmp_path, registry, f"estimator={{name='spin', weights='{weights}'}}")
    run_stage(run, "score")
    ours = np.array([error for _, error in finished.scored.column("error")])
    theirs = np.array([error for _, error in run.scored.column("error")])
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9


def test_a_set_too_poor_for_a_pose_is_refused(tmp_path: Path, registry: Registry) -> None:
    run = started(tmp_path, registry, "estimator.name='stumps'", "score.min_weight=0")
    run_stage(run, "score")
    with pytest.raises(UserError, match="joint set 'stumps4' is too poor for a whole SMPL pose"):
        run_stage(run, "select")
