"""Eq. 13: frames on which the estimator is too wrong are left out."""

import numpy as np
import pytest
from attrs import evolve

from posesyn_core import PoseEstimate
from posesyn_core.authoring.people import frames, truths
from posesyn_core.components import Kind
from posesyn_core.registry import Registry
from posesyn_posegen.model import FEEDBACK_JOINTS
from posesyn_posegen.rejection import Rejection


def rejection(**options: object) -> Rejection:
    made: Rejection = Registry.discover().create(Kind.FILTER, "posegen_rejection", options, "filter")
    return made


def moved(estimate: PoseEstimate, metres: float, joint: int = FEEDBACK_JOINTS[0]) -> PoseEstimate:
    joints = np.array(estimate.joints3d)
    joints[joint, 1] += metres
    return evolve(estimate, joints3d=joints)


def test_the_mean_over_14_joints_decides() -> None:
    (frame, *_), (truth, *_) = frames(), truths()
    made = rejection(threshold=20.0, rescale=False)
    good, bad, other = made.judge([frame] * 3, [moved(truth, 0.27), moved(truth, 0.29), moved(truth, 9.0, 23)])
    assert good.keep and good.error == pytest.approx(270 / 14, rel=1e-3)
    assert not bad.keep and "not below d = 20 mm" in bad.reason
    assert other.keep and other.error == pytest.approx(0, abs=1e-3)  # a hand is none of them


def test_size_is_no_fault_if_the_estimate_is_rescaled() -> None:
    (frame, *_), (truth, *_) = frames(), truths()
    larger = evolve(truth, joints3d=1.4 * truth.joints3d)
    assert rejection().judge([frame], [larger])[0].error == pytest.approx(0, abs=1e-3)
    assert rejection(rescale=False).judge([frame], [larger])[0].error > 50


def test_what_is_unknown_is_dropped() -> None:
    (frame, *_), (truth, *_) = frames(), truths()
    lost = evolve(truth, joints3d=np.where(np.arange(24)[:, None] > 5, np.nan, truth.joints3d))
    for given, estimate in ((frame, lost), (evolve(frame, joints3d=None), truth)):
        (verdict,) = rejection().judge([given], [estimate])
        assert not verdict.keep and "not finite" in verdict.reason
