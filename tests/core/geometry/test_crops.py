"""Square crops: geometry to a fraction of a pixel, no aliasing, bad boxes refused."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesyn_core.errors import SampleError
from posesyn_core.geometry import crops


def gradient(height: int, width: int) -> np.ndarray:
    """An image whose red and green say where the pixel is (up to 8 bits)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)


def test_matrix_takes_the_square_to_the_crop() -> None:
    matrix = crops.crop_matrix([10, 20, 50, 100], 256, margin=1.25)  # 100 x 100 about (30, 60)
    points = crops.apply_affine(matrix, [[30, 60], [-20, 10], [80, 110]])
    np.testing.assert_allclose(points, [[128, 128], [0, 0], [256, 256]], atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_inverse_undoes_the_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, points = rng.normal(size=(5, 2, 3)) + np.eye(2, 3) * 4, rng.normal(size=(5, 7, 2))
    np.testing.assert_allclose(
        crops.apply_affine(crops.invert_affine(matrix), crops.apply_affine(matrix, points)), points
    )


@settings(max_examples=40)
@given(
    x=st.floats(20, 120),
    y=st.floats(20, 100),
    side=st.floats(8, 120),
    size=st.sampled_from([24, 56, 112]),
    data=st.data(),
)
def test_pixels_come_from_where_the_matrix_says(
    x: float, y: float, side: float, size: int, data: st.DataObject
) -> None:
    """Enlarging, shrinking, half outside: each crop pixel shows its place in the image."""
    image = gradient(200, 240)
    result, matrix = crops.crop(image, [x - side / 2, y - side / 2, x + side / 2, y + side / 2], size)
    i, j = (data.draw(st.integers(0, size - 1)) for _ in range(2))
    ((px, py),) = crops.apply_affine(crops.invert_affine(matrix), [[i, j]])
    if 1 + side / size <= px <= 238 - side / size and 1 + side / size <= py <= 198 - side / size:
        np.testing.assert_allclose(result[j, i], [px, py, 7], atol=1.1)
    elif not (-1 - side / size < px < 240 + side / size and -1 - side / size < py < 200 + side / size):
        assert (result[j, i] == 0).all()


def test_shrinking_averages_instead_of_aliasing() -> None:
    fine = np.zeros((800, 800, 3), np.uint8)
    fine[::2, ::2] = fine[1::2, 1::2] = 255  # a chessboard of single pixels: grey from afar
    result, _ = crops.crop(fine, [40, 40, 760, 760], 64)
    assert abs(result.astype(float) - 127.5).max() < 12


def test_whole_image_at_its_own_size_is_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crops.crop(image, [0, 0, 64, 64], 64)[0], image)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([10, 10, 10, 50], "no area"),
        ([10, 50, 40, 20], "no area"),
        ([0, np.nan, 10, 10], "not finite"),
        ([300, 10, 400, 90], "outside the image of 240x200"),
        ([-90, 10, -5, 90], "outside the image"),
        ([10, 201, 40, 300], "outside the image"),
    ],
)
def test_bad_boxes_are_refused(box: list[float], reason: str) -> None:
    with pytest.raises(SampleError, match=reason):
        crops.crop(gradient(200, 240), box, 64)


def test_a_box_far_larger_than_the_image_costs_nothing() -> None:
    started = time.perf_counter()
    result, _ = crops.crop(gradient(200, 240), [-1e6, -1e6, 1e6, 1e6], 64)
    assert time.perf_counter() - started < 1
    assert result.shape == (64, 64, 3)


def test_a_square_of_a_tiny_box_stretches_one_pixel() -> None:
    result, _ = crops.crop(gradient(200, 240), [99.9, 49.9, 100.1, 50.1], 32)
    np.testing.assert_allclose(result.reshape(-1, 3), [[100, 50, 7]] * 32 * 32, atol=1)


def test_a_map_that_shows_nothing_of_the_image_gives_black() -> None:
    assert not crops.warp(gradient(200, 240), [[1, 0, -1000], [0, 1, 0]], 32).any()


def test_warp_turns_and_mirrors() -> None:
    """Augmentation: the map may rotate and flip."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crops.warp(image, [[-1, 0, 63], [0, 1, 0]], 64), image[:, ::-1])
    np.testing.assert_array_equal(crops.warp(image, [[0, 1, 0], [1, 0, 0]], 64), image.transpose(1, 0, 2))
