"""Squares and crops: the maps are inverse to each other, and numpy and torch say the same."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from posesyn_blazepose import looks, rois, starter_network, views

PLACES = st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(20, 900), st.floats(-3.1, 3.1))


@given(PLACES)
def test_a_crops_points_come_back_to_the_picture(place: tuple[float, ...]) -> None:
    roi = np.array(place)
    points = np.random.default_rng(0).uniform(-300, 300, (5, 2))
    matrix = rois.crop_matrix(roi, 256)
    inside = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(rois.to_picture(inside, roi, 256), points, atol=1e-6)
    np.testing.assert_allclose(matrix[:, :2] @ roi[:2] + matrix[:, 2], [128, 128], atol=1e-9)


@given(PLACES)
def test_the_second_point_lies_straight_above_the_first(place: tuple[float, ...]) -> None:
    first, second = (
        np.array(place[:2]),
        np.array(place[:2]) + place[2] * np.array([np.sin(place[3]), -np.cos(place[3])]),
    )
    roi = rois.square_of_points(first, second)
    matrix = rois.crop_matrix(roi, 256)
    np.testing.assert_allclose(matrix[:, :2] @ second + matrix[:, 2], [128, 128 - 128 / rois.MARGIN], atol=1e-6)
    assert roi[2] == pytest.approx(2 * rois.MARGIN * place[2])


def test_squares_that_jump_in_size_are_not_followed() -> None:
    before = np.array([[0.0, 0, 100, 0]] * 4)
    after = np.array([[1.0, 1, side, 1] for side in (29, 31, 299, 301)])
    np.testing.assert_array_equal(rois.guarded(before, after)[:, 2], [100, 31, 299, 100])
    ours = looks.guarded(torch.from_numpy(before), torch.from_numpy(after))
    np.testing.assert_array_equal(ours.numpy(), rois.guarded(before, after))


@given(PLACES, st.booleans(), st.integers(1, 300), st.integers(1, 300))
def test_a_crop_is_that_of_the_naive_twin(place: tuple[float, ...], upright: bool, height: int, width: int) -> None:
    roi = np.array([*place[:3], 0.0 if upright else place[3]])
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    back = np.linalg.inv(np.vstack([rois.crop_matrix(roi, 64), [0, 0, 1]]))
    rows, columns = np.indices((64, 64))
    x, y, _ = np.tensordot(back, np.stack([columns, rows, np.ones_like(rows)]), 1)
    exact = [map_coordinates(picture[..., c].astype(float), [y, x], order=1, mode="nearest") for c in range(3)]
    apart = np.abs(rois.cut(picture, roi, 64) - np.stack(exact))
    assert apart.max() < 0.53  # half a level by rounding to bytes, and the places' float32


@pytest.mark.parametrize("wide", [looks.LANDMARKS_WIDE, looks.STARTERS_WIDE])
def test_the_first_looks_crop_is_cut_at_its_square(wide: looks.Wide) -> None:
    images = torch.randint(0, 256, (2, 3, wide.side, wide.side), dtype=torch.uint8)
    ours = looks.Middle(wide)(images[..., wide.middle, wide.middle])
    theirs = looks.Cropper()(images, looks.first_square(ours, wide).expand(2, 4))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_the_border_is_repeated_outside_the_picture() -> None:
    images = torch.randint(0, 256, (1, 3, 32, 32)).float()
    square = torch.tensor([[0.0, 0.0, 256.0, 0.0]])  # a pixel of each for one of the other
    crop = looks.Cropper()(images, square)[0] * looks.WHITE
    assert torch.allclose(crop[:, :128, :128], images[0, :, :1, :1].expand(3, 128, 128), atol=1e-2)
    assert torch.allclose(crop[:, 128:160, 128:160], images[0], atol=1e-2)
    assert torch.allclose(crop[:, 160:, 160:], images[0, :, -1:, -1:].expand(3, 96, 96), atol=1e-2)


def test_torch_cuts_as_opencv_does() -> None:
    random = np.random.default_rng(0)
    picture = np.kron(random.integers(0, 256, (28, 28, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    squares = np.array([[224, 224, 336, 0], [180, 260, 290, 0.7], [60, 400, 350, -2.5]])
    images = torch.from_numpy(np.stack([picture] * 3)).permute(0, 3, 1, 2)
    ours = looks.WHITE * looks.Cropper()(images, torch.from_numpy(squares).float()).numpy()
    theirs = np.stack([rois.cut(picture, square, 256) for square in squares])
    assert np.abs(ours - theirs).mean() < 0.5
    np.testing.assert_allclose(
        looks.to_wide(torch.full((3, 1, 2), 10.0), torch.from_numpy(squares).float()).numpy(),
        rois.to_picture(np.full((3, 1, 2), 10.0), squares, 256),
        atol=1e-3,
    )


def test_the_second_looks_square_is_one_in_numpy_and_torch() -> None:
    points = np.random.default_rng(0).uniform(50, 400, (6, 24, 2))
    ours = np.array([views.square_of_body(one, np.ones(24, bool)) for one in points])
    theirs = starter_network.square_of_body(torch.from_numpy(points).float()).numpy()
    np.testing.assert_allclose(theirs, ours, atol=1e-2)
