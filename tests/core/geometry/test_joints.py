"""Estimates and frames in joint sets of their own: what is known, and what can be compared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.joints import check_estimate, estimated, frame_in, known_joints, labelled_frame, places_of
from posesyn_core.geometry.skeletons import JOINT_SETS, convert, joint_set
from posesyn_core.values import Camera, PoseEstimate, Sample

CAMERA = Camera([1000, 1000], [64, 64])  # type: ignore[arg-type]
names = st.sampled_from(sorted(JOINT_SETS))
seeds = st.integers(0, 2**32 - 1)


def estimate(name: str, seed: int = 0, **fields: object) -> PoseEstimate:
    joints = np.random.default_rng(seed).normal(size=(len(joint_set(name)), 3))
    return PoseEstimate(joints, joints[:, :2], CAMERA, joint_set=name, **fields)  # type: ignore[arg-type]


def measured(name: str, seed: int = 0) -> Sample:
    joints = np.random.default_rng(seed).normal(size=(len(joint_set(name)), 3)) + np.array([0, 0, 5])
    return Sample("a/b", b"", [0, 0, 9, 9], name, joints[:, :2], np.ones(len(joints)), keypoints3d=joints)  # type: ignore[arg-type]


def test_a_joint_is_unknown_if_it_is_no_number_or_has_no_confidence() -> None:
    joints = np.zeros((17, 3))
    joints[3] = np.nan
    given = PoseEstimate(joints, np.zeros((17, 2)), CAMERA, joint_set="coco17", confidence=np.arange(17) != 5)
    assert np.flatnonzero(~known_joints(given, 3)).tolist() == [3, 5]
    assert np.flatnonzero(~known_joints(given, 2)).tolist() == [5]


@given(source=names, target=names, seed=seeds)
def test_estimates_convert_as_their_joints_do(source: str, target: str, seed: int) -> None:
    pair = [estimate(source, seed), estimate(source, seed + 1)]
    points, known = estimated(pair, target, 2)
    wanted, derivable = convert(np.stack([each.joints2d for each in pair]), None, source, target)
    np.testing.assert_array_equal(points, wanted)
    np.testing.assert_array_equal(known, derivable)


@pytest.mark.parametrize("name", JOINT_SETS)
def test_a_frame_keeps_all_joints_of_its_data_set(name: str) -> None:
    sample = measured(name)
    frame = labelled_frame(sample)
    assert frame.joint_set == name
    assert frame.confidence.all() and frame.labels3d()[:, 3].all()
    np.testing.assert_array_equal(frame.joints2d, sample.keypoints2d)
    root = list(joint_set(name).root)
    np.testing.assert_allclose(frame.labels3d()[root, :3].mean(0), 0, atol=1e-6)
    assert frame_in(frame, name) is frame


@given(source=names, target=names, seed=seeds)
def test_a_frame_in_another_set_has_what_both_share(source: str, target: str, seed: int) -> None:
    """In 3D about the root of the other set, or about the hips where it has not that root."""
    sample = measured(source, seed)
    frame = frame_in(labelled_frame(sample), target)
    _, known = convert(sample.keypoints2d, None, source, target)
    np.testing.assert_array_equal(frame.confidence > 0, known)
    np.testing.assert_array_equal(frame.labels3d()[:, 3] > 0, known)
    points = joint_set(target)
    root = list(points.root)
    hips = [points.joints.index(f"{side}_hip") for side in ("left", "right")]
    about = frame.labels3d()[root if known[root].all() else hips, :3].mean(0)
    np.testing.assert_allclose(about, 0, atol=1e-6)


def test_a_frame_whose_root_is_unknown_has_no_3d_joints() -> None:
    sample = measured("h36m17")
    joints = np.array(sample.keypoints3d)
    joints[[0, 1]] = np.nan  # the pelvis and a hip
    frame = labelled_frame(Sample("a/b", b"", [0, 0, 9, 9], "h36m17", joints[:, :2], np.ones(17), keypoints3d=joints))
    assert frame.joints3d is None and frame.confidence.all()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"joints": 16}, "returned 16 joints, but 'coco17' has 17"),
        ({"value": np.inf}, "not finite"),
        ({"value": np.nan}, "not finite"),
        ({"confidence": 0.0}, "not finite"),
    ],
)
def test_estimates_of_nothing_are_refused(fault: dict[str, float], message: str) -> None:
    joints = np.full((int(fault.get("joints", 17)), 3), fault.get("value", 1.0))
    confidence = np.full(len(joints), fault.get("confidence", 1.0))
    broken = PoseEstimate(joints, joints[:, :2], CAMERA, joint_set="coco17", confidence=confidence)
    with pytest.raises(SampleError, match=message):
        check_estimate(broken)


def test_an_unregistered_set_is_told() -> None:
    with pytest.raises(UserError, match=r"no joint set 'coco18'.*coco17"):
        check_estimate(PoseEstimate(np.zeros((18, 3)), np.zeros((18, 2)), CAMERA, joint_set="coco18"))


def test_places_of_alike_values() -> None:
    assert places_of("abca") == {"a": [0, 3], "b": [1], "c": [2]}
