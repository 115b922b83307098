"""SPIN's crops beside ours, and what can't be cut out."""

import cv2
import numpy as np
import pytest

from posesyn_core.errors import SampleError
from posesyn_core.values import Image
from posesyn_spin.crops import LARGEST, official_crop
from posesyn_spin.inputs import View, crop_person


@pytest.fixture
def picture() -> Image:
    """Soft colours between 60 and 180."""
    small = np.random.default_rng(0).integers(60, 181, (9, 8, 3)).astype(np.uint8)
    return np.clip(cv2.resize(small, (240, 270), interpolation=cv2.INTER_CUBIC), 60, 180)


def test_the_contrast_is_stretched_only_as_trained(picture: Image) -> None:
    stretched, plain = (official_crop(picture, (120, 130), 0.5, 64, stretch=on) for on in (True, False))
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert (plain.min(), plain.max()) == (60, 180)
    np.testing.assert_allclose(stretched, (plain.astype(float) - 60) * 255 / 120, atol=3)


def test_a_crop_that_reaches_beyond_the_image_is_black_there(picture: Image) -> None:
    crop = official_crop(picture, (0, 0), 0.6, 64, stretch=False)
    assert not crop[:30].any() and not crop[:, :30].any()
    assert crop[34:, 34:].min() >= 55


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.4, -0.3])
def test_official_and_exact_crops_show_the_same(picture: Image, angle: float, flipped: bool) -> None:
    """They differ by less than the pixel or two by which the official one rounds; so do the labels."""
    crops, places = [], []
    points = np.array([[100.0, 120.0], [140.0, 150.0], [120.0, 90.0]])
    for kind in ("unstretched", "affine"):
        view = View(np.array([121.3, 130.7]), 110.0, angle, flipped, np.ones(3, np.float32), kind)
        crops.append(cv2.GaussianBlur(view.cut(picture, 96).astype(np.float32), (0, 0), 2))
        places.append(view.places(points, 96))
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(crops[0][inner] - crops[1][inner]).mean() < 3
    assert np.abs(crops[0][inner] - crops[1][inner][:, ::-1]).mean() > 6
    assert np.abs(places[0] - places[1]).max() < 2 * 2 / 96


@pytest.mark.parametrize("scale", [-0.2, LARGEST])
def test_what_has_no_pixels_or_too_many_is_a_bad_sample(picture: Image, scale: float) -> None:
    with pytest.raises(SampleError, match="can't be cut out"):
        official_crop(picture, (100, 100), scale, 64)


@pytest.mark.parametrize("box", [(0, 0, np.nan, 9), (9, 9, 9, 9), (500, 500, 600, 600)])
def test_a_bad_box_is_a_bad_sample(picture: Image, box: tuple[float, ...]) -> None:
    with pytest.raises(SampleError, match="box"):
        crop_person(picture, np.array(box, np.float32), 64, "official")


def test_a_uniform_crop_stays_uniform() -> None:
    grey = np.full((50, 50, 3), 7, np.uint8)
    assert not official_crop(grey, (25, 25), 0.1, 16).any()
