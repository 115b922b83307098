"""Skeletons on pictures: every joint in its place and colour."""

import numpy as np
import pytest

from posesyn_core.drawing.skeletons import LEFT, MIDDLE, RIGHT, draw_skeleton, unseen_joints


def a_person() -> np.ndarray:
    """COCO-17 joints, each 10 px from the next in both directions."""
    return np.stack([10 + 10 * np.arange(17), 20 + 5 * np.arange(17)], -1).astype(float)


def test_a_skeleton_has_left_and_right_colours() -> None:
    blank = np.zeros((200, 200, 3), np.uint8)
    joints = a_person()
    drawn = draw_skeleton(blank, joints, "coco17", thickness=2)
    assert not blank.any()
    for joint, colour in ((0, MIDDLE), (5, LEFT), (6, RIGHT), (15, LEFT), (16, RIGHT)):
        x, y = joints[joint].astype(int)
        assert tuple(drawn[y, x]) == colour, joint


def test_a_bone_needs_both_its_joints() -> None:
    blank = np.zeros((200, 200, 3), np.uint8)
    joints = a_person()
    visible = np.zeros(17, bool)
    visible[[15]] = True
    alone = draw_skeleton(blank, joints, "coco17", visible, thickness=1)
    assert alone[joints[15, 1].astype(int), joints[15, 0].astype(int)].any()
    visible[13] = True
    middle = ((joints[13] + joints[15]) / 2).astype(int)
    assert not alone[middle[1], middle[0]].any()
    assert draw_skeleton(blank, joints, "coco17", visible, thickness=1)[middle[1], middle[0]].any()


def test_joints_that_are_no_numbers_or_far_away_do_no_harm() -> None:
    blank = np.zeros((50, 50, 3), np.uint8)
    joints = np.full((17, 2), np.nan)
    assert not draw_skeleton(blank, joints, "coco17").any()
    joints[13], joints[15] = (25, 25), (1e12, 25)
    drawn = draw_skeleton(blank, joints, "coco17", thickness=1)
    assert drawn[25, 45].any()
    assert not drawn[:20].any()


def test_what_nobody_sees_is_faint() -> None:
    """Somebody whose left ankle is below the picture's edge, and whose right one is hidden."""
    blank, joints = np.zeros((200, 200, 3), np.uint8), a_person()
    joints[15] = (60, 240)
    confidence = np.ones(17)
    confidence[16] = 0.2
    unseen = unseen_joints(joints, blank.shape, confidence)
    assert np.flatnonzero(unseen).tolist() == [15, 16]
    drawn = draw_skeleton(blank, joints, "coco17", thickness=4, unseen=unseen)
    x, y = joints[16].astype(int)
    assert 0 < drawn[y, x].max() < 0.5 * max(RIGHT)
    x, y = joints[13].astype(int)
    assert tuple(drawn[y, x]) == LEFT


def test_the_number_of_joints_is_checked() -> None:
    with pytest.raises(ValueError, match="17 joints"):
        draw_skeleton(np.zeros((9, 9, 3), np.uint8), np.zeros((16, 2)), "coco17")
