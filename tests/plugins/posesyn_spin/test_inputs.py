"""Crops and augmentation: whatever is done to the picture is done to its labels."""

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from posesyn_core.body.model import Body, load_body
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import Camera, LabelledFrame, SmplParams
from posesyn_spin.inputs import (
    DEVIATION,
    MARGIN,
    MEAN,
    Augmentation,
    crop_person,
    normalise,
    person_of,
    training_inputs,
)

SIZE = 64
MOVED = Augmentation(shift=0.05)
FAR = 1000.0
"""A camera so far away that turning the picture and turning the body about its axis are one."""


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def posed(body: Body, smpl: SmplParams) -> np.ndarray:
    arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    return body.joints(*(torch.from_numpy(np.array(array)[None]) for array in arrays))[0].numpy()


@pytest.fixture(scope="module")
def frame(body: Body) -> LabelledFrame:
    """A posed body in the middle of a grey picture with a bright spot at its left wrist."""
    random = np.random.default_rng(3)
    smpl = SmplParams([3.0, 0.3, 0.1], 0.3 * random.standard_normal((23, 3)), random.standard_normal(10), [0, 0, FAR])
    camera = Camera([60 * FAR, 60 * FAR], [95.5, 95.5])
    joints = posed(body, smpl)
    joints2d = project(joints, camera.focal_length, camera.principal_point)
    rows, columns = np.mgrid[:192, :192]
    distance = np.hypot(columns - joints2d[20, 0], rows - joints2d[20, 1])
    picture = np.repeat((255 * np.exp(-((distance / 4) ** 2)))[..., None], 3, axis=2).astype(np.uint8)
    return LabelledFrame(
        id="spot",
        image=encode_png(picture),
        box=[*joints2d.min(0), *joints2d.max(0)],
        joints2d=joints2d,
        confidence=np.ones(24),
        camera=camera,
        joints3d=joints - joints[:1],
        smpl=smpl,
    )


def test_normalise_is_the_published_formula() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    np.testing.assert_allclose(normalise(pixels), ((pixels / 255 - MEAN) / DEVIATION).transpose(2, 0, 1), atol=1e-6)


def test_crop_spans_the_box_and_its_margin() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:80, 40:60] = 255
    inside = crop_person(image, np.array([40, 20, 60, 80], np.float32), 72)[0] > 0
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    assert abs(len(rows) - 72 / MARGIN) <= 2
    assert abs(len(columns) - 24 / MARGIN) <= 4


def brightest(images: np.ndarray) -> np.ndarray:
    """The brightest spot's place in -1..1: the mean of the pixels nearly as bright, weighted."""
    brightness = np.asarray(images).mean(0)
    weight = np.clip(brightness - (0.6 * brightness.max() + 0.4 * brightness.min()), 0, None)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    place = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    return 2 * place / SIZE - 1


@pytest.mark.parametrize("seed", range(12))
def test_keypoints_stay_on_the_picture(frame: LabelledFrame, seed: int) -> None:
    item = training_inputs(person_of(frame), SIZE, MOVED, np.random.default_rng(seed))
    wrists = item["keypoints2d"][[20, 21], :2]  # mirrored, the left wrist has become the right one
    if (np.abs(wrists) < 0.9).all():
        assert np.abs(wrists - brightest(item["images"])).max(axis=1).min() < 0.05


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_all_labels_describe_one_body(body: Body, frame: LabelledFrame, seed: int) -> None:
    """The body of the augmented rotations has the augmented 3D joints, and those lie over the 2D ones."""
    item = training_inputs(person_of(frame), SIZE, MOVED, np.random.default_rng(seed))
    rotations, betas = torch.from_numpy(item["rotmat"])[None], torch.from_numpy(np.array(item["betas"]))[None]
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(1, 24), atol=1e-4, rtol=0)
    joints = body.pose_joints(rotations, betas)[0].numpy()
    np.testing.assert_allclose(
        joints - joints[:1], item["joints3d"][:, :3], atol=0.02
    )  # the free body is not quite symmetric
    flat, labelled = item["joints3d"][:, :2], item["keypoints2d"][:, :2]
    scale = np.linalg.norm(labelled - labelled.mean(0)) / np.linalg.norm(flat - flat.mean(0))
    np.testing.assert_allclose(labelled - labelled[:1], scale * (flat - flat[:1]), atol=2e-3)


def test_mirroring_happens_and_swaps_the_sides(frame: LabelledFrame) -> None:
    items = [training_inputs(person_of(frame), SIZE, MOVED, np.random.default_rng(seed)) for seed in range(40)]
    handed = {bool(np.linalg.det(_frame_of(item["joints3d"][:, :3])) > 0) for item in items}
    assert handed == {bool(np.linalg.det(_frame_of(frame.joints3d)) > 0)}  # with the sides swapped, a body stays one
    mirrored = [
        _reach(item["joints3d"][:, :3], "left", "right") == _reach(frame.joints3d, "right", "left") for item in items
    ]
    assert 5 < sum(mirrored) < 35
    straight = [
        _reach(item["joints3d"][:, :3], "left", "right") == _reach(frame.joints3d, "left", "right") for item in items
    ]
    assert all(one != other for one, other in zip(mirrored, straight, strict=True))


def _reach(joints: np.ndarray, one: str, other: str) -> float:
    """Metres from one side's wrist to the other side's ankle: what turning keeps and mirroring exchanges."""
    ends = [joints[SMPL24.joints.index(name)] for name in (f"{one}_wrist", f"{other}_ankle")]
    return round(float(np.linalg.norm(ends[0] - ends[1])), 3)


def _frame_of(joints: np.ndarray) -> np.ndarray:
    """Left, up and forward directions of hips, spine and feet."""
    across, up = joints[1] - joints[2], joints[12] - joints[0]
    feet = joints[10] - joints[7] + joints[11] - joints[8]
    return np.stack([across, up, feet])


def test_a_frame_with_2d_labels_alone(frame: LabelledFrame) -> None:
    bare = evolve(frame, joints3d=None, smpl=None, confidence=np.arange(24) % 2)
    item = training_inputs(person_of(bare), SIZE, MOVED, np.random.default_rng(0))
    full = training_inputs(person_of(frame), SIZE, MOVED, np.random.default_rng(0))
    assert {name: value.shape for name, value in item.items()} == {name: value.shape for name, value in full.items()}
    assert item["has_smpl"] == 0
    assert not item["joints3d"].any()
    assert full["joints3d"][:, 3].all()
    assert item["keypoints2d"][:, 2].sum() == 12


def test_the_same_draw_gives_the_same_item(frame: LabelledFrame) -> None:
    first, second = (training_inputs(person_of(frame), SIZE, MOVED, np.random.default_rng(9)) for _ in range(2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_a_rectangle_is_hidden_where_asked_for(frame: LabelledFrame) -> None:
    plain = Augmentation(scale=0, rotation=0, colour=0)
    shown = training_inputs(person_of(frame), SIZE, plain, np.random.default_rng(5))["images"]
    hidden = training_inputs(person_of(frame), SIZE, evolve(plain, occlusion=1.0), np.random.default_rng(5))["images"]
    rows, columns = np.nonzero((shown != hidden).any(axis=0))
    assert 0.05 * SIZE < np.ptp(rows) < 0.31 * SIZE
    assert 0.05 * SIZE < np.ptp(columns) < 0.31 * SIZE
