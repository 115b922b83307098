"""Temporal smoothing: still bodies stay, jitter falls, turns and labels stay right."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_core import Camera, Motion, PoseEstimate, Sample, SmplParams
from posesyn_core.body.model import load_body
from posesyn_core.body.planning import plan_clips
from posesyn_core.body.smoothing import smooth_positions, smooth_rotations
from posesyn_core.geometry.cameras import project

BODY = load_body()
sigmas = st.floats(0.3, 6.0)
seeds = st.integers(0, 2**16)


def apart(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Angles in degrees between rotations given as axis-angle (N, 3)."""
    return np.degrees((Rotation.from_rotvec(left) * Rotation.from_rotvec(right).inv()).magnitude())


def trembling(seed: int, degrees: float, frames: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A rotation by nearly half a turn, where axis-angle vectors flip, and frames that tremble about it."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    base = Rotation.from_rotvec(np.radians(179.5) * axis / np.linalg.norm(axis))
    noise = Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=(frames, 3)))
    return base.as_rotvec(), (noise * base).as_rotvec().astype(np.float32)


@given(seeds, sigmas, st.integers(1, 12))
def test_what_is_still_stays(seed: int, sigma: float, frames: int) -> None:
    rng = np.random.default_rng(seed)
    pose = np.repeat(rng.normal(0, 1.2, (1, 5, 3)), frames, axis=0).astype(np.float32)
    found = smooth_rotations(pose, sigma)
    assert found.shape == pose.shape and found.dtype == np.float32
    assert apart(found.reshape(-1, 3), pose.reshape(-1, 3)).max() < 1e-3
    np.testing.assert_allclose(smooth_positions(pose, sigma), pose, atol=1e-6)


@given(seeds, st.floats(1.0, 6.0))
def test_jitter_falls_also_about_half_a_turn(seed: int, sigma: float) -> None:
    base, rotations = trembling(seed, degrees=6)
    found = smooth_rotations(rotations, sigma)
    assert apart(found[1:], found[:-1]).mean() < 0.5 * apart(rotations[1:], rotations[:-1]).mean()
    assert apart(found, base).mean() < 0.8 * apart(rotations, base).mean()


@given(seeds, sigmas)
def test_the_mean_does_not_depend_on_the_axes(seed: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    track = Rotation.from_rotvec(np.cumsum(rng.normal(0, 0.1, (10, 3)), axis=0))
    before, after = Rotation.random(2, random_state=seed)
    turned = smooth_rotations((before * track * after).as_rotvec(), sigma)
    expected = before * Rotation.from_rotvec(smooth_rotations(track.as_rotvec(), sigma)) * after
    assert apart(turned, expected.as_rotvec()).max() < 1e-3


def test_a_steady_turn_goes_on() -> None:
    turn = np.radians(np.arange(60.0))[:, None] * np.array([0, 6.0, 0])  # 6 degrees a frame
    found = smooth_rotations(turn, 2.0)
    np.testing.assert_allclose(apart(found[1:], found[:-1])[8:-8], 6, atol=1e-3)
    np.testing.assert_allclose(apart(found, turn)[8:-8], 0, atol=0.01)


def test_nothing_is_touched_without_it() -> None:
    _, rotations = trembling(0, 5)
    assert smooth_rotations(rotations, 0) is rotations and smooth_positions(rotations, 0) is rotations


def noisy_motion(frames: int) -> Motion:
    rest = BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    joints = np.repeat((rest - rest[0] + [0, 1, 0])[None], frames, axis=0)
    joints = joints + np.random.default_rng(5).normal(0, 0.02, (frames, 1, 3))  # the whole body jumps
    return Motion("m", "s", "trembles", joints.astype(np.float32))


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(["anchored", "literal", "heading"]), st.sampled_from([1, 12]), st.floats(0.5, 4))
def test_labels_of_a_smoothed_plan_are_those_of_its_bodies(orientation: str, frames: int, sigma: float) -> None:
    camera = Camera([4000.0, 4000.0], [100.0, 120.0])
    smpl = SmplParams([np.pi, 0, 0], np.zeros((23, 3)), np.zeros(10), (0.2, -0.1, 35.0))
    estimate = PoseEstimate(np.zeros((24, 3)), np.zeros((24, 2)), camera, smpl)
    sample = Sample("s", b"", [0, 0, 1, 1], "smpl24", np.zeros((24, 2)), np.ones(24), camera)  # type: ignore[arg-type]
    rough, smooth = (
        plan_clips(
            BODY, [noisy_motion(frames)], [sample], [estimate], names=["a"], seeds=[1],
            orientation=orientation, smooth=wanted,  # type: ignore[arg-type]
        )[0]
        for wanted in (0.0, sigma)
    )  # fmt: skip
    betas = np.repeat(smooth.betas[None], frames, axis=0)
    arrays = (smooth.global_orient, smooth.body_pose, betas, smooth.transl)
    joints = BODY.joints(*(torch.from_numpy(np.array(a)) for a in arrays)).numpy()
    np.testing.assert_allclose(smooth.joints3d, joints, atol=1e-5)
    np.testing.assert_allclose(smooth.joints2d, project(joints, camera.focal_length, camera.principal_point), atol=1e-2)
    np.testing.assert_allclose(smooth.transl[0], smpl.transl, atol=1e-6)
    if orientation != "heading":
        assert apart(smooth.global_orient[:1], smpl.global_orient[None])[0] < 0.05
    if frames > 1:
        jumps = [np.abs(np.diff(plan.transl, axis=0)).mean() for plan in (rough, smooth)]
        assert jumps[1] < (0.9 if sigma < 1 else 0.7) * jumps[0]
