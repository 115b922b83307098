"""The crop: the published pixels, without blurring the whole image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from posesyn_core.geometry.crops import apply_affine
from posesyn_core.values import Image
from posesyn_hmr2.crops import (
    DEVIATION,
    MEAN,
    blur_deviation,
    crop_matrix,
    crop_person,
    expand_to_aspect,
    normalise,
    person_square,
    warp,
)

LEVEL = 1 / (255 * DEVIATION.min())
"""One grey level of a normalised crop."""


def noise(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def described(image: Image, box: np.ndarray, size: int) -> np.ndarray:
    """The official description step by step: blur all of the image, then sample it."""
    centre, side = person_square(box)
    sigma, pixels = blur_deviation(float(side), size), image
    if sigma:
        planes = [gaussian_filter(image[..., at].astype(np.float64), sigma, mode="nearest") for at in range(3)]
        pixels = np.stack(planes, axis=-1)
    found = warp(pixels, crop_matrix(centre, float(side), size), size).transpose(2, 0, 1).astype(np.float32) / 255
    return (found - MEAN[:, None, None]) / DEVIATION[:, None, None]


@settings(max_examples=25)
@given(
    x=st.floats(-60, 180), y=st.floats(-60, 120), width=st.floats(20, 400), height=st.floats(20, 400),
    size=st.sampled_from([16, 64]),
)  # fmt: skip
def test_blurring_the_part_is_blurring_the_whole(x: float, y: float, width: float, height: float, size: int) -> None:
    image, box = noise(150, 210), np.array([x, y, x + width, y + height], np.float32)
    if x + width > 2 and y + height > 2:
        np.testing.assert_allclose(crop_person(image, box, size), described(image, box, size), rtol=0, atol=LEVEL / 100)


@pytest.mark.parametrize(("side", "blurred"), [(563.0, False), (564.0, True)])
def test_only_large_squares_are_blurred(side: float, blurred: bool) -> None:
    assert (blur_deviation(side) > 0) is blurred


@given(width=st.floats(1, 1000), height=st.floats(1, 1000))
def test_boxes_grow_to_the_aspect(width: float, height: float) -> None:
    wider, taller = expand_to_aspect(np.array([width, height]))
    assert wider / taller == pytest.approx(192 / 256, rel=1e-4)
    assert wider >= width * (1 - 1e-6)
    assert taller >= height * (1 - 1e-6)
    assert min(wider / width, taller / height) == pytest.approx(1, rel=1e-4)


@given(turn=st.floats(-180, 180), side=st.floats(10, 1000), x=st.floats(0, 500), y=st.floats(0, 500))
def test_the_square_becomes_the_crop(turn: float, side: float, x: float, y: float) -> None:
    matrix, angle = crop_matrix([x, y], side, 256, turn), np.radians(turn)
    right, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    middle = np.array([x, y])
    corners = np.stack([middle, middle + side / 2 * (right + down), middle - side / 2 * (right + down)])
    np.testing.assert_allclose(apply_affine(matrix, corners), [[128, 128], [256, 256], [0, 0]], atol=0.02)


def test_colours_are_multiplied_clipped_and_normalised() -> None:
    pixels, gain = noise(4, 4), np.array([0.8, 1.0, 1.2])
    expected = (np.minimum(pixels * gain, 255) / 255 - MEAN) / DEVIATION
    np.testing.assert_allclose(normalise(pixels, gain), expected.transpose(2, 0, 1), atol=1e-5)


def test_outside_the_image_is_black() -> None:
    found = crop_person(np.full((50, 50, 3), 255, np.uint8), np.array([25, 0, 75, 50], np.float32))
    np.testing.assert_allclose(found[:, :, -60:], np.broadcast_to((-MEAN / DEVIATION)[:, None, None], (3, 256, 60)))


def test_the_given_image_stays_as_it_is() -> None:
    image = noise(700, 700)
    before = image.copy()
    crop_person(image, np.array([0, 0, 699, 699], np.float32))
    np.testing.assert_array_equal(image, before)
