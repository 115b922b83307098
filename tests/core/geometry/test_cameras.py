"""Projection and the conversions of crop cameras."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.geometry import cameras, crops

seeds = st.integers(0, 2**32 - 1)
SIZE, FOCAL = 224, 5000.0


def random_people(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Root-relative joints (4, 24, 3), weak cameras (4, 3) and boxes (4, 4)."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-100, 900, (4, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 600, (4, 2))], axis=1)
    return rng.normal(0, 0.4, (4, 24, 3)), rng.uniform([0.4, -0.5, -0.5], [1.2, 0.5, 0.5], (4, 3)), boxes


def test_projection_by_hand() -> None:
    pixels = cameras.project(np.array([[1.0, -2.0, 4.0]]), np.array([100.0, 200.0]), np.array([10.0, 20.0]))
    assert pixels.tolist() == [[35.0, -80.0]]


@given(seed=seeds)
def test_people_are_placed_where_the_camera_sees_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    joints, where = rng.normal(0, 0.4, (4, 24, 3)), rng.uniform([-1, -1, 3], [1, 1, 9], (4, 3))
    focal, middle = rng.uniform(500, 2000, (4, 2)), rng.uniform(0, 500, (4, 2))
    pixels = cameras.project(joints + where[:, None], focal, middle)
    known = rng.random((4, 24)) < 0.5
    known[:, :2] = True
    pixels[~known] = np.nan
    np.testing.assert_allclose(cameras.place(joints, pixels, known, focal, middle), where, atol=1e-6)
    nobody = cameras.place(joints[:1], pixels[:1], np.zeros((1, 24), bool), focal[:1], middle[:1])
    assert np.isnan(nobody).all()


@given(seed=seeds)
def test_crop_camera_and_its_equivalent_in_the_full_image_see_the_same(seed: int) -> None:
    joints, weak, boxes = random_people(seed)
    centre, side = crops.square(boxes, 1.2)
    points = joints + cameras.crop_translation(weak, FOCAL, SIZE)[:, None]
    in_crop = cameras.project(points, np.full((4, 2), FOCAL), np.full((4, 2), SIZE / 2))
    focal = cameras.focal_length_in_image(FOCAL, SIZE, side)
    in_image = cameras.project(points, np.stack([focal, focal], -1), centre)
    matrix = crops.crop_matrix(boxes, SIZE, 1.2)
    np.testing.assert_allclose(crops.apply_affine(matrix, in_image), in_crop, atol=1e-6)
    np.testing.assert_allclose(crops.apply_affine(crops.invert_affine(matrix), in_crop), in_image, atol=1e-6)


@given(seed=seeds)
def test_a_distant_perspective_crop_camera_is_the_weak_one(seed: int) -> None:
    joints, weak, _ = random_people(seed)
    focal = 1e8
    points = joints + cameras.crop_translation(weak, focal, SIZE)[:, None]
    pixels = cameras.project(points, np.full((4, 2), focal), np.full((4, 2), SIZE / 2))
    expected = weak[:, None, :1] * (joints[..., :2] + weak[:, None, 1:])
    np.testing.assert_allclose(pixels / (SIZE / 2) - 1, expected, atol=1e-4)


@given(seed=seeds)
def test_the_camera_of_the_full_image_puts_the_root_where_the_crop_has_it(seed: int) -> None:
    _, weak, boxes = random_people(seed)
    centre, side = crops.square(boxes)
    image_size = np.array([1280.0, 720.0])
    translation = cameras.image_translation(weak, centre, side, image_size, 1500.0)
    root = cameras.project(translation[:, None], np.full((4, 2), 1500.0), np.broadcast_to(image_size / 2, (4, 2)))
    expected = centre + side[:, None] / 2 * weak[:, :1] * weak[:, 1:]
    np.testing.assert_allclose(root[:, 0], expected, rtol=1e-6)


def test_torch_and_numpy_agree() -> None:
    joints, weak, boxes = random_people(5)
    centre, side = crops.square(boxes)
    cases: list[tuple[Any, tuple[Any, ...]]] = [
        (cameras.project, (joints + 10, np.full((4, 2), 900.0), centre)),
        (cameras.crop_translation, (weak, FOCAL, SIZE)),
        (cameras.image_translation, (weak, centre, side, np.array([640.0, 480.0]), 2 * side)),
    ]
    for function, arguments in cases:
        tensors = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in arguments]
        np.testing.assert_allclose(function(*tensors).numpy(), function(*arguments), rtol=1e-12)


def test_official_numbers(shared: Path) -> None:
    spin = np.load(shared / "parity/spin/io.npz")
    translation = cameras.crop_translation(spin["out/pred_cam_f64"], 5000.0, 224)
    np.testing.assert_allclose(translation, spin["out/cam_t"], rtol=1e-5)
    points = (spin["in/proj_points"] + spin["in/proj_trans"][:, None]).astype(np.float64)
    pixels = cameras.project(points, np.full((1, 2), 5000.0), np.zeros((1, 2)))
    np.testing.assert_allclose(pixels, spin["out/proj_2d"], rtol=1e-4, atol=1e-3)

    hmr2 = np.load(shared / "parity/hmr2/io_geometry.npz")
    arguments = ("cam_pred", "cam_box_center", "cam_box_size", "cam_img_size", "cam_focal_length")
    translation = cameras.image_translation(*(hmr2[name].astype(np.float64) for name in arguments))
    np.testing.assert_allclose(translation, hmr2["cam_full_out_f64"], rtol=1e-6)
