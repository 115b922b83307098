"""What is drawn of augmented poses: bone angles, view points, and the sheets of the report."""

import numpy as np
import torch

from posesyn_poseaug.augmentor import Pairs
from posesyn_poseaug.camera import project
from posesyn_poseaug.figures import bends, pose_sheet, spread_sheet, view_points
from tests.plugins.posesyn_poseaug.people import STANDING, poses
from tests.plugins.posesyn_poseaug.test_augmenter import augmenter, frames, make


def pairs(given: np.ndarray) -> Pairs:
    solid = torch.from_numpy(given.astype(np.float32))
    cameras = torch.zeros(len(solid), 9)
    cameras[:, :2] = 2.29
    return Pairs(solid, project(solid, cameras), cameras)


def test_view_points_are_in_the_body_s_frame() -> None:
    """Someone who faces the camera, someone as high above it as away, and someone who turns the back."""
    facing, away, above = STANDING, np.array([0, 0, 5]), np.array([0, -5, 5])
    turned = STANDING * np.array([-1, 1, -1])
    azimuth, height = view_points(pairs(np.stack([facing + away, facing + above, turned + away])))
    np.testing.assert_allclose(np.abs(azimuth), [0, 0, 180], atol=1e-4)
    np.testing.assert_allclose(height, [0, -45, 0], atol=1e-4)


def test_bends_of_a_straight_leg_and_a_right_angle() -> None:
    pose = STANDING + np.array([0, 0, 5.0])
    pose[2], pose[3] = pose[1] + [0, 0.4, 0], pose[1] + [0, 0.4, 0.4]
    pose[5], pose[6] = pose[4] + [0, 0.4, 0], pose[4] + [0, 0.8, 0]
    found = bends(pairs(pose[None]))[0]
    joints = [joint for joint in range(2, 16) if joint not in (4, 7)]
    np.testing.assert_allclose([found[joints.index(3)], found[joints.index(6)]], [90, 0], atol=0.05)


def test_sheets_are_drawn_even_where_nothing_passed() -> None:
    full, empty = pairs(poses(8)), pairs(poses(8)[:0])
    assert pose_sheet(full, full).shape == (360, 1080, 3)
    assert pose_sheet(full, empty).shape == (180, 1080, 3)
    assert spread_sheet(full, empty).shape == (360, 1080, 3)


def test_the_augmenter_hands_them_over() -> None:
    made = augmenter()
    assert made.pictures() == {}
    list(made.epoch(0, frames(8), make("simplebaseline"), 0))
    assert all(picture.dtype == np.uint8 for picture in made.pictures().values())
    assert len(made.pictures()) == 2
