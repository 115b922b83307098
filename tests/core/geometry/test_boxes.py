"""Person boxes."""

import numpy as np
import pytest

from posesyn_core import SampleError
from posesyn_core.geometry.boxes import MARGIN, check_box, joint_boxes


def test_boxes_hold_their_joints_with_the_same_margin_on_every_side() -> None:
    joints = np.random.default_rng(0).uniform(-100, 500, (5, 17, 2))
    boxes = joint_boxes(joints)
    low, high = joints.min(1), joints.max(1)
    margin = MARGIN * (high - low).max(1, keepdims=True)
    assert boxes.dtype == np.float32
    assert np.allclose(low - boxes[:, :2], margin, atol=1e-3)
    assert np.allclose(boxes[:, 2:] - high, margin, atol=1e-3)


def test_only_labelled_joints_count() -> None:
    joints = np.array([[0.0, 0.0], [10.0, 20.0], [np.nan, 999.0]])
    box = joint_boxes(joints, np.array([True, True, False]))
    assert box == pytest.approx([-2.4, -2.4, 12.4, 22.4])


@pytest.mark.parametrize("box", [(0, 0, 80, 60), (-50, -50, 1, 1), (78, 58, 200, 200), (10, 10, 11, 11)])
def test_a_box_that_touches_the_image_is_fine(box: tuple[float, ...]) -> None:
    check_box(box, 80, 60)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((10, 10, 10, 20), "no area"),
        ((10, 20, 20, 10), "no area"),
        ((80, 10, 90, 20), "outside the image of 80x60"),
        ((10, 60, 20, 70), "outside"),
        ((-20, 10, 0, 20), "outside"),
        ((10, -20, 20, -5), "outside"),
        ((np.nan, 0, 1, 1), "not finite"),
        ((0, 0, np.inf, 1), "not finite"),
    ],
)
def test_any_other_box_is_refused(box: tuple[float, ...], reason: str) -> None:
    with pytest.raises(SampleError, match=reason):
        check_box(box, 80, 60)
