"""Crops and targets: whatever is done to the picture is done to its labels."""

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_core.body.model import load_body
from posesyn_core.geometry.crops import apply_affine
from posesyn_core.values import LabelledFrame
from posesyn_crowdnet.body import JointRegressor, superset_regressor
from posesyn_crowdnet.crops import View, as_xywh, crop_box, crop_matrix, cut, mirrored, overlap, tight_box
from posesyn_crowdnet.joints import COCO, SUPERSET, flip_order, official_joints, to_superset
from posesyn_crowdnet.people import person_of
from posesyn_crowdnet.posefix import disturb, probabilities
from posesyn_crowdnet.targets import labels
from tests.tiny import people

VIEWS = st.builds(
    View, st.floats(0.75, 1.25), st.floats(-60, 60), st.just((1.0, 1.0, 1.0)), st.booleans()
)  # fmt: skip


@pytest.fixture(scope="module")
def regressor() -> JointRegressor:
    body = load_body()
    return JointRegressor(body, superset_regressor(body)[0])


def frame() -> LabelledFrame:
    one = people(1)[0]
    return LabelledFrame(
        one.id, one.image, one.box, one.keypoints2d, one.confidence, one.camera, one.joints3d, one.smpl
    )


def item(view: View, regressor: JointRegressor) -> dict[str, np.ndarray]:
    person = person_of(frame(), 128, 128)
    matrix = crop_matrix(crop_box(person.box, 128, 128), view, 128)
    return labels(person, view, matrix, regressor)


@settings(max_examples=20)
@given(view=VIEWS)
def test_all_targets_describe_one_body(regressor: JointRegressor, view: View) -> None:
    """The body of the target's pose has the target's joints, and the fit lies over the annotation."""
    targets = item(view, regressor)
    pose = torch.from_numpy(Rotation.from_rotvec(targets["pose_param"].reshape(24, 3)).as_matrix()[None]).float()
    joints = regressor(pose, torch.from_numpy(targets["shape_param"][None]))[0].numpy()
    np.testing.assert_allclose(joints - joints[0], targets["fit_joint_cam"], atol=1e-4)
    annotated, fitted = targets["orig_joint_cam"][:24], targets["fit_joint_cam"][:24]
    assert np.linalg.norm(annotated - fitted, axis=1).mean() < 0.03  # kinematic joints against regressed ones
    seen = targets["orig_joint_trunc"][:24, 0] > 0
    place, fit = targets["orig_joint_img"][:24], targets["fit_joint_img"][:24]
    assert np.abs(place - fit)[seen].mean() < 1.5


@settings(max_examples=20)
@given(view=VIEWS)
def test_depth_is_relative_to_the_pelvis_in_64ths_of_two_metres(regressor: JointRegressor, view: View) -> None:
    targets = item(view, regressor)
    for kind in ("orig", "fit"):
        depth = targets[f"{kind}_joint_cam"][:24, 2]
        np.testing.assert_allclose(targets[f"{kind}_joint_img"][:24, 2], 32 * (depth + 1), atol=1e-3)


def test_large_betas_are_not_trained_on(regressor: JointRegressor) -> None:
    smpl = frame().smpl
    assert smpl is not None
    heavy = evolve(frame(), smpl=evolve(smpl, betas=np.full(10, 3.5)))
    person = person_of(heavy, 128, 128)
    targets = labels(person, View(), crop_matrix(crop_box(person.box, 128, 128), View(), 128), regressor)
    assert (targets["shape_param"] == 0).all()
    assert targets["is_valid_fit"] == 1


@given(view=VIEWS, x=st.floats(0, 127), y=st.floats(0, 127))
def test_points_stay_on_the_picture(view: View, x: float, y: float) -> None:
    """A bright spot of the picture is where its coordinates are mapped."""
    rows, columns = np.mgrid[:128, :128]
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
    picture = np.repeat((255 * spot)[..., None], 3, axis=2).astype(np.uint8)
    box = np.array([-64, -64, 256, 256], np.float32)
    point = np.array([[x, y]])
    where = apply_affine(crop_matrix(box, view, 128), mirrored(point, 128) if view.flipped else point)[0]
    if (np.abs(where - 128) < 110).all() and min(x, y, 127 - x, 127 - y) > 12:
        crop = cut(picture, box, view)[0]
        rows, columns = np.mgrid[:256, :256]
        found = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
        np.testing.assert_allclose(found, where, atol=0.5)


def test_colours_are_scaled_and_clipped() -> None:
    picture = np.full((64, 64, 3), 200, np.uint8)
    crop = cut(picture, np.array([16, 16, 32, 32], np.float32), View(gain=(1.5, 1.0, 0.5)))
    np.testing.assert_allclose(crop[:, 128, 128], [1, 200 / 255, 100 / 255], atol=1e-6)
    assert crop.dtype == np.float32
    assert crop.flags.c_contiguous


def test_only_a_part_of_a_large_picture_is_touched() -> None:
    """What is cut from a large picture is what is cut from its neighbourhood alone."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (400, 500, 3)).astype(np.uint8)
    box = np.array([200, 150, 60, 60], np.float32)
    near = np.zeros_like(picture)
    near[140:220, 190:270] = picture[140:220, 190:270]
    np.testing.assert_allclose(cut(picture, box), cut(near, box), atol=1e-5)


@given(st.integers(0, 2**31))
def test_overlap_is_symmetric_and_bounded(seed: int) -> None:
    one, two = np.random.default_rng(seed).uniform(1, 50, (2, 4))
    assert overlap(one, two)[0] == pytest.approx(overlap(two, one)[0])
    assert 0 <= overlap(one, two)[0] <= 1
    assert overlap(one, one)[0] == pytest.approx(1, abs=1e-4)


def test_corners_become_sizes_and_tight_boxes_hold_the_joints() -> None:
    np.testing.assert_allclose(as_xywh([1, 2, 11, 32]), [1, 2, 10, 30])
    box = tight_box(np.array([[0, 0], [10, 20], [99, 99]]), np.array([True, True, False]))
    np.testing.assert_allclose(box, [-1, -2, 12, 24])


def test_joint_sets_meet_in_the_superset() -> None:
    joints = np.column_stack([np.arange(17), np.arange(17), np.ones(17)])
    found, names = official_joints("coco17", joints[:, :2], joints[:, 2])
    full = to_superset(found, names)
    assert full[SUPERSET.index("L_Knee"), 0] == COCO.index("L_Knee")
    assert full[SUPERSET.index("Head_top")].sum() == 0
    np.testing.assert_array_equal(flip_order(SUPERSET)[flip_order(SUPERSET)], np.arange(30))
    unknown, names = official_joints("jhmdb15", np.ones((15, 2)), np.ones(15))  # not among the official ones
    assert to_superset(unknown, names)[SUPERSET.index("L_Wrist"), 2] == 1


@given(valid=st.integers(0, 17), overlaps=st.integers(0, 5))
def test_kinds_of_errors_share_the_probability(valid: int, overlaps: int) -> None:
    chances = probabilities(valid, overlaps)
    assert all((values >= 0).all() for values in chances.values())
    np.testing.assert_allclose(sum(chances.values()), 1)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_errors_scale_with_the_person(seed: int) -> None:
    """Four times the area, twice the distances: the same draw, moved and scaled."""
    joints = np.column_stack([np.random.default_rng(seed).uniform(0, 200, (17, 2)), np.ones(17)])
    none = np.zeros((0, 17, 3))
    small = disturb(joints, none, 3e4, np.random.default_rng(seed))
    large = disturb(joints * [2, 2, 1] + [5, 7, 0], none, 1.2e5, np.random.default_rng(seed))
    np.testing.assert_allclose(large, 2 * small + [5, 7], atol=1e-6)
