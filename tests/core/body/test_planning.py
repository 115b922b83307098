"""Plans: a motion laid onto a reference person, and the reference turned by its labels."""

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_core import Camera, ClipPlan, Motion, PoseEstimate, Sample, SmplParams
from posesyn_core.body.model import Body, load_body
from posesyn_core.body.planning import filled_in, plan_clips, plan_fault, reference_fault, turn_to_labels
from posesyn_core.geometry.cameras import project

BODY: Body = load_body()
CAMERA = Camera([4000.0, 4000.0], [100.0, 120.0])
UPRIGHT = Rotation.from_euler("x", np.pi)


def posed(heading: float, transl: tuple[float, float, float]) -> PoseEstimate:
    """A person with one arm and one leg raised, seen from ``heading`` degrees."""
    pose = np.zeros((23, 3), np.float32)
    pose[15, 2], pose[0, 0], pose[3, 0] = -0.9, -0.8, 0.7  # left shoulder, left hip, left knee
    orient = (UPRIGHT * Rotation.from_euler("y", heading, degrees=True)).as_rotvec()
    smpl = SmplParams(orient, pose, np.zeros(10), transl)
    tensors = (
        torch.from_numpy(np.array(v))[None] for v in (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    )
    joints = BODY.joints(*tensors)[0].numpy()
    seen = project(joints, CAMERA.focal_length, CAMERA.principal_point)
    return PoseEstimate(joints - joints[0], seen, CAMERA, smpl)


def labelled(truth: PoseEstimate) -> Sample:
    return Sample("s", b"", [0, 0, 1, 1], "smpl24", truth.joints2d, np.ones(24), CAMERA)  # type: ignore[arg-type]


@settings(max_examples=25)
@given(st.floats(-180, 180), st.floats(-80, 80))
def test_the_labels_turn_and_place_the_reference(heading: float, error: float) -> None:
    truth = posed(heading, (0.4, -0.3, 30.0))
    guess = posed(heading + error, (0.0, 0.1, 45.0))
    found = turn_to_labels(BODY, guess, labelled(truth))
    assert found.smpl is not None and truth.smpl is not None
    np.testing.assert_allclose(found.joints2d, truth.joints2d, atol=8)  # turns are tried in steps of 3 degrees
    np.testing.assert_allclose(found.smpl.transl, truth.smpl.transl, atol=1.0)
    off = Rotation.from_rotvec(found.smpl.global_orient) * Rotation.from_rotvec(truth.smpl.global_orient).inv()
    assert np.degrees(off.magnitude()) < 12


def test_the_turned_bodys_joints_and_parameters_agree() -> None:
    found = turn_to_labels(BODY, posed(30, (0.0, 0.0, 40.0)), labelled(posed(0, (0.3, 0.2, 30.0))))
    assert found.smpl is not None
    arrays = (found.smpl.global_orient, found.smpl.body_pose, found.smpl.betas, found.smpl.transl)
    joints = BODY.joints(*(torch.from_numpy(np.array(array))[None] for array in arrays))[0].numpy()
    np.testing.assert_allclose(joints - joints[0], found.joints3d, atol=1e-4)
    np.testing.assert_allclose(project(joints, CAMERA.focal_length, CAMERA.principal_point), found.joints2d, atol=0.05)


def test_without_enough_labels_the_estimate_stays() -> None:
    guess = posed(30, (0.0, 0.0, 40.0))
    few = evolve(labelled(posed(0, (0.0, 0.0, 40.0))), confidence=np.eye(24)[0])
    assert turn_to_labels(BODY, guess, few) is guess
    assert turn_to_labels(BODY, evolve(guess, smpl=None), labelled(guess)).smpl is None


@pytest.mark.parametrize("orientation", ["anchored", "literal", "heading"])
def test_a_plan_keeps_shape_camera_and_place_of_the_reference(orientation: str) -> None:
    reference = posed(20, (0.2, -0.1, 35.0))
    rest = BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    joints = np.repeat((rest - rest[0] + [0, 1, 0])[None], 6, axis=0)
    joints[:, :, 1] += np.linspace(0, 0.3, 6)[:, None]  # rises by 30 cm
    motion = Motion("m", "s", "rises", joints.astype(np.float32))
    short = evolve(motion, id="n", joints=motion.joints[:2])
    plans = plan_clips(
        BODY, [motion, short], [labelled(reference)] * 2, [reference] * 2, names=["a", "b"], seeds=[1, 2],
        orientation=orientation,  # type: ignore[arg-type]
    )  # fmt: skip
    assert [plan.id for plan in plans] == ["a", "b"] and [len(plan.transl) for plan in plans] == [6, 2]
    plan = plans[0]
    assert reference.smpl is not None
    np.testing.assert_allclose(plan.betas, reference.smpl.betas)
    np.testing.assert_allclose(plan.transl[0], reference.smpl.transl, atol=1e-6)
    np.testing.assert_allclose(plan.transl[-1] - plan.transl[0], [0, -0.3, 0], atol=1e-3)
    seen = project(plan.joints3d, plan.camera.focal_length, plan.camera.principal_point)
    np.testing.assert_allclose(seen, plan.joints2d, atol=1e-2)
    assert plan.residual_mm < 15


@pytest.mark.parametrize("child", [1.0, 0.6])
def test_heights_are_scaled_like_the_legs_or_stay(child: float) -> None:
    """Somebody, or a child of 0.6 times the size, who sinks by a quarter of the height of the hips."""
    reference = posed(20, (0.2, -0.1, 35.0))
    rest = child * BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    hips = rest[0, 1] - rest[:, 1].min()
    joints = np.repeat((rest - rest[0] + [0, hips, 0])[None], 5, axis=0)
    joints[:, :, 1] -= np.linspace(0, 0.25 * hips, 5)[:, None]
    motion = Motion("m", "s", "sinks", joints.astype(np.float32))
    sunk = {}
    for translation in ("follow", "constant"):
        (plan,) = plan_clips(
            BODY, [motion], [labelled(reference)], [reference], names=["a"], seeds=[1], orientation="anchored",
            translation=translation,  # type: ignore[arg-type]
        )  # fmt: skip
        sunk[translation] = plan.transl[:, 1] - plan.transl[0, 1]
    np.testing.assert_allclose(sunk["follow"][-1], 0.25 * hips / child, atol=2e-3)
    np.testing.assert_array_equal(sunk["constant"], 0)


def test_a_turning_clip_turns_when_anchored_and_not_when_literal() -> None:
    """A motion that turns left by 90 degrees in ten frames, on a reference seen from 40 degrees."""
    reference = posed(40, (0.2, -0.1, 35.0))
    rest = BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    turns = Rotation.from_euler("y", np.linspace(0, 90, 10)[:, None], degrees=True).as_matrix()
    joints = np.einsum("lab,jb->lja", turns, rest - rest[0]) + np.array([0, 1, 0])
    motion = Motion("m", "s", "turns", joints.astype(np.float32))
    headings = {}
    for orientation in ("anchored", "literal"):
        (plan,) = plan_clips(
            BODY, [motion], [labelled(reference)], [reference], names=["a"], seeds=[1],
            orientation=orientation,  # type: ignore[arg-type]
        )  # fmt: skip
        facing = UPRIGHT.inv() * Rotation.from_rotvec(plan.global_orient)
        headings[orientation] = np.degrees(np.unwrap(np.arctan2(*facing.apply([0, 0, 1])[:, [0, 2]].T)))
    np.testing.assert_allclose(headings["anchored"], 40 + np.linspace(0, 90, 10), atol=3)
    np.testing.assert_allclose(headings["literal"][1:], 50, atol=3)
    assert headings["literal"][0] == pytest.approx(40, abs=0.5)


def test_a_reference_must_reproject_into_its_box() -> None:
    estimate = posed(20, (0.2, -0.1, 35.0))
    smpl = estimate.smpl
    assert smpl is not None
    low, high = estimate.joints2d.min(axis=0), estimate.joints2d.max(axis=0)
    size = high - low
    sample = evolve(labelled(estimate), box=np.concatenate([low, high]))

    def shifted(pixels: np.ndarray) -> PoseEstimate:
        return evolve(estimate, camera=evolve(CAMERA, principal_point=CAMERA.principal_point + pixels))

    assert reference_fault(BODY, estimate, sample) is None
    assert reference_fault(BODY, shifted(0.2 * size), sample) is None
    for wrong, reason in (
        (evolve(estimate, smpl=None), "no body"),
        (evolve(estimate, smpl=evolve(smpl, betas=np.full(10, np.nan))), "not finite"),
        (evolve(estimate, joints3d=np.full((24, 3), np.inf)), "not finite"),
        (shifted(np.array([np.nan, 0])), "not finite"),
        (evolve(estimate, smpl=evolve(smpl, transl=[0.0, 0.0, -35.0])), "behind the camera"),
        (shifted(3 * size), "only 0 % of"),
        (evolve(estimate, smpl=evolve(smpl, transl=[2.0, -0.1, 350.0])), "far smaller"),
        (evolve(estimate, joints3d=1.1 * estimate.joints3d), "of another body than the run's"),
    ):
        assert reason in str(reference_fault(BODY, wrong, sample))
    for box in ([5.0, 5.0, 5.0, 90.0], [0.0, 0.0, np.nan, 9.0]):
        assert reference_fault(BODY, estimate, evolve(sample, box=box)) == "the reference has no person box"


def test_a_plan_must_be_finite_before_the_camera_and_fit_well() -> None:
    reference = posed(20, (0.2, -0.1, 35.0))
    rest = BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    motion = Motion("m", "s", "stands", np.repeat((rest - rest[0])[None], 2, axis=0))
    (plan,) = plan_clips(
        BODY, [motion], [labelled(reference)], [reference], names=["a"], seeds=[1], orientation="anchored"
    )
    assert plan_fault(plan, 60.0) is None
    for wrong, reason in (
        (evolve(plan, residual_mm=61.4), "residual 61 mm > 60 mm"),
        (evolve(plan, residual_mm=float("nan")), "not finite"),
        (evolve(plan, joints3d=plan.joints3d * np.nan), "not finite"),
        (evolve(plan, joints3d=plan.joints3d - np.array([0, 0, 36])), "behind the camera"),
    ):
        assert reason in str(plan_fault(wrong, 60.0))


def test_no_motions_no_plans() -> None:
    assert plan_clips(BODY, [], [], [], names=[], seeds=[], orientation="anchored") == []


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=0, max_size=5), st.integers(0, 9))
def test_bodies_put_in_between_leave_the_others_as_they_are(steps: list[int], seed: int) -> None:
    rng, length = np.random.default_rng(seed), len(steps) + 1
    plan = clip(rng, length)
    places = np.concatenate([[0], np.cumsum(steps)]).astype(np.intp)
    filled = filled_in(BODY, plan, places)
    assert len(filled.transl) == places[-1] + 1
    for name in ("global_orient", "body_pose", "transl", "joints3d"):
        assert np.array_equal(getattr(filled, name)[places], getattr(plan, name))
    assert np.abs(filled.joints2d[places] - plan.joints2d).max() < 0.01
    for at, step in zip(places, steps, strict=False):
        turns = Rotation.from_rotvec(filled.global_orient[at : at + step + 1])
        angles = (turns[:-1].inv() * turns[1:]).magnitude()
        assert np.allclose(angles, angles[0], atol=1e-4) and angles.sum() <= np.pi + 1e-3
        assert np.allclose(np.diff(filled.transl[at : at + step + 1], n=2, axis=0), 0, atol=1e-5)


def clip(rng: np.random.Generator, length: int) -> ClipPlan:
    """Random bodies before the camera."""
    truth = posed(0, (0.0, 0.0, 40.0))
    orient = Rotation.random(length, rng=rng).as_rotvec().astype(np.float32)
    pose = rng.normal(0, 0.3, (length, 23, 3)).astype(np.float32)
    transl = np.float32([0, 0, 40]) + rng.normal(0, 0.2, (length, 3)).astype(np.float32)
    joints = BODY.joints(
        *(torch.from_numpy(a) for a in (orient, pose, np.zeros((length, 10), np.float32), transl))
    ).numpy()
    return ClipPlan(
        id="c", motion_id="m", sample_id="s", caption="", reference=labelled(truth), reference_estimate=truth,
        camera=CAMERA, fps=20, seed=0, residual_mm=0, global_orient=orient, body_pose=pose, betas=np.zeros(10),
        transl=transl, joints3d=joints, joints2d=project(joints, CAMERA.focal_length, CAMERA.principal_point),
    )  # fmt: skip


def carried(frames: int, camera: bool) -> Motion:
    """A motion that knows its rotations: the joints are not even theirs."""
    rest = BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    joints = np.repeat((rest - rest[0] + [0, 1, 0])[None], frames, axis=0).astype(np.float32)
    pose = np.zeros((frames, 23, 3), np.float32)
    pose[:, 15, 2] = np.linspace(-1, 1, frames)
    orient = np.tile(np.float32([2.0, 0.3, 0.1]), (frames, 1)) if camera else None
    return Motion("carried", "s", "", joints, body_pose=pose, global_orient=orient)


@pytest.mark.parametrize("orientation", ["anchored", "literal", "heading"])
def test_rotations_that_a_motion_carries_are_kept(orientation: str) -> None:
    reference = posed(20, (0.2, -0.1, 35.0))
    assert reference.smpl is not None
    rest = BODY.rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    fitted = Motion("fitted", "s", "", np.repeat((rest - rest[0] + [0, 1, 0])[None], 3, axis=0).astype(np.float32))
    motions = [carried(4, camera=True), fitted, carried(1, camera=False)]
    plans = plan_clips(
        BODY, motions, [labelled(reference)] * 3, [reference] * 3, names=["a", "b", "c"], seeds=[1, 2, 3],
        orientation=orientation,  # type: ignore[arg-type]
    )  # fmt: skip
    own, _, bare = plans
    np.testing.assert_array_equal(own.body_pose, motions[0].body_pose)
    np.testing.assert_allclose(own.global_orient, motions[0].global_orient, atol=1e-6)
    np.testing.assert_array_equal(bare.body_pose, motions[2].body_pose)
    off = Rotation.from_rotvec(bare.global_orient[0]) * Rotation.from_rotvec(reference.smpl.global_orient).inv()
    assert off.magnitude() < 1e-3  # the reference stands upright: all modes give its orientation
    assert own.residual_mm == bare.residual_mm == 0 and plans[1].residual_mm > 0
    arrays = (own.global_orient, own.body_pose, np.zeros((4, 10), np.float32), own.transl)
    joints = BODY.joints(*(torch.from_numpy(np.array(array)) for array in arrays)).numpy()
    np.testing.assert_allclose(joints, own.joints3d, atol=1e-5)


def test_rotations_of_another_length_are_refused() -> None:
    motion = carried(3, camera=True)
    with pytest.raises(ValueError, match="body_pose must have shape"):
        evolve(motion, joints=motion.joints[:2])
    with pytest.raises(ValueError, match="goes with body_pose"):
        evolve(motion, body_pose=None)
