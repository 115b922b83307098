"""Training items: whatever is done to the picture is done to its labels."""

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from posesyn_core.body.model import Body
from posesyn_core.files.images import load_image
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.values import LabelledFrame
from posesyn_hmr2.crops import person_square
from posesyn_hmr2.inputs import Augmentation, View, person_of, training_inputs
from posesyn_hmr2.joints import PELVIS, SMPL_OF, Joints44, joints44
from posesyn_hmr2.people import Person

SIZE = 64
PLAIN = Augmentation(extreme_chance=0)


@pytest.fixture(scope="module")
def joints(body: Body) -> Joints44:
    return joints44(body)


@pytest.fixture(scope="module")
def person(frame: LabelledFrame, joints: Joints44) -> Person:
    return person_of(frame, joints)


def test_a_frames_labels(frame: LabelledFrame, person: Person) -> None:
    own, smpl = list(SMPL_OF), list(SMPL_OF.values())
    assert frame.joints3d is not None
    np.testing.assert_allclose(person.keypoints_2d[own, :2], frame.joints2d[smpl])
    ours, theirs = person.keypoints_3d[own, :3], frame.joints3d[smpl]
    np.testing.assert_allclose(ours - ours[8], theirs - theirs[8], atol=1e-4)
    np.testing.assert_allclose(person.keypoints_2d[PELVIS, :2], frame.joints2d[[1, 2]].mean(0), atol=0.05)
    assert np.flatnonzero(person.keypoints_3d[:, 3]).tolist() == sorted([*own, PELVIS])
    centre, side = person_square(frame.box)
    found_centre, found_side = View().square(person)
    np.testing.assert_allclose([*found_centre, found_side], [*centre, side])


def test_a_frame_with_2d_labels_alone(frame: LabelledFrame, joints: Joints44) -> None:
    bare = person_of(evolve(frame, joints3d=None, smpl=None, confidence=np.arange(24) % 2), joints)
    assert not bare.keypoints_3d.any()
    assert not (bare.has_body_pose or bare.has_betas)
    assert set(np.flatnonzero(bare.keypoints_2d[:, 2])) == {at for at, joint in SMPL_OF.items() if joint % 2}


def test_a_frame_with_joints_but_no_body(frame: LabelledFrame, joints: Joints44) -> None:
    found = person_of(evolve(frame, smpl=None), joints)
    assert frame.joints3d is not None
    np.testing.assert_allclose(found.keypoints_3d[PELVIS, :3], frame.joints3d[[1, 2]].mean(0), atol=1e-6)
    assert found.keypoints_3d[:, 3].sum() == 15


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_all_labels_describe_one_body(frame: LabelledFrame, joints: Joints44, person: Person, seed: int) -> None:
    """The body of the augmented pose has the augmented 3D joints, and those lie over the 2D ones."""
    view = PLAIN.draw(np.random.default_rng(seed))
    item = training_inputs(person, load_image(person.image), view, SIZE)
    pose = torch.from_numpy(np.concatenate([item["global_orient"][None], item["body_pose"]]))
    posed = joints(axis_angle_to_matrix(pose)[None], torch.tensor(item["betas"])[None])[0].numpy()
    known = item["keypoints_3d"][:, 3] > 0
    spatial = item["keypoints_3d"][known, :3] - item["keypoints_3d"][PELVIS, :3]
    np.testing.assert_allclose((posed - posed[PELVIS])[known], spatial, atol=0.02)  # the free body is not symmetric
    flat, labelled = spatial[:, :2], item["keypoints_2d"][known, :2]
    scale = 60 / (view.scale * person.extent.max())
    np.testing.assert_allclose(labelled - labelled[-1], scale * (flat - flat[-1]), atol=2e-3)


@pytest.mark.parametrize("seed", range(12))
def test_keypoints_stay_on_the_picture(person: Person, seed: int) -> None:
    view = PLAIN.draw(np.random.default_rng(seed))
    item = training_inputs(person, load_image(person.image), view, SIZE)
    wrist = item["keypoints_2d"][4 if view.flipped else 7, :2]  # mirrored, the left wrist has become the right one
    brightness = np.asarray(item["images"]).mean(0)
    weight = np.clip(brightness - (0.6 * brightness.max() + 0.4 * brightness.min()), 0, None)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    spot = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum() / SIZE - 0.5
    if (np.abs(wrist) < 0.45).all():
        np.testing.assert_allclose(spot, wrist, atol=0.025)


def test_draws_are_the_published_ones() -> None:
    random, augmentation = np.random.default_rng(0), Augmentation()
    views = [augmentation.draw(random) for _ in range(4000)]
    shares = {
        "flipped": np.mean([view.flipped for view in views]),
        "turned": np.mean([view.turn != 0 for view in views]),
        "extreme": np.mean([view.extreme is not None for view in views]),
    }
    assert shares == pytest.approx({"flipped": 0.5, "turned": 0.6, "extreme": 0.1}, abs=0.03)
    assert max(abs(view.turn) for view in views) == 60
    assert {min(view.scale for view in views), max(view.scale for view in views)} == {0.7, 1.3}
    assert max(abs(x) for view in views for x in view.shift) == 0.02
    gains = np.array([view.gain for view in views])
    assert 0.8 <= gains.min() < 0.81 < 1.19 < gains.max() <= 1.2


@pytest.mark.parametrize(("level", "kinds"), [(0, 3), (1, 9)])
def test_an_extreme_crop_shows_a_part(person: Person, level: int, kinds: int) -> None:
    views = [View(extreme=draw, extreme_level=level) for draw in np.arange(0.05, 1, 0.1)]
    sides = [round(view.square(person)[1], 3) for view in views]
    assert len(set(sides)) == kinds
    assert max(sides) <= person.extent.max() * 1.32
