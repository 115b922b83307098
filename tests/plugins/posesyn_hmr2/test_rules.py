"""Which labels are believed, and who is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from posesyn_core.errors import SampleError, UserError
from posesyn_hmr2.people import Person
from posesyn_hmr2.rules import THRESHOLDS, PosePrior, believed, load_prior


@pytest.fixture
def person() -> Person:
    keypoints = np.ones((44, 3), np.float32)
    pose, betas = np.full(72, 0.1, np.float32), np.ones(10, np.float32)
    box = np.array([50, 60], np.float32)
    return Person("a", b"", keypoints, np.ones((44, 4), np.float32), box, box, pose, betas, True, True)


def test_good_labels_stay(person: Person) -> None:
    found = believed(person)
    assert found.has_body_pose
    assert found.has_betas
    np.testing.assert_array_equal(found.betas, person.betas)
    np.testing.assert_array_equal(found.keypoints_2d, person.keypoints_2d)


@pytest.mark.parametrize(
    "changes", [{"betas": np.full(10, -3.1, np.float32)}, {"has_betas": False}, {"has_body_pose": False}]
)
def test_pose_and_shape_are_believed_together(person: Person, changes: dict[str, Any]) -> None:
    found = believed(evolve(person, **changes))
    assert not found.has_body_pose
    assert found.has_betas  # the shape is regularised towards 0 instead
    assert not found.betas.any()


def test_little_confidence_is_none(person: Person) -> None:
    keypoints = person.keypoints_2d.copy()
    keypoints[:39, 2] = 0.29
    found = believed(evolve(person, keypoints_2d=keypoints))
    assert found.keypoints_2d[:, 2].tolist() == [0.0] * 39 + [1.0] * 5
    assert keypoints[0, 2] > 0  # the given ones stay as they are
    keypoints[39, 2] = 0
    with pytest.raises(SampleError, match="fewer than 5 keypoints"):
        believed(evolve(person, keypoints_2d=keypoints))


def test_a_bad_fit_is_left_out(person: Person) -> None:
    with pytest.raises(SampleError, match="fitted badly"):
        believed(evolve(person, reprojection_loss=31_000.0))


def test_an_unusual_pose_is_not_believed(person: Person) -> None:
    histogram = np.zeros((21, 40, 40, 40))
    histogram[:, 19:21, 19:21, 19:21] = 100  # everyone stands still
    prior = PosePrior(histogram)
    assert believed(person, prior).has_body_pose
    bent = person.body_pose.copy()
    bent[3:6] = [2.9, 0, 0]
    assert not believed(evolve(person, body_pose=bent), prior).has_body_pose
    turned = person.body_pose.copy()
    turned[:3] = [3, 0, 0]  # the root may turn as it likes
    assert believed(evolve(person, body_pose=turned), prior).has_body_pose


def test_a_histogram_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "hist.npy"
    np.save(path, np.ones((21, 4, 4, 4), np.uint16))
    assert load_prior(path).density.shape == (len(THRESHOLDS), 4, 4, 4)
    np.save(path, np.ones((20, 4, 4, 4)))
    with pytest.raises(UserError, match=r"hist\.npy.*\(20, 4, 4, 4\)"):
        load_prior(path)
    path.write_bytes(b"no array")
    with pytest.raises(UserError, match=r"expected a plain array"):
        load_prior(path)
    with pytest.raises(UserError, match="does not exist"):
        load_prior(tmp_path / "none.npy")
