"""The representation by its properties, on motions made here (the recorded one is in tests/parity)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_t2mgpt import representation as r
from tests.plugins.posesyn_t2mgpt.moving import make_motion

Motion = Callable[..., np.ndarray]


def canonical(joints: np.ndarray) -> np.ndarray:
    return r.canonical_joints(torch.from_numpy(joints)[None])[0].numpy()


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(2, 60),
    yaw=st.floats(-3.1, 3.1),
    scale=st.floats(0.3, 3),
    place=st.tuples(*[st.floats(-5, 5)] * 3),
)
def test_place_heading_and_size_do_not_matter(
    seed: int, frames: int, yaw: float, scale: float, place: tuple[float, float, float]
) -> None:
    joints = make_motion(seed, frames).astype(np.float64)
    elsewhere = joints @ Rotation.from_euler("y", yaw).as_matrix().T * scale + place
    both = r.features_from_joints(np.stack([joints, elsewhere]))
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)


@given(seed=st.integers(0, 10**6), frames=st.integers(2, 120), turning=st.floats(-9, 9))
def test_inverse_gives_the_joints_back(seed: int, frames: int, turning: float) -> None:
    joints = make_motion(seed, frames, turning)
    features = r.features_from_joints(joints[None], continuous_heading=True)[0]
    expected = canonical(joints)[:-1]
    np.testing.assert_allclose(r.joints_from_features(features), expected, atol=1e-3)
    np.testing.assert_allclose(r.joints_from_rotations(features), expected, atol=1e-3)


def test_turning_past_straight_back(motion: Motion) -> None:
    """The published turn has the wrong sign in the one frame where the heading passes straight back; ours has not."""
    joints = motion(3, 90, 8.0).astype(np.float64)
    published = r.features_from_joints(joints[None])[0]
    ours = r.features_from_joints(joints[None], continuous_heading=True)[0]
    differs = np.flatnonzero(np.abs(published - ours).max(axis=1) > 1e-9)
    assert 1 <= len(differs) <= 3
    np.testing.assert_allclose(published[differs, 0], -ours[differs, 0])
    np.testing.assert_array_equal(published[:, 1:], ours[:, 1:])
    expected = canonical(joints)[:-1]
    assert np.abs(r.joints_from_features(published) - expected).max() > 0.05
    np.testing.assert_allclose(r.joints_from_features(ours), expected, atol=1e-9)


def test_facing_exactly_back_is_finite(motion: Motion) -> None:
    """The shortest rotation between opposite vectors is undefined in the published code."""
    joints = motion(1, 10)[:1].repeat(4, axis=0)
    facing = canonical(joints) * np.array([-1, 1, -1], dtype=np.float32)
    assert np.isfinite(r.features_from_joints(facing[None])).all()


@pytest.mark.parametrize("frames", [2, 3, 4])
def test_shortest_motions(motion: Motion, frames: int) -> None:
    """Three frames are silently wrong in the published code."""
    joints = motion(5, frames)
    features = r.features_from_joints(joints[None])[0]
    assert features.shape == (frames - 1, 263)
    np.testing.assert_allclose(r.joints_from_features(features), canonical(joints)[:-1], atol=1e-5)


def test_ragged_batch_equals_each_alone(motion: Motion) -> None:
    lengths = np.array([50, 7, 2, 33])
    batch = np.full((4, 50, 22, 3), np.nan, dtype=np.float32)
    alone = [motion(k, int(length)) for k, length in enumerate(lengths)]
    for row, joints in enumerate(alone):
        batch[row, : len(joints)] = joints
    features = r.features_from_joints(batch, lengths)
    for row, joints in enumerate(alone):
        np.testing.assert_allclose(features[row, : len(joints) - 1], r.features_from_joints(joints[None])[0], atol=1e-5)
        assert not features[row, len(joints) - 1 :].any()


def test_torch_and_numpy(motion: Motion) -> None:
    joints = motion(0, 12)[None]
    tensor = r.features_from_joints(torch.from_numpy(joints))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), r.features_from_joints(joints))


def test_bones_may_be_kept(motion: Motion) -> None:
    joints = motion(2, 20) * np.float32(1.3)
    features = r.features_from_joints(joints[None], retargeting=False)[0]
    bones = r.joints_from_features(features)
    lengths = np.linalg.norm(bones - bones[:, list(r.PARENTS)], axis=-1)
    np.testing.assert_allclose(lengths[:, 1:], np.broadcast_to(1.3 * r.BONE_LENGTHS[1:], (19, 21)), atol=1e-4)


def test_velocities_and_contacts_of_a_sliding_pose(motion: Motion) -> None:
    """A pose carried forwards by 5 cm a frame: all joints have that velocity, and no foot is in contact (> 4.47 cm)."""
    pose = canonical(motion(4, 2))[:1]
    steps = np.arange(5, dtype=np.float32)[:, None, None] * np.array([0, 0, 0.05], dtype=np.float32)
    sliding, standing = (r.features_from_joints((pose + share * steps)[None])[0] for share in (1.0, 0.8))
    speed = np.linalg.norm(sliding[:, r.VELOCITIES].reshape(4, 22, 3), axis=-1)
    np.testing.assert_allclose(speed, 0.05, atol=1e-5)
    assert not sliding[:, r.CONTACTS].any()
    assert standing[:, r.CONTACTS].all()


@pytest.mark.parametrize(("frames", "lengths"), [(1, None), (5, [1]), (5, [6])])
def test_impossible_lengths(motion: Motion, frames: int, lengths: list[int] | None) -> None:
    joints = motion(0, 5)[None, :frames]
    with pytest.raises(ValueError, match="two frames"):
        r.features_from_joints(joints, None if lengths is None else np.array(lengths))


def test_feet_in_contact_stand_still(motion: Motion) -> None:
    """With one foot down at a time none slides; poses, heights and frames in the air stay as they are."""
    joints = motion(8, 40, 1.0)
    contacts = np.zeros((40, 4), dtype=np.float32)
    contacts[:15, 0], contacts[20:, 3] = 0.9, 0.6
    clean = r.still_feet(joints, contacts)
    assert isinstance(clean, np.ndarray)
    left, right = (np.diff(clean[:, joint], axis=0)[:, ::2] for joint in (r.CONTACT_JOINTS[0], r.CONTACT_JOINTS[3]))
    np.testing.assert_allclose(left[:15], 0, atol=1e-6)
    np.testing.assert_allclose(right[20:], 0, atol=1e-6)
    np.testing.assert_allclose(clean - clean[:, :1], joints - joints[:, :1], atol=1e-6)
    np.testing.assert_array_equal(clean[..., 1], joints[..., 1])
    np.testing.assert_allclose(np.diff(clean[15:21], axis=0), np.diff(joints[15:21], axis=0), atol=1e-6)
    assert np.abs(np.diff(joints[:, r.CONTACT_JOINTS[0]], axis=0)[:15]).max() > 1e-3
    both = r.still_feet(
        torch.from_numpy(np.stack([joints, joints])), torch.from_numpy(np.stack([contacts, contacts * 0]))
    )
    np.testing.assert_array_equal(both[0], clean)
    np.testing.assert_array_equal(both[1], joints)


def test_feet_of_a_real_step_hardly_move(motion: Motion) -> None:
    """Where the contacts are the features' own, cleaning moves a body by less than the contact's threshold a frame."""
    joints = canonical(motion(4, 30))
    contacts = r.features_from_joints(joints[None])[0][:, r.CONTACTS]
    clean = r.still_feet(joints[:-1], contacts)
    moved = np.linalg.norm(np.diff(clean - joints[:-1], axis=0), axis=-1)
    assert moved.max() <= np.sqrt(r.CONTACT_THRESHOLD)
