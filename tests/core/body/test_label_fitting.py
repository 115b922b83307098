"""Pseudo-labels fitted to 2D labels: nearer to the truth where they were wrong, untouched where nothing is known."""

import numpy as np
import pytest
import torch
from attrs import evolve
from scipy.spatial.transform import Rotation

from posesyn_core.body.label_fitting import fit_to_labels
from posesyn_core.body.model import Body, load_body
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.skeletons import convert
from posesyn_core.method import metrics
from posesyn_core.values import Camera, PoseEstimate, Sample, SmplParams

CAMERA = Camera([400, 400], [128, 128])


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def joints_of(body: Body, smpl: SmplParams) -> np.ndarray:
    arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    return body.joints(*(torch.from_numpy(np.array(array)[None]) for array in arrays))[0].numpy()


def estimate_of(body: Body, smpl: SmplParams) -> PoseEstimate:
    joints = joints_of(body, smpl)
    joints2d = project(joints, CAMERA.focal_length, CAMERA.principal_point)
    return PoseEstimate(joints - joints[:1], joints2d, CAMERA, smpl)


def sample_of(truth: PoseEstimate, joint_set: str) -> Sample:
    points, known = convert(truth.joints2d, None, "smpl24", joint_set)
    return Sample("s", b"", [0, 0, 255, 255], joint_set, points, known, CAMERA)


def error(joints: np.ndarray, truth: PoseEstimate) -> float:
    pair = (1000 * joints[None, :22].astype(float), 1000 * truth.joints3d[None, :22].astype(float))
    return float(metrics.mpjpe(*pair, root=0)[0])


@pytest.mark.parametrize("joint_set", ["smpl24", "mpii16", "coco17"])
def test_a_person_who_lies_is_laid_down(body: Body, joint_set: str) -> None:
    random = np.random.default_rng(0)
    pose = 0.25 * random.standard_normal((23, 3))
    upright = SmplParams([np.pi, 0, 0], pose, np.zeros(10), [0, 0, 5])
    rolled = Rotation.from_rotvec([0, 0, 1.4]) * Rotation.from_rotvec([np.pi, 0, 0])
    lying = evolve(upright, global_orient=rolled.as_rotvec())
    truth, guess = estimate_of(body, lying), estimate_of(body, upright)
    (fitted,) = fit_to_labels(body, [guess], [sample_of(truth, joint_set)])
    assert error(guess.joints3d, truth) > 400
    assert error(fitted, truth) < 80


def test_limbs_follow_the_labels(body: Body) -> None:
    pose = np.zeros((23, 3))
    guess = estimate_of(body, SmplParams([np.pi, 0, 0], pose, np.zeros(10), [0, 0, 5]))
    pose[15, 2], pose[16, 2] = -1.2, 1.2  # arms down
    truth = estimate_of(body, SmplParams([np.pi, 0, 0], pose, np.zeros(10), [0, 0, 5]))
    (fitted,) = fit_to_labels(body, [guess], [sample_of(truth, "mpii16")])
    wrists = [20, 21]

    def off(joints: np.ndarray) -> float:
        """How far the wrists are off in the image plane, metres."""
        return float(np.linalg.norm((joints - truth.joints3d)[wrists, :2], axis=-1).mean())

    assert off(guess.joints3d) > 0.3
    assert off(fitted) < 0.1


def test_a_right_estimate_stays(body: Body) -> None:
    truth = estimate_of(body, SmplParams([np.pi, 0.3, 0], np.full((23, 3), 0.1), np.zeros(10), [0, 0, 5]))
    (fitted,) = fit_to_labels(body, [truth], [sample_of(truth, "smpl24")])
    assert error(fitted, truth) < 70  # weak perspective is not the camera's: 5 m away it costs as much


def test_what_cannot_be_fitted_is_left(body: Body) -> None:
    truth = estimate_of(body, SmplParams([np.pi, 0, 0], np.zeros((23, 3)), np.zeros(10), [0, 0, 5]))
    sample = sample_of(truth, "mpii16")
    unlabelled = evolve(sample, confidence=np.eye(16)[0])
    bodiless = evolve(truth, smpl=None)
    fitted = fit_to_labels(body, [truth, bodiless], [unlabelled, sample])
    np.testing.assert_array_equal(fitted, np.stack([truth.joints3d] * 2))


def test_a_label_that_is_not_known_does_not_count(body: Body) -> None:
    truth = estimate_of(body, SmplParams([np.pi, 0.3, 0], np.full((23, 3), 0.1), np.zeros(10), [0, 0, 5]))
    sample = sample_of(truth, "mpii16")
    confidence = np.array(sample.confidence)
    confidence[3] = 0
    somewhere, nowhere = (np.array(sample.keypoints2d) for _ in range(2))
    somewhere[3], nowhere[3] = 1000, np.nan
    samples = [evolve(sample, confidence=confidence, keypoints2d=points) for points in (somewhere, nowhere)]
    elsewhere, lost = fit_to_labels(body, [truth] * 2, samples)
    np.testing.assert_allclose(elsewhere, lost, atol=1e-6)
    assert np.isfinite(lost).all()
