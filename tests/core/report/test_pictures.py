"""Crops with skeletons: the right place, the right colour."""

import base64

import numpy as np

from posesyn_core.drawing.sheets import LABELLED, Overlay
from posesyn_core.files.images import Image, decode_image, encode_png
from posesyn_core.report.pictures import Picture, person
from posesyn_core.values import Sample


def sample(image: bytes, box: tuple[float, float, float, float]) -> Sample:
    return Sample("s", image, box, "mpii16", np.zeros((16, 2)), np.zeros(16))


def white(side: int = 200) -> bytes:
    return encode_png(np.full((side, side, 3), 255, np.uint8))


def decoded(picture: Picture) -> Image:
    return decode_image(base64.b64decode(picture.uri.partition(",")[2]))


def test_a_joint_is_drawn_where_it_is_in_the_crop() -> None:
    joints, visible = np.zeros((16, 2)), np.zeros(16, bool)
    joints[7], visible[7] = (120, 70), True  # the thorax, a middle joint
    box = (60.0, 40.0, 140.0, 140.0)  # centre (100, 90), side 100 * 1.25 -> 250 pixels: 2 a pixel
    crop = decoded(person(sample(white(), box), [Overlay(joints, "mpii16", visible, LABELLED)], "", side=250))
    y, x = np.nonzero((crop < 200).any(-1))
    np.testing.assert_allclose([x.mean(), y.mean()], [125 + 40, 125 - 40], atol=1.5)
    np.testing.assert_allclose(crop[round(y.mean()), round(x.mean())], LABELLED[2], atol=60)  # JPEG


def test_without_a_visible_joint_the_crop_is_untouched() -> None:
    crop = decoded(
        person(sample(white(), (60, 40, 140, 140)), [Overlay(np.zeros((16, 2)), "mpii16", np.zeros(16, bool))], "")
    )
    assert crop.shape == (256, 256, 3) and crop.min() == 255


def test_a_picture_that_cannot_be_shown_says_why() -> None:
    broken = person(sample(b"no image", (0, 0, 10, 10)), [], "A person")
    assert broken.uri == "" and "not an image" in broken.fault and broken.alt == "A person"
    outside = person(sample(white(), (500, 500, 600, 600)), [], "")
    assert "outside the image" in outside.fault
