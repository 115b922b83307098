"""Distances between poses, near-duplicates, and the map of poses."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_core.body.model import load_body
from posesyn_core.method.diversity import aligned, capped, flattened, nearest


def poses(count: int, seed: int = 0) -> np.ndarray:
    """SMPL's joints (N, 24, 3) of a rest pose with every joint moved by some centimetres."""
    import torch

    rest = load_body().rest_joints(torch.zeros(1, 10))[0].numpy()
    return rest + np.random.default_rng(seed).normal(0, 0.05, (count, 24, 3))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_the_way_a_body_faces_and_where_it_is_do_not_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    joints = poses(2, seed)
    turned = Rotation.random(rng=rng).apply(joints[0]) + rng.normal(size=3)
    one, two, three = aligned(np.stack([joints[0], turned, joints[1]]))
    assert np.linalg.norm(one - two) < 0.05 and np.linalg.norm(one - three) > 10


def test_a_distance_is_the_root_mean_square_over_the_joints_in_mm() -> None:
    joints = np.repeat(poses(1), 2, axis=0)
    joints[1, 20] += (0.0, 0.0, 0.1)  # a wrist, 100 mm, of 22 joints
    one, two = aligned(joints)
    assert abs(np.linalg.norm(one - two) - 100 / np.sqrt(22)) < 0.1


def test_the_nearest_of_others() -> None:
    found = aligned(poses(1200))
    near = nearest(found[:700], found[500:])
    by_hand = np.linalg.norm(found[:3, None] - found[500:], axis=-1).min(axis=1)
    np.testing.assert_allclose(near[:3], by_hand, rtol=1e-3)
    assert (near[500:] < 0.5).all() and np.isinf(nearest(found[:2], found[:0])).all()


def test_near_duplicates_are_capped_and_the_first_stay() -> None:
    base = aligned(poses(3))
    many = base[[0, 0, 1, 0, 1, 2, 0]] + np.random.default_rng(0).normal(0, 0.01, (7, base.shape[1])).astype(np.float32)
    assert list(capped(many, 30, 1)) == [True, False, True, False, False, True, False]
    assert list(capped(many, 30, 2)) == [True, True, True, False, True, True, False]
    assert all(capped(aligned(poses(800)), 0.001, 1))


def test_the_map_shows_the_directions_in_which_poses_differ() -> None:
    spread = np.zeros((50, 66))
    spread[:, 7], spread[:, 30] = np.linspace(-100, 100, 50), 20 * np.sin(np.arange(50))
    mean, axes = flattened(spread + 5)
    places = (spread + 5 - mean) @ axes
    assert abs(np.ptp(places[:, 0]) - 200) < 5 and np.ptp(places[:, 1]) > 30
