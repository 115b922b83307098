"""Square crops of people: the person is in the middle, but where the picture ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.drawing.sheets import MARGIN, Overlay, around, tile
from posesyn_core.errors import SampleError
from posesyn_core.files.images import encode_png
from posesyn_core.values import Sample

numbers = st.floats(0, 300)


@given(x=numbers, y=numbers, width=st.floats(20, 300), height=st.floats(20, 300))
def test_a_crop_holds_the_person_and_stays_in_the_picture(x: float, y: float, width: float, height: float) -> None:
    box = np.array([x, y, min(x + width, 399), min(y + height, 319)])
    left, top, right, bottom = around(box, 400, 320)
    longer = (box[2:] - box[:2]).max()
    assert right - left == pytest.approx(bottom - top)
    assert longer - 1e-9 <= right - left <= MARGIN * longer + 1e-9
    assert left <= box[0] + 1e-9 and top <= box[1] + 1e-9 and right >= box[2] - 1e-9 and bottom >= box[3] - 1e-9
    if longer <= 319:
        assert left >= -1e-9 and top >= -1e-9 and right <= 399 + 1e-9 and bottom <= 319 + 1e-9


def test_a_person_in_the_middle_has_the_margin_on_all_sides() -> None:
    np.testing.assert_allclose(around((150, 120, 250, 200), 400, 320), (137.5, 97.5, 262.5, 222.5))


def test_a_box_outside_the_picture_is_refused() -> None:
    with pytest.raises(SampleError, match="outside the image"):
        around((500, 10, 600, 90), 400, 320)


@pytest.mark.parametrize("corner", [(0, 0), (30, 0), (0, 14)])
def test_a_tile_at_the_pictures_edge_is_not_black_and_its_skeleton_is_where_it_belongs(corner: tuple[int, int]) -> None:
    x, y = corner
    picture = np.full((64, 80, 3), 200, np.uint8)
    joints = np.full((16, 2), (x + 25.0, y + 25.0))
    person = Sample("a", encode_png(picture), (x, y, x + 50, y + 50), "mpii16", joints, np.ones(16))
    assert tile(person, [], 100).min() == 200
    drawn = tile(person, [Overlay(joints, "mpii16")], 100)
    places = np.argwhere((drawn != 200).any(-1)).mean(0)[::-1]
    part = around(person.box, 80, 64)
    np.testing.assert_allclose(places, (joints[0] - part[:2]) * 100 / (part[2] - part[0]), atol=2)
