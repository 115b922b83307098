"""Replays the recorded HumanML3D representation: every array of the pack, step by step."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_t2mgpt import representation as r

SEQUENCES = ["example", "static30", "static31", "rand2", "rand5", "rand61", "turn90"]
Recorded = Callable[[str], np.ndarray]


@pytest.fixture(scope="module")
def pack(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "parity" / "humanml" / "io.npz") as file:
        return dict(file)


@pytest.fixture(params=SEQUENCES)
def recorded(request: pytest.FixtureRequest, pack: dict[str, np.ndarray]) -> Recorded:
    return lambda quantity: pack[f"{request.param}__{quantity}"]


def batch_of_one(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)[None]


def quaternion_of(half_angles: torch.Tensor) -> np.ndarray:
    """wxyz of a turn about y."""
    zero = torch.zeros_like(half_angles)
    return torch.stack([torch.cos(half_angles), zero, torch.sin(half_angles), zero], dim=-1).numpy()


def test_constants(shared: Path) -> None:
    config = json.loads((shared / "parity" / "humanml" / "config.json").read_text())
    offsets = (r.REST_DIRECTIONS * r.BONE_LENGTHS[:, None]).numpy()
    np.testing.assert_array_equal(offsets, config["tgt_offsets"])
    np.testing.assert_array_equal(r.REST_DIRECTIONS.numpy(), config["t2m_raw_offsets"])
    assert list(r.PARENTS[1:]) == config["parents"][1:]
    assert [*config["fid_l"], *config["fid_r"]] == list(r.CONTACT_JOINTS)
    assert list(r.SCALE_JOINTS) == [config["l_idx1"], config["l_idx2"]]
    chains = config["t2m_kinematic_chain"]
    for level, joints in enumerate(r.LEVELS, start=1):
        assert sorted(joints) == sorted(chain[level] for chain in chains if level < len(chain))


def test_retargeting(recorded: Recorded) -> None:
    joints = batch_of_one(recorded("joints"))
    np.testing.assert_allclose(r.leg_scale(joints)[0], recorded("scale_ratio"), rtol=1e-5)
    np.testing.assert_allclose(r.retarget(joints)[0], recorded("uniform_joints"), atol=1e-5)
    lengths = (joints[0, 0] - joints[0, 0, r.PARENTS]).norm(dim=-1)
    np.testing.assert_allclose(r.REST_DIRECTIONS * lengths[:, None], recorded("src_offsets"), atol=1e-6)
    unsmoothed = r.half_angle(r.forward_directions(joints))
    unsmoothed[:, 0] = 0
    rotations = r.bone_rotations(joints, unsmoothed)[0].roll(1, dims=-1)
    np.testing.assert_allclose(rotations, recorded("uniform_quat"), atol=1e-4)


def test_place_and_heading(recorded: Recorded) -> None:
    uniform = batch_of_one(recorded("uniform_joints"))
    floor = recorded("floor_height")
    np.testing.assert_allclose(uniform[..., 1].min(), floor, atol=1e-6)
    np.testing.assert_allclose(uniform[0, 0, 0, ::2], recorded("root_xz_init")[::2], atol=1e-6)
    np.testing.assert_allclose(r.first_forward(uniform)[0], recorded("forward_init"), atol=1e-5)
    turn = r.half_angle(r.first_forward(uniform))
    np.testing.assert_allclose(quaternion_of(turn)[0], recorded("root_quat_init"), atol=1e-5)
    positions = r.canonical_joints(batch_of_one(recorded("joints")))
    np.testing.assert_allclose(positions[0], recorded("global_positions"), atol=1e-5)
    exact = r.canonical_joints(batch_of_one(recorded("joints").astype(np.float64)))
    np.testing.assert_allclose(exact[0], recorded("global_positions_f64"), atol=1e-6)


def test_heading_per_frame(recorded: Recorded) -> None:
    positions = batch_of_one(recorded("global_positions"))
    raw = r.forward_directions(positions)
    np.testing.assert_allclose(raw[0], recorded("forward_raw"), atol=1e-5)
    np.testing.assert_allclose(r.smooth(raw)[0], recorded("forward_smooth"), atol=1e-5)
    heading = r.heading_half_angles(positions)
    np.testing.assert_allclose(quaternion_of(heading)[0], recorded("root_quat"), atol=1e-5)
    exact = r.heading_half_angles(batch_of_one(recorded("global_positions_f64")))
    np.testing.assert_allclose(quaternion_of(exact)[0], recorded("root_quat_f64"), atol=1e-6)
    steps = quaternion_of(heading[:, 1:] - heading[:, :-1])[0]
    np.testing.assert_allclose(steps, recorded("root_velocity_quat"), atol=1e-5)


def test_rotations(recorded: Recorded) -> None:
    positions = batch_of_one(recorded("global_positions"))
    rotations = r.bone_rotations(positions, r.heading_half_angles(positions))
    np.testing.assert_allclose(rotations[0].roll(1, dims=-1), recorded("ik_quat"), atol=1e-4)
    np.testing.assert_allclose(r.rotation_columns(rotations)[0], recorded("cont6d"), atol=1e-4)


def test_features(recorded: Recorded) -> None:
    features = r.features_from_joints(recorded("joints")[None])[0]
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, recorded("data"), atol=1e-4)
    np.testing.assert_array_equal(features[:, r.CONTACTS], recorded("data")[:, r.CONTACTS])
    rows = len(features)
    np.testing.assert_allclose(features[:, :4], recorded("root_data"), atol=1e-5)
    np.testing.assert_allclose(features[:, r.POSITIONS], recorded("ric_data")[:rows], atol=1e-5)
    np.testing.assert_allclose(features[:, r.ROTATIONS], recorded("rot_data")[:rows], atol=1e-4)
    np.testing.assert_allclose(features[:, r.VELOCITIES], recorded("local_velocity"), atol=1e-5)
    np.testing.assert_allclose(features[:, r.ROOT_VELOCITY], recorded("root_velocity")[:, ::2], atol=1e-5)
    feet = np.concatenate([recorded("feet_l"), recorded("feet_r")], axis=-1)
    np.testing.assert_array_equal(features[:, r.CONTACTS], feet)
    exact = r.features_from_joints(recorded("joints")[None].astype(np.float64))[0]
    np.testing.assert_allclose(exact, recorded("data_f64"), atol=1e-6)


def test_inverse(recorded: Recorded) -> None:
    data = recorded("data")
    heading, pelvis = r.root_path(torch.from_numpy(data))
    np.testing.assert_allclose(quaternion_of(heading), recorded("recovered_root_quat"), atol=1e-5)
    np.testing.assert_allclose(pelvis, recorded("recovered_root_pos"), atol=1e-5)
    np.testing.assert_allclose(r.joints_from_features(data), recorded("recovered_joints"), atol=1e-5)
    np.testing.assert_allclose(r.joints_from_rotations(data), recorded("recovered_joints_from_rot"), atol=1e-5)
    exact = recorded("data_f64")
    np.testing.assert_allclose(r.joints_from_features(exact), recorded("recovered_joints_f64"), atol=1e-6)
    np.testing.assert_allclose(r.joints_from_rotations(exact), recorded("recovered_joints_from_rot_f64"), atol=1e-6)


def test_published_example(shared: Path) -> None:
    """The repository's own file: recovering it is exact; making it again agrees where the smoothing saw the same."""
    folder = shared / "parity" / "humanml"
    joints, features = (np.load(folder / name / "012314.npy") for name in ("new_joints", "new_joint_vecs"))
    np.testing.assert_allclose(r.joints_from_features(features), joints, atol=1e-6)
    np.testing.assert_allclose(r.features_from_joints(joints[None])[0, :60], features[:60], atol=1e-4)


def test_inverse_of_real_motions(shared: Path) -> None:
    """All of val.npz, the root's path included, to 1 mm.

    The published features can't do that for a motion whose heading passes straight back, in relation to its first
    frame: there the turn of one frame has the wrong sign. With ``continuous_heading`` it has not.
    """
    with np.load(shared / "data" / "motions" / "val.npz") as file:
        offsets = file["offsets"]
        clips = [file["joints"][first:last] for first, last in pairwise(offsets)]
    lengths = np.diff(offsets)
    joints = np.zeros((len(clips), lengths.max(), 22, 3), dtype=np.float32)
    for row, clip in enumerate(clips):
        joints[row, : len(clip)] = clip
    published, continuous = (r.features_from_joints(joints, lengths, continuous_heading=on) for on in (False, True))
    truth = r.canonical_joints(r.hold_last(torch.from_numpy(joints), lengths)).numpy()
    turns_back = np.abs(published - continuous).max(axis=(1, 2)) > 1e-4
    assert 0 < turns_back.sum() < len(clips) / 2
    for row, length in enumerate(lengths - 1):
        expected = truth[row, :length]
        np.testing.assert_allclose(r.joints_from_features(continuous[row, :length]), expected, atol=1e-3)
        if not turns_back[row]:
            np.testing.assert_allclose(r.joints_from_features(published[row, :length]), expected, atol=1e-3)
