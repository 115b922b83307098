"""HybrIK's inverse kinematics on the free body: what it was made from it finds again."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from posesyn_core.body.model import load_body
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_hybrik.inverse_kinematics import (
    InverseKinematics,
    horn_tensor,
    nearest_rotation,
    rotation_about,
    swing,
    twist_angles,
)
from posesyn_hybrik.skeleton import FLIP, JOINTS, LEAF_VERTICES, PARENTS, SMPL_VERTICES, TWIST_FLIP, leaf_vertices
from posesyn_hybrik.smpl import HybrikSmpl, body_of_smpl, smpl_of_body

SEEDS = st.integers(0, 2**31 - 1)


@cache
def smpl() -> HybrikSmpl:
    return smpl_of_body(load_body()).double()


def drawn(seed: int, count: int = 2, spread: float = 0.4) -> tuple[Tensor, Tensor]:
    """Rotations (N, 24, 3, 3) and betas (N, 10)."""
    random = np.random.default_rng(seed)
    axis_angle = torch.from_numpy(spread * random.standard_normal((count, 24, 3)))
    axis_angle[:, 0] *= 4
    return axis_angle_to_matrix(axis_angle), torch.from_numpy(random.standard_normal((count, 10)))


def twists(angles: Tensor) -> Tensor:
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


@settings(max_examples=20)
@given(SEEDS)
def test_the_pose_of_a_skeleton_is_found_again(seed: int) -> None:
    rotations, betas = drawn(seed)
    rest = smpl()(betas)
    skeleton = smpl().posed_joints(rotations, betas)
    skeleton[:, 24:] = bone_ends(rotations, rest)
    found, joints = InverseKinematics().double()(
        skeleton - skeleton[:, :1], rest, twists(twist_angles(rotations, rest))
    )
    torch.testing.assert_close(found, rotations, atol=1e-3, rtol=0)  # lengths are guarded by 1e-8, as published
    torch.testing.assert_close(joints - joints[:, :1], (skeleton - skeleton[:, :1])[:, :24], atol=1e-5, rtol=0)


def bone_ends(rotations: Tensor, rest: Tensor) -> Tensor:
    """The five last joints (N, 5, 3) as if they were rigid: without the bending of the skin around them."""
    carried, places = [rotations[:, 0]], [rest[:, 0]]
    for joint in range(1, JOINTS):
        parent = PARENTS[joint]
        places.append(places[parent] + (carried[parent] @ (rest[:, joint] - rest[:, parent])[..., None])[..., 0])
        carried.append(carried[parent] @ rotations[:, joint] if joint < 24 else carried[parent])
    return torch.stack(places[24:], dim=1)


@settings(max_examples=20)
@given(SEEDS)
def test_any_skeleton_gives_rotations(seed: int) -> None:
    """Of other proportions, or with joints that coincide: finite rotations that don't mirror."""
    random = np.random.default_rng(seed)
    skeleton = torch.from_numpy(random.standard_normal((3, JOINTS, 3)))
    skeleton[1, random.integers(1, JOINTS, 4)] = skeleton[1, 0].clone()
    skeleton[2] = 0
    _, betas = drawn(seed, 3)
    twist = torch.from_numpy(random.standard_normal((3, 23, 2)))
    solver = InverseKinematics().double()
    for solve in (solver, solver.naive):
        rotations, joints = solve(skeleton, smpl()(betas), twist)
        assert torch.isfinite(rotations).all()
        assert torch.isfinite(joints).all()
        torch.testing.assert_close(torch.linalg.det(rotations[0]), torch.ones(24).double(), atol=0.05, rtol=0)


def test_samples_do_not_depend_on_each_other() -> None:
    random = torch.Generator().manual_seed(0)
    skeleton, twist = (torch.randn(4, *shape, generator=random).double() for shape in ((JOINTS, 3), (23, 2)))
    rest = smpl()(torch.zeros(4, 10).double())
    solver = InverseKinematics().double()
    together, _ = solver(skeleton, rest, twist)
    for at in range(4):
        alone, _ = solver(skeleton[at : at + 1], rest[at : at + 1], twist[at : at + 1])
        torch.testing.assert_close(together[at : at + 1], alone, atol=1e-9, rtol=0)


@given(SEEDS)
def test_the_nearest_rotation_is_that_of_the_singular_value_decomposition(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    source, target = torch.randn(2, 4, 3, 3, generator=random).double()
    found = nearest_rotation(source, target, horn_tensor().double())
    u, _, vh = torch.linalg.svd(source.mT @ target)
    sign = torch.ones(4, 3).double()
    sign[:, 2] = torch.linalg.det(u @ vh)
    wanted = vh.mT @ torch.diag_embed(sign) @ u.mT
    cost = ((source @ found.mT - target) ** 2).sum((1, 2))
    torch.testing.assert_close(cost, ((source @ wanted.mT - target) ** 2).sum((1, 2)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(4).double(), atol=1e-3, rtol=0)


def test_no_bones_at_the_pelvis_mean_no_rotation() -> None:
    nothing = torch.zeros(1, 3, 3)
    torch.testing.assert_close(nearest_rotation(nothing, nothing, horn_tensor())[0], torch.eye(3))


@given(SEEDS)
def test_a_swing_leads_from_one_direction_to_the_other_without_a_twist(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    source, target = torch.randn(2, 8, 3, generator=random).double()
    turned = (swing(source, target) @ source[..., None])[..., 0]
    cosine = torch.cosine_similarity(turned, target)
    torch.testing.assert_close(cosine, torch.ones(8).double(), atol=1e-5, rtol=0)
    axis = torch.nn.functional.normalize(torch.linalg.cross(source, target), dim=-1)
    torch.testing.assert_close((swing(source, target) @ axis[..., None])[..., 0], axis, atol=1e-5, rtol=0)


@given(st.floats(-3, 3), SEEDS)
def test_twist_angles_invert_twists(angle: float, seed: int) -> None:
    _, betas = drawn(seed, 1)
    rest = smpl()(betas)
    angles = torch.full((1, 23), angle).double()
    rotations, _ = InverseKinematics().double()(rest, rest, twists(angles))
    torch.testing.assert_close(twist_angles(rotations, rest), angles, atol=1e-5, rtol=0)


def test_a_rotation_about_an_axis() -> None:
    quarter = rotation_about(torch.tensor([0.0, 0, 1]), torch.zeros(1), torch.ones(1))
    torch.testing.assert_close(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_the_free_body_ends_where_bodies_end() -> None:
    """Head above the head's joint, finger tips beyond the hands, toes in front of the feet."""
    joints = smpl()(torch.zeros(1, 10).double())[0]
    head, left, right, left_toe, right_toe = joints[24:]
    assert head[1] > joints[15, 1]
    assert left[0] > joints[22, 0]
    assert right[0] < joints[23, 0]
    assert left_toe[2] > joints[10, 2]
    assert right_toe[2] > joints[11, 2]
    assert left_toe[0] > 0 > right_toe[0]
    assert leaf_vertices(np.zeros((SMPL_VERTICES, 3))) == LEAF_VERTICES


def test_posed_joints_are_those_of_the_whole_body() -> None:
    rotations, betas = drawn(5)
    body = body_of_smpl(smpl()).double()
    posed = body.pose(rotations, betas)
    joints = smpl().posed_joints(rotations, betas)
    torch.testing.assert_close(joints[:, :24], posed.joints3d, atol=1e-6, rtol=0)
    torch.testing.assert_close(joints[:, 24:], posed.vertices[:, smpl().leaves], atol=1e-6, rtol=0)


@pytest.mark.parametrize("permutation", [FLIP, TWIST_FLIP])
def test_swapping_the_sides_twice_changes_nothing(permutation: np.ndarray) -> None:
    np.testing.assert_array_equal(permutation[permutation], np.arange(len(permutation)))
    assert (permutation != np.arange(len(permutation))).sum() in (22, 18)
