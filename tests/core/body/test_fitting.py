"""Joints -> SMPL (Eq. 8): round trips, real motion, and what must not matter."""

from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from posesyn_core.body.fitting import LARGEST_BETA, FitResult, fit_smpl, retarget_joints
from posesyn_core.body.model import Body, load_body
from posesyn_core.geometry.skeletons import HUMANML22


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def _people(clips: int, frames: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Smooth, plausible parameters: bent knees and elbows, swinging limbs, any heading and lean."""
    random = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=random)

    spread, mean = torch.zeros(23, 3), torch.zeros(23, 3)
    for joints, deviation in {
        (1, 2): (0.5, 0.2, 0.15), (4, 5): (0.4, 0, 0), (7, 8): (0.2, 0.15, 0.05), (3, 6, 9): (0.15, 0.1, 0.1),
        (12,): (0.2, 0, 0.15), (13, 14): (0, 0.1, 0.1), (16, 17): (0.3, 0.4, 0.4), (18, 19): (0, 0.4, 0),
    }.items():  # fmt: skip
        spread[[joint - 1 for joint in joints]] = torch.tensor(deviation)
    mean[[0, 1, 3, 4], 0] = torch.tensor([-0.4, -0.4, 0.7, 0.7])
    mean[[15, 16], 2], mean[[17, 18], 1] = torch.tensor([-0.8, 0.8]), torch.tensor([-0.8, 0.8])
    time = torch.arange(frames)[:, None, None] / 20
    swing = torch.sin(4 * time + 6 * torch.rand((clips, 1, 23, 3), generator=random))
    pose = mean + spread * (0.5 * normal(clips, 1, 23, 3) + normal(clips, 1, 23, 3) * swing)
    pose[:, :, 3:5, 0] = pose[:, :, 3:5, 0].clamp(min=0)
    pose[:, :, 17, 1], pose[:, :, 18, 1] = pose[:, :, 17, 1].clamp(max=0), pose[:, :, 18, 1].clamp(min=0)
    orient = normal(clips, 1, 3) + 0.2 * time[..., 0] * normal(clips, 1, 3)
    return orient, pose, normal(clips, 10), normal(clips, 1, 3) + 0.5 * time[..., 0] * normal(clips, 1, 3)


def _joints(body: Body, orient: Tensor, pose: Tensor, betas: Tensor, transl: Tensor) -> Tensor:
    clips, frames = pose.shape[:2]
    flat = orient.flatten(0, 1), pose.flatten(0, 1), betas.repeat_interleave(frames, 0), transl.flatten(0, 1)
    return body.joints(*flat).unflatten(0, (clips, frames))[:, :, :22]


def _fitted_joints(body: Body, fit: FitResult) -> Tensor:
    return _joints(body, fit.global_orient, fit.body_pose, fit.betas, fit.transl)


def _steps(rotvecs: Tensor) -> Tensor:
    """Degrees turned from frame to frame: (B, L, ..., 3) -> (B, L - 1, ...)."""
    rotations = roma.rotvec_to_rotmat(rotvecs)
    return torch.rad2deg(roma.rotmat_geodesic_distance(rotations[:, 1:], rotations[:, :-1]))


def _val_motions(shared: Path) -> tuple[Tensor, Tensor]:
    with np.load(shared / "data/motions/val.npz", allow_pickle=False) as file:
        clips = np.split(file["joints"], file["offsets"][1:-1])
    longest = max(map(len, clips))
    mask = torch.tensor([[frame < len(clip) for frame in range(longest)] for clip in clips])
    joints = torch.zeros(len(clips), longest, 22, 3)
    joints[mask] = torch.tensor(np.concatenate(clips))
    return joints, mask


def test_a_known_body_is_found_again(body: Body) -> None:
    orient, pose, betas, transl = _people(6, 20)
    joints = _joints(body, orient, pose, betas, transl)
    fit = fit_smpl(body, joints, betas=betas)
    assert fit.residual_mm.max() < 0.5
    assert (_fitted_joints(body, fit) - joints).norm(dim=-1).max() < 0.002
    off = roma.rotmat_geodesic_distance(roma.rotvec_to_rotmat(fit.global_orient), roma.rotvec_to_rotmat(orient))
    assert torch.rad2deg(off).max() < 1
    assert torch.equal(fit.betas, betas)


def test_an_unknown_body_is_fitted_by_its_bone_lengths(body: Body) -> None:
    orient, pose, betas, transl = _people(6, 20)
    joints = _joints(body, orient, pose, betas, transl)
    fit = fit_smpl(body, joints)
    assert fit.residual_mm.mean() < 4
    error = 1000 * (_fitted_joints(body, fit) - joints).norm(dim=-1).mean((1, 2))
    assert torch.allclose(fit.residual_mm, error, atol=0.05)
    limbs = [4, 5, 7, 8, 18, 19, 20, 21]
    parents = [HUMANML22.parents[joint] for joint in limbs]
    wanted, found = (
        rest[:, limbs] - rest[:, parents] for rest in (body.rest_joints(betas), body.rest_joints(fit.betas))
    )
    assert (wanted.norm(dim=-1) - found.norm(dim=-1)).abs().max() < 0.012


def test_knees_and_elbows_bend_like_hinges(body: Body) -> None:
    orient, pose, betas, transl = _people(4, 15, seed=2)
    fit = fit_smpl(body, _joints(body, orient, pose, betas, transl), betas=betas)
    for joint, axis, sign in ((4, 0, 1), (5, 0, 1), (18, 1, -1), (19, 1, 1)):
        bend = fit.body_pose[:, :, joint - 1]
        bent = bend.norm(dim=-1) > 0.5
        assert bent.any()
        assert (sign * bend[bent][:, axis] / bend[bent].norm(dim=-1)).min() > 0.95


def test_real_motion_on_another_person(body: Body, shared: Path) -> None:
    joints, mask = _val_motions(shared)
    fit = fit_smpl(body, joints, mask, torch.zeros(len(joints), 10))
    assert fit.residual_mm.mean() < 6
    assert fit.residual_mm.max() < 15
    both = mask[:, 1:] & mask[:, :-1]
    assert _steps(fit.body_pose)[both].max() < 75  # degrees in 1/20 s: kicks, but no flips
    assert _steps(fit.global_orient)[both].max() < 45
    assert _jitter(_fitted_joints(body, fit), mask) < 1.02 * _jitter(joints, mask)


def test_real_motion_with_the_motions_own_bone_lengths(body: Body, shared: Path) -> None:
    joints, mask = _val_motions(shared)
    fit = fit_smpl(body, joints, mask)
    assert fit.residual_mm.mean() < 12
    assert _jitter(_fitted_joints(body, fit), mask) < 1.02 * _jitter(joints, mask)
    assert fit.betas.abs().max() < 4


def _jitter(joints: Tensor, mask: Tensor) -> float:
    """Mean second difference of the joints over the clips, metres per frame^2."""
    second = (joints[:, 2:] - 2 * joints[:, 1:-1] + joints[:, :-2]).norm(dim=-1).mean(-1)
    return float(second[mask[:, 2:]].mean())


def test_smoothness_calms_the_rotations_of_noisy_joints(body: Body) -> None:
    orient, pose, betas, transl = _people(3, 30, seed=4)
    joints = _joints(body, orient, pose, betas, transl)
    noisy = joints + 0.01 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0))
    rough, smooth = (fit_smpl(body, noisy, betas=betas, smoothness=w, iterations=4) for w in (0.0, 0.02))
    assert _steps(smooth.body_pose).mean() < 0.8 * _steps(rough.body_pose).mean()
    assert smooth.residual_mm.mean() < 20


def test_a_clip_does_not_depend_on_its_batch(body: Body) -> None:
    orient, pose, betas, transl = _people(5, 12, seed=5)
    joints = 1.05 * _joints(body, orient, pose, betas, transl)
    together, alone = fit_smpl(body, joints), fit_smpl(body, joints[3:4])
    for name in ("global_orient", "body_pose", "betas", "transl", "residual_mm"):
        assert torch.allclose(getattr(together, name)[3:4], getattr(alone, name), atol=1e-5)


@pytest.mark.parametrize("betas", [None, torch.ones(2, 10)])
@pytest.mark.parametrize("filler", [0.0, 7.0, float("nan")])
def test_padding_changes_nothing(body: Body, betas: Tensor | None, filler: float) -> None:
    orient, pose, shape, transl = _people(2, 12, seed=6)
    joints = _joints(body, orient, pose, shape, transl)
    padded = torch.cat([joints, torch.full((2, 5, 22, 3), filler)], dim=1)
    mask = torch.arange(17).expand(2, -1) < 12
    plain, fit = fit_smpl(body, joints, betas=betas), fit_smpl(body, padded, mask, betas)
    assert torch.allclose(fit.body_pose[:, :12], plain.body_pose, atol=1e-5)
    assert torch.allclose(fit.transl[:, :12], plain.transl, atol=1e-5)
    assert torch.allclose(fit.residual_mm, plain.residual_mm, atol=1e-3)
    assert fit.body_pose[:, 12:].abs().max() == 0


def test_a_broken_clip_is_told_by_its_residual_and_harms_no_other(body: Body) -> None:
    joints = _joints(body, *_people(3, 8, seed=7))
    broken = joints.clone()
    broken[1, 4, 10] = float("nan")
    fit, sound = fit_smpl(body, broken), fit_smpl(body, joints)
    assert fit.residual_mm.isnan().tolist() == [False, True, False]
    assert torch.allclose(fit.body_pose[[0, 2]], sound.body_pose[[0, 2]], atol=1e-5)
    collapsed = joints.clone()
    collapsed[1] = 0
    assert torch.allclose(fit_smpl(body, collapsed).body_pose[[0, 2]], sound.body_pose[[0, 2]], atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-5, 5)] * 3))
def test_turning_and_moving_the_motion_turns_and_moves_the_body(rotvec: tuple, shift: tuple) -> None:
    body = load_body()
    joints = _joints(body, *_people(1, 6, seed=8))
    turn, offset = roma.rotvec_to_rotmat(torch.tensor(rotvec)), torch.tensor(shift)
    fit, moved = fit_smpl(body, joints), fit_smpl(body, joints @ turn.T + offset)
    assert torch.allclose(moved.body_pose, fit.body_pose, atol=2e-3)
    expected = turn @ roma.rotvec_to_rotmat(fit.global_orient)
    assert roma.rotmat_geodesic_distance(roma.rotvec_to_rotmat(moved.global_orient), expected).max() < 2e-3
    assert torch.allclose(_fitted_joints(body, moved), _fitted_joints(body, fit) @ turn.T + offset, atol=2e-3)


def test_retargeting_keeps_directions_and_takes_lengths(body: Body) -> None:
    orient, pose, betas, transl = _people(2, 5, seed=9)
    joints = _joints(body, orient, pose, betas, transl)
    rest = body.rest_joints(-betas)[:, :22]
    everywhere = torch.ones(2, 5, dtype=torch.bool)
    moved = retarget_joints(joints, rest, everywhere)
    for parent, joint in HUMANML22.bones:
        bone, source, own = (x[..., joint, :] - x[..., parent, :] for x in (moved, joints, rest[:, None]))
        assert torch.allclose(bone.norm(dim=-1), own.norm(dim=-1).expand(2, 5), atol=1e-5)
        if joint not in (1, 2, 13, 14):
            assert torch.allclose(
                bone / bone.norm(dim=-1, keepdim=True), source / source.norm(dim=-1, keepdim=True), atol=1e-4
            )
    assert torch.allclose(retarget_joints(joints, body.rest_joints(betas)[:, :22], everywhere), joints, atol=1e-4)


def test_the_root_path_is_scaled_like_the_legs(body: Body) -> None:
    orient, pose, _, transl = _people(1, 5, seed=10)
    betas = torch.zeros(1, 10)
    joints = _joints(body, orient, pose, betas, transl)
    rest = body.rest_joints(betas)[:, :22]
    assert torch.allclose(retarget_joints(2 * joints, rest, torch.ones(1, 5, dtype=torch.bool)), joints, atol=1e-4)


def test_shapes_are_fitted_whatever_the_pose(body: Body) -> None:
    orient, pose, betas, transl = _people(3, 10, seed=11)
    found = fit_smpl(body, _joints(body, orient, pose, betas, transl)).betas
    straight = fit_smpl(body, body.rest_joints(betas)[:, None, :22].expand(3, 10, 22, 3)).betas
    rest = body.rest_joints(found)
    assert (rest - body.rest_joints(straight)).norm(dim=-1).max() < 0.001
    assert (rest - body.rest_joints(betas)).norm(dim=-1).max() < 0.006
    assert torch.allclose(found[:, 0], betas[:, 0], atol=0.02)


def test_a_shape_stays_within_what_people_are(body: Body) -> None:
    fit = fit_smpl(body, 3 * _joints(body, *_people(2, 6, seed=12)))
    assert fit.betas.abs().max() <= LARGEST_BETA
    assert (fit.residual_mm > 100).all()


def test_one_frame_is_a_clip(body: Body) -> None:
    orient, pose, betas, transl = _people(3, 1, seed=13)
    joints = _joints(body, orient, pose, betas, transl)
    assert fit_smpl(body, joints, betas=betas).residual_mm.max() < 2
    assert fit_smpl(body, joints).residual_mm.max() < 4


@pytest.mark.parametrize("betas", [None, torch.zeros(3, 10)])
def test_what_is_no_person_is_told_by_its_residual(body: Body, betas: Tensor | None) -> None:
    joints = _joints(body, *_people(3, 8, seed=14))
    odd = joints.clone()
    odd[0] = 0
    odd[1] = torch.randn(8, 22, 3, generator=torch.Generator().manual_seed(0))
    sound, fit = fit_smpl(body, joints, betas=betas), fit_smpl(body, odd, betas=betas)
    assert fit.residual_mm[0].isnan()
    assert fit.residual_mm[1] > 300
    for name in ("global_orient", "body_pose", "betas", "transl"):
        assert getattr(fit, name).isfinite().all()
        assert torch.allclose(getattr(fit, name)[2], getattr(sound, name)[2], atol=1e-5)
