"""Eq. 6 and the filter built on it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.components import FrameFilter
from posesyn_core.errors import UserError
from posesyn_core.geometry.skeletons import JointSet, convert, joint_set, register
from posesyn_core.method.filtering import AllOf, TpeError, TpeErrorConfig, pose_error_3d
from posesyn_core.values import Camera, FloatArray, LabelledFrame, PoseEstimate, Verdict


def zeros(*shape: int) -> FloatArray:
    return np.zeros(shape, np.float32)


CAMERA = Camera(zeros(2), zeros(2))


def frame(joints3d: np.ndarray | None) -> LabelledFrame:
    label = None if joints3d is None else joints3d.astype(np.float32)
    return LabelledFrame("f", b"", zeros(4), zeros(24, 2), zeros(24), joints3d=label)


def estimate(joints3d: np.ndarray) -> PoseEstimate:
    return PoseEstimate(joints3d.astype(np.float32), zeros(24, 2), CAMERA)


def test_equation_6_by_hand() -> None:
    target = np.zeros((1, 3, 3))
    pred = np.array([[[10, 0, 0], [10, 30, 40], [22, 9, 8]]])  # 50 and 17 mm relative to the root
    assert pose_error_3d(pred, target, "sum").tolist() == [67]
    assert pose_error_3d(pred, target).tolist() == [33.5]
    with pytest.raises(ValueError, match="median"):
        pose_error_3d(pred, target, "median")  # type: ignore[arg-type]


@given(seed=st.integers(0, 2**32 - 1))
def test_ignores_where_the_root_is_and_agrees_with_torch(seed: int) -> None:
    pred, target = np.random.default_rng(seed).normal(0, 300, (2, 4, 22, 3))
    errors = pose_error_3d(pred, target)
    np.testing.assert_allclose(pose_error_3d(pred + np.array([1, 2, 3]), target - 5), errors)
    np.testing.assert_allclose(pose_error_3d(pred, target, "sum"), 21 * errors)
    np.testing.assert_allclose(pose_error_3d(torch.from_numpy(pred), torch.from_numpy(target)).numpy(), errors)


def test_the_filter_keeps_up_to_tau_and_says_why_it_drops() -> None:
    label = np.random.default_rng(0).normal(0, 0.3, (24, 3))
    off = np.zeros((24, 3))
    off[1:22, 1] = 0.08  # metres, on each shared joint but the root
    off[22:] = 9  # the hands do not count
    broken = label + np.where(np.arange(24)[:, None] == 0, np.nan, 0)  # the root
    frames = [frame(label), frame(label), frame(label), frame(None), frame(label)]
    estimates = [estimate(label), estimate(label + off), estimate(label + 2 * off), estimate(label), estimate(broken)]
    component = TpeError(TpeErrorConfig())
    assert isinstance(component, FrameFilter)
    verdicts = component.judge(frames, estimates)
    assert [verdict.keep for verdict in verdicts] == [True, True, False, False, False]
    assert [round(verdict.error, 2) for verdict in verdicts[:3]] == [0, 80, 160]
    assert "160.0 mm" in verdicts[2].reason and "120 mm" in verdicts[2].reason
    assert "not finite" in verdicts[3].reason and "not finite" in verdicts[4].reason
    assert not verdicts[0].reason
    assert not TpeError(TpeErrorConfig(tau=70)).judge(frames[1:2], estimates[1:2])[0].keep
    assert not TpeError(TpeErrorConfig(reduction="sum")).judge(frames[1:2], estimates[1:2])[0].keep
    assert component.judge([], []) == []


def test_only_joints_that_both_sides_know_count() -> None:
    label = np.random.default_rng(0).normal(0, 0.3, (24, 3))
    off = label + np.where(np.arange(24)[:, None] == 5, 9, 0)  # far off in one joint
    unlabelled = evolve(frame(label), confidence3d=np.arange(24) != 5)
    unsure = evolve(estimate(off), confidence=np.arange(24) != 5)
    absent = estimate(np.where(np.arange(24)[:, None] == 5, np.nan, label))
    judge = TpeError(TpeErrorConfig()).judge
    errors = [verdict.error for verdict in judge(2 * [frame(label)] + [unlabelled], [unsure, absent, estimate(off)])]
    np.testing.assert_allclose(errors, 0, atol=1e-9)
    assert not judge([frame(label)], [estimate(off)])[0].keep


@pytest.mark.parametrize(("at", "keep"), [(0, False), (23, True)])
def test_a_frame_without_its_root_is_dropped(at: int, keep: bool) -> None:
    label = np.random.default_rng(0).normal(0, 0.3, (24, 3))
    lacking = evolve(frame(label), confidence3d=np.arange(24) != at)
    (verdict,) = TpeError(TpeErrorConfig()).judge([lacking], [estimate(label)])
    assert verdict.keep == keep
    assert ("not finite" in verdict.reason) != keep


def test_a_frame_of_which_too_little_is_known_is_dropped() -> None:
    label = np.random.default_rng(0).normal(0, 0.3, (24, 3))
    few, enough = (evolve(frame(label), confidence3d=np.arange(24) < n) for n in (11, 12))  # of 21 beside the root
    assert [v.keep for v in TpeError(TpeErrorConfig()).judge([few, enough], 2 * [estimate(label)])] == [False, True]


@pytest.mark.parametrize("name", ["blazepose33", "coco17", "h36m16", "h36m17", "mpi3dhp17"])
def test_other_joint_sets_are_compared_in_the_limbs_that_they_share(name: str) -> None:
    """Relative to the middle of the hips, as such sets have no pelvis of SMPL's: where the origin lies is no error."""
    label = np.random.default_rng(0).normal(0, 0.3, (24, 3))
    points, known = convert(label, None, "smpl24", name)
    off = np.where(np.array([joint == "left_wrist" for joint in joint_set(name).joints])[:, None], [0.12, 0, 0], 0)
    joints = np.where(known[:, None], points + off, np.nan) + 5
    given = PoseEstimate(joints, joints[:, :2], CAMERA, joint_set=name)
    mean, total = (TpeError(TpeErrorConfig(reduction=r)).judge([frame(label)], [given])[0] for r in ("mean", "sum"))
    np.testing.assert_allclose([mean.error, total.error], [120 / 12, 120], rtol=1e-4)


def test_joint_sets_without_a_common_root_are_the_users_mistake() -> None:
    register(JointSet("shoulders2", ("left_shoulder", "right_shoulder"), (-1, 0), (0,), "Shoulders alone"))
    given = PoseEstimate(np.zeros((2, 3)), np.zeros((2, 2)), CAMERA, joint_set="shoulders2")
    with pytest.raises(UserError, match=r"'shoulders2' and 'smpl24' can't be compared"):
        TpeError(TpeErrorConfig()).judge([frame(np.zeros((24, 3)))], [given])


def test_a_frame_must_pass_every_filter() -> None:
    class Fixed:
        def __init__(self, *verdicts: Verdict) -> None:
            self.verdicts = list(verdicts)

        def judge(self, frames: Sequence[LabelledFrame], estimates: Sequence[PoseEstimate]) -> list[Verdict]:
            return self.verdicts

    good, bad = Verdict(True, 1.0), Verdict(False, 9.0, "too far")
    both = AllOf({"one": Fixed(good, good, bad, bad), "two": Fixed(good, bad, good, bad)})
    found = both.judge([object()] * 4, [])  # type: ignore[list-item]
    assert [verdict.keep for verdict in found] == [True, False, False, False]
    assert [verdict.error for verdict in found] == [1.0, 1.0, 9.0, 9.0]
    assert found[3].reason == "one: too far; two: too far" and found[1].reason == "two: too far"
    assert [(part.filter, part.keep, part.error) for part in found[2].parts] == [
        ("one", False, 9.0),
        ("two", True, 1.0),
    ]
