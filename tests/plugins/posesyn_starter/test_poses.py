"""Drawn poses must be what their activity's name says, on both sides, within human limits."""

import numpy as np
import pytest
import torch

from posesyn_core.body.model import load_body
from posesyn_core.geometry.skeletons import JOINT_SETS
from posesyn_starter.poses import ANGLES, FAMILIES, LIMITS, sample_poses, to_smpl

JOINTS = {name: k for k, name in enumerate(JOINT_SETS["smpl24"].joints)}


@pytest.fixture(scope="module")
def body():
    return load_body()


def joints_of(body, root, body_pose) -> np.ndarray:
    """Joints (N, 24, 3) in the body's frame: y up, facing +z, left = +x; relative to the pelvis."""
    joints = body.joints(torch.from_numpy(root), torch.from_numpy(body_pose), torch.zeros(len(root), 10)).numpy()
    return joints - joints[:, :1]


def one(body, *, mirrored: bool = False, **angles: float) -> dict[str, np.ndarray]:
    """The joints of one pose given by a few angles, arms hanging."""
    values = np.array([[angles.get(name, 0.0) for name in ANGLES]])
    joints = joints_of(body, *to_smpl(values, np.array([mirrored])))[0]
    return {name: joints[k] for name, k in JOINTS.items()}


def test_each_angle_moves_its_joint_the_way_its_name_says(body):
    still = one(body)
    assert still["left_wrist"][1] < still["left_elbow"][1] < still["left_shoulder"][1]
    assert one(body, near_hip_flex=90)["left_knee"][2] > 0.3
    assert one(body, near_hip_spread=40)["left_ankle"][0] > still["left_ankle"][0] + 0.3
    assert one(body, near_hip_turn=40)["left_foot"][0] > still["left_foot"][0] + 0.03
    assert one(body, near_knee=90)["left_ankle"][2] < still["left_ankle"][2] - 0.3
    assert one(body, near_ankle=30)["left_foot"][1] > still["left_foot"][1] + 0.03
    assert one(body, near_arm_flex=90)["left_wrist"][2] > 0.4
    assert one(body, near_arm_flex=180)["left_wrist"][1] > still["head"][1]
    assert one(body, near_arm_spread=90)["left_wrist"][0] > 0.6
    assert one(body, near_elbow=90)["left_wrist"][2] > 0.2
    bent = {"near_elbow": 90, "near_arm_spread": 10}
    assert one(body, **bent, near_arm_turn=80)["left_wrist"][0] < one(body, **bent, near_arm_turn=-80)["left_wrist"][0]
    assert one(body, spine_bend=60)["head"][2] > 0.3
    assert one(body, spine_side=40)["head"][0] > 0.2
    assert one(body, spine_twist=50)["left_shoulder"][2] < still["left_shoulder"][2] - 0.05
    assert one(body, pitch=90)["head"][2] > 0.4 and one(body, roll=90)["head"][0] > 0.4
    assert one(body, yaw=90)["left_foot"][0] > 0.1


def test_mirroring_swaps_the_sides(body):
    rng = np.random.default_rng(5)
    angles = rng.uniform(-40, 40, (20, len(ANGLES)))
    plain = joints_of(body, *to_smpl(angles, np.zeros(20, bool)))
    mirror = joints_of(body, *to_smpl(angles, np.ones(20, bool)))
    swap = [JOINTS[n.replace("left", "L").replace("right", "left").replace("L", "right")] for n in JOINTS]
    assert np.abs(plain[:, swap] * [-1, 1, 1] - mirror).max() < 0.01  # the free body is symmetric to some millimetres


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_poses_keep_human_limits(family):
    poses = sample_poses(family, 3000, np.random.default_rng(0))
    knees, elbows = poses.body_pose[:, [3, 4]], poses.body_pose[:, [17, 18]]
    assert (knees[..., 0] >= 0).all() and (knees[..., 0] <= np.radians(LIMITS["knee"][1]) + 1e-6).all()
    assert (elbows[:, 0, 1] <= 0).all() and (elbows[:, 1, 1] >= 0).all()
    assert np.linalg.norm(poses.body_pose, axis=-1).max() < np.pi
    assert (poses.body_pose[:, 21:] == 0).all()
    assert set(poses.activity) == set(FAMILIES[family])


def test_the_ordinary_is_upright_and_the_wild_is_wider(body):
    joints = {}
    for family in FAMILIES:
        poses = sample_poses(family, 2000, np.random.default_rng(1))
        joints[family] = joints_of(body, poses.root, poses.body_pose)
    head, ankles = JOINTS["head"], [JOINTS["left_ankle"], JOINTS["right_ankle"]]
    lab_height = joints["lab"][:, head, 1] - joints["lab"][:, ankles, 1].min(axis=1)
    assert lab_height.min() > 1.1
    wild_height = joints["wild"][:, head, 1] - joints["wild"][:, ankles, 1].min(axis=1)
    assert (wild_height < 0.5).mean() > 0.1  # on the floor, upside down
    assert joints["wild"].std(axis=0).mean() > 1.5 * joints["lab"].std(axis=0).mean()


def test_drawing_depends_on_the_generator_alone():
    first, again, other = (sample_poses("wild", 16, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first.body_pose, again.body_pose) and first.activity == again.activity
    assert not np.array_equal(first.body_pose, other.body_pose)
