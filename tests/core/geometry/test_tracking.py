"""Who is who: people who walk, cross, hide and leave."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.geometry.tracking import PATIENCE, Tracker, overlap

FPS = 25.0


def walker(start: float, speed: float, frames: int) -> np.ndarray:
    """Boxes (L, 4) of somebody 40 pixels wide who walks at ``speed`` pixels a second."""
    x = start + speed * np.arange(frames) / FPS
    return np.stack([x, np.full(frames, 20.0), x + 40, np.full(frames, 140.0)], -1)


def test_people_keep_their_numbers_whatever_order_they_are_found_in() -> None:
    left, right = walker(0, 30, 50), walker(300, -20, 50)
    tracker = Tracker()
    for at in range(50):
        order = [left[at], right[at]] if at % 2 == 0 else [right[at], left[at]]
        numbers = tracker.follow(order, at / FPS)
        assert numbers == ([0, 1] if at % 2 == 0 else [1, 0])


def test_people_who_cross_go_on_as_they_went() -> None:
    right, left = walker(0, 200, 40), walker(250, -200, 40)
    tracker = Tracker()
    numbers = [tracker.follow([right[at], left[at]], at / FPS) for at in range(40)]
    assert numbers == [[0, 1]] * 40


def test_who_is_hidden_for_a_moment_is_the_same_person() -> None:
    boxes, tracker = walker(0, 60, 60), Tracker()
    numbers = [tracker.follow([] if 20 <= at < 30 else [boxes[at]], at / FPS) for at in range(60)]
    assert {number for each in numbers for number in each} == {0}


def test_who_comes_after_a_while_is_new() -> None:
    box, tracker = walker(0, 0, 1), Tracker()
    assert tracker.follow(box, 0.0) == [0]
    assert tracker.follow(box, PATIENCE) == [0]
    assert tracker.follow(box, 2 * PATIENCE + 0.1) == [1]
    assert tracker.follow(np.empty((0, 4)), 3) == []


def test_somebody_elsewhere_is_somebody_else() -> None:
    tracker = Tracker()
    tracker.follow(walker(0, 0, 1), 0.0)
    assert tracker.follow(walker(500, 0, 1), 1 / FPS) == [1]


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(1, 60)] * 2), min_size=1, max_size=6))
def test_overlaps_are_shares(rows: list[tuple[float, float, float, float]]) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows])
    found = overlap(boxes, boxes)
    assert (found >= 0).all() and (found <= 1 + 1e-9).all()
    np.testing.assert_allclose(np.diagonal(found), 1)
    np.testing.assert_allclose(found, found.T)


def test_half_of_two_boxes() -> None:
    assert overlap(np.array([[0, 0, 10, 10.0]]), np.array([[5, 0, 15, 10.0]]))[0, 0] == pytest.approx(1 / 3)
