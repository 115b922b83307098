"""The parts of the free body's construction that need no download."""

import numpy as np
import pytest

from posesyn_core.body.model import FREE_BODY, load_body
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_starter.build_body import (
    JOINT_CUBES,
    draw_traits,
    joint_regressor,
    shape_space,
    smooth_weights,
    t_pose,
    t_pose_rotations,
    triangles,
)


@pytest.fixture(scope="module")
def free() -> dict[str, np.ndarray]:
    with np.load(FREE_BODY, allow_pickle=False) as file:
        return dict(file)


def _lowered_arms(free: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The free body in an A-pose, as vertices (1, V, 3) and joints (1, 24, 3)."""
    import torch

    pose = torch.zeros(1, 23, 3)
    pose[0, 15, 2], pose[0, 16, 2] = -0.8, 0.8
    pose[0, 17, 1], pose[0, 18, 1] = -0.5, 0.5
    out = load_body()(torch.zeros(1, 3), pose, torch.zeros(1, 10))
    return out.vertices.double().numpy(), out.joints3d.double().numpy()


def test_every_joint_is_placed_by_shares_of_one() -> None:
    assert sorted(JOINT_CUBES) == list(range(24))
    for cubes in JOINT_CUBES.values():
        assert sum(cubes.values()) == pytest.approx(1)


def test_traits_of_a_person_are_shares() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        traits = draw_traits(rng)
        assert min(traits.values()) >= 0
        for family in (
            ("male", "female"),
            ("african", "asian", "caucasian"),
            ("minmuscle", "averagemuscle", "maxmuscle"),
        ):
            assert sum(traits[name] for name in family) == pytest.approx(1)
        assert traits["minheight"] * traits["maxheight"] == 0


def test_polygons_become_fans() -> None:
    assert triangles([[0, 1, 2, 3], [4, 5, 6]]).tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6]]


def test_the_t_pose_undoes_skinning(free: dict[str, np.ndarray]) -> None:
    vertices, joints = _lowered_arms(free)
    weights = free["weights"].astype(float)
    rest_vertices, rest_joints = t_pose(vertices, joints, weights)
    arm = rest_joints[0, [16, 18, 20, 22], 1:]
    np.testing.assert_allclose(arm, np.broadcast_to(arm[0], arm.shape), atol=1e-3)
    back = t_pose_rotations(joints)[0].transpose(0, 2, 1)
    by_joint = np.einsum("jab,vjb->vja", back, rest_vertices[0][:, None] - rest_joints[0]) + joints[0]
    np.testing.assert_allclose((weights[..., None] * by_joint).sum(1), vertices[0], atol=1e-6)
    np.testing.assert_allclose(rest_vertices[0], free["v_template"], atol=0.05)


def test_smoothing_weights_keeps_them_shares_of_few_joints() -> None:
    faces = np.array([[i, i + 1, i + 2] for i in range(30)])
    weights = smooth_weights(np.eye(24)[np.arange(32) * 24 // 32], faces)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert (weights > 0).sum(1).max() <= 4
    assert (weights > 0).sum(1).min() > 1


def test_shape_space_is_in_standard_deviations() -> None:
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(60, 2)))[0].T.reshape(2, 20, 3)
    scores = rng.normal(size=(500, 2)) * [0.3, 0.1]
    mean, directions = shape_space(np.einsum("pk,kva->pva", scores, axes), count=2)
    np.testing.assert_allclose(mean, 0, atol=0.05)
    np.testing.assert_allclose(np.linalg.norm(directions.reshape(-1, 2), axis=0), [0.3, 0.1], rtol=0.1)


def test_the_regressor_finds_moving_joints_from_the_surface(free: dict[str, np.ndarray]) -> None:
    betas = np.random.default_rng(0).normal(size=(12, 10))
    people = free["v_template"] + np.einsum("pk,vak->pva", betas, free["shapedirs"].astype(float))
    joints = np.einsum("jv,pva->pja", free["J_regressor"], people)
    regressor = joint_regressor(people, joints)
    np.testing.assert_allclose(regressor.sum(1), 1)
    assert regressor.min() >= 0
    assert np.abs(np.einsum("jv,pva->pja", regressor, people) - joints).max() < 0.006
    assert len(SMPL24) == len(regressor)
