"""Pools and mixtures of data sets to train on."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.training.sources import Joined, Weighted


@given(st.lists(st.lists(st.integers(), max_size=5), max_size=5))
def test_joined_sequences_read_like_one(parts: list[list[int]]) -> None:
    whole, joined = [item for part in parts for item in part], Joined(parts)
    assert list(joined) == whole and len(joined) == len(whole)
    assert [joined[at] for at in range(-len(whole), len(whole))] == 2 * whole
    assert joined[1:4] == whole[1:4]
    with pytest.raises(IndexError):
        joined[len(whole)]


def test_sets_are_drawn_by_their_weights() -> None:
    mixture = Weighted({"a": range(1000), "b": range(1000, 1010)}, {"a": 1, "b": 3})
    assert mixture.weights == {"a": 0.25, "b": 0.75}
    drawn = [item for step in range(100) for item in mixture.draw(32, step, seed=1)]
    share = sum(item >= 1000 for item in drawn) / len(drawn)
    assert share == pytest.approx(0.75, abs=0.03)
    counts = Counter(item for item in drawn if item >= 1000)
    assert len(counts) == 10 and max(counts.values()) < 1.3 * min(counts.values())


def test_a_draw_depends_on_step_and_seed_alone() -> None:
    mixture = Weighted({"a": range(50), "b": range(50)}, {"a": 1, "b": 1})
    assert mixture.draw(16, 3, 0) == mixture.draw(16, 3, 0)
    assert mixture.draw(16, 3, 0) != mixture.draw(16, 4, 0) != mixture.draw(16, 4, 1)
    assert len(mixture) == 100 and list(mixture) == [*range(50), *range(50)]
