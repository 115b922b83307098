"""Comparison of two evaluations: known differences, known doubts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.training.comparison import differences
from posesyn_core.training.evaluate import Evaluation


def evaluation(values: dict[str, list[float]], ids: list[str] | None = None) -> Evaluation:
    count = len(next(iter(values.values())))
    names = ids or [str(at) for at in range(count)]
    return Evaluation(tuple(names), {name: np.array(column, float) for name, column in values.items()}, {})


def test_a_sure_improvement() -> None:
    random = np.random.default_rng(0)
    before = random.uniform(80, 120, 200)
    after = before - random.normal(5, 2, 200)
    (change,) = differences(evaluation({"mpjpe": list(before)}), evaluation({"mpjpe": list(after)}))
    assert change.change == pytest.approx((after - before).mean())
    assert change.low < change.change < change.high < 0 and change.certain
    assert change.better > 95 and change.samples == 200


def test_noise_is_no_improvement() -> None:
    random = np.random.default_rng(1)
    before = random.uniform(80, 120, 100)
    after = before + random.permutation(np.tile([-3.0, 3.0], 50))
    (change,) = differences(evaluation({"mpjpe": list(before)}), evaluation({"mpjpe": list(after)}))
    assert not change.certain and change.low < 0 < change.high


def test_samples_are_matched_by_id_and_unknown_values_left_out() -> None:
    first = evaluation({"mpjpe": [1, 2, 3, np.nan], "pve": [1, 1, 1, 1]}, ["a", "b", "c", "d"])
    second = evaluation({"mpjpe": [30, 10, 99, 5]}, ["c", "a", "x", "d"])
    (change,) = differences(first, second)
    assert (change.metric, change.samples, change.first, change.second) == ("mpjpe", 2, 2.0, 20.0)


def test_more_is_better_for_shares() -> None:
    (change,) = differences(evaluation({"pckh": [50, 60, 70]}), evaluation({"pckh": [55, 65, 60]}))
    assert change.better == pytest.approx(200 / 3)


@given(st.lists(st.floats(1, 300), min_size=2, max_size=30), st.floats(-50, 50))
def test_a_constant_change_has_no_spread(values: list[float], shift: float) -> None:
    shifted = [value + shift for value in values]
    (change,) = differences(evaluation({"mpjpe": values}), evaluation({"mpjpe": shifted}))
    assert change.change == pytest.approx(shift, abs=1e-9)
    assert change.low == pytest.approx(shift, abs=1e-9) and change.high == pytest.approx(shift, abs=1e-9)
