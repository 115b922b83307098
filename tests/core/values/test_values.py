"""The values check themselves, and nobody changes them afterwards."""

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from posesyn_core import Camera, LabelledFrame, Motion, MotionRequest, PoseEstimate, Sample, SmplParams, values


def sample(**changes: Any) -> Sample:
    fields = {
        "id": "coco/val/1-2",
        "image": Path("a.jpg"),
        "box": [1, 2, 3, 4],
        "joint_set": "coco17",
        "keypoints2d": np.zeros((17, 2)),
        "confidence": np.ones(17),
    }
    return Sample(**{**fields, **changes})


def test_arrays_become_read_only_float32_copies() -> None:
    keypoints = np.zeros((17, 2))
    made = sample(keypoints2d=keypoints)
    keypoints[0] = 7
    assert made.keypoints2d.dtype == np.float32
    assert not made.keypoints2d.any()
    with pytest.raises(ValueError, match="read-only"):
        made.keypoints2d[0] = 1
    assert keypoints.flags.writeable


def test_values_are_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        sample().id = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: sample(box=[1, 2, 3]), "box"),
        (lambda: sample(keypoints2d=np.zeros((17, 3))), "keypoints2d"),
        (lambda: sample(keypoints2d=np.zeros(34)), "keypoints2d"),
        (lambda: sample(joints3d=np.zeros((22, 3))), "joints3d"),
        (lambda: Camera([1000], [0, 0]), "focal_length"),
        (lambda: SmplParams(np.zeros(3), np.zeros(69), np.zeros(10), np.zeros(3)), "body_pose"),
        (lambda: PoseEstimate(np.zeros((17, 3)), np.zeros((24, 2)), Camera([1, 1], [0, 0])), "joints3d"),
        (lambda: Motion("m", "s", "text", np.zeros((40, 24, 3))), "joints"),
        (lambda: MotionRequest("m", "s", "text", 0, np.zeros((24, 3))), "pose"),
        (lambda: LabelledFrame("f", b"", np.zeros(4), np.zeros((24, 3)), np.zeros(24)), "joints2d"),
    ],
)
def test_a_wrong_shape_is_named(make: Any, field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must have shape"):
        make()


def test_letters_stand_for_any_size_and_optional_arrays_may_lack() -> None:
    made = sample(keypoints2d=np.zeros((5, 2)), confidence=np.zeros(5))
    assert made.joints3d is None
    assert Motion("m", "s", "text", np.zeros((7, 22, 3))).joints.shape == (7, 22, 3)


def test_every_array_field_says_its_shape_and_unit() -> None:
    classes = [c for c in vars(values).values() if isinstance(c, type) and attrs.has(c)]
    arrays = [(c.__name__, f) for c in classes for f in attrs.fields(c) if "FloatArray" in str(f.type) or f.metadata]
    assert len(arrays) > 20
    for name, field in arrays:
        assert field.metadata["shape"], (name, field.name)
        assert field.metadata["doc"], (name, field.name)


def test_3d_labels_are_0_where_they_are_unknown() -> None:
    known = np.isin(np.arange(24), [1, 2, 7])
    frame = LabelledFrame("f", b"", np.zeros(4), np.zeros((24, 2)), np.zeros(24), joints3d=np.full((24, 3), np.nan))
    assert frame.labels3d()[:, 3].all()
    joints = np.where(known[:, None], np.full(3, 0.5), np.nan)
    frame = attrs.evolve(frame, joints3d=joints, confidence3d=known)
    np.testing.assert_array_equal(frame.labels3d(), np.where(known[:, None], [0.5, 0.5, 0.5, 1], 0))
    assert not attrs.evolve(frame, joints3d=None).labels3d().any()
    with pytest.raises(ValueError, match="of one joint set"):
        attrs.evolve(frame, confidence3d=known[:-1])
