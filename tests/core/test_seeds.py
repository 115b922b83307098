"""Seeds depend on run, unit and stage, and on nothing else."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.seeds import rng, seed_of


def test_seeds_never_change_between_versions() -> None:
    """Recorded once: runs that are resumed with a later version must go on with the same draws."""
    assert seed_of(0, "mpii/train/a-0", "animate") == 947360735672716582


@given(st.integers(0, 2**32), st.text(), st.text())
def test_the_same_unit_draws_the_same_numbers(run_seed: int, unit: str, stage: str) -> None:
    assert np.array_equal(rng(run_seed, unit, stage).random(4), rng(run_seed, unit, stage).random(4))
    assert 0 <= seed_of(run_seed, unit, stage) < 2**63


def test_run_unit_and_stage_all_count() -> None:
    seeds = {
        seed_of(run, unit, stage)
        for run, unit, stage in itertools.product(range(20), map(str, range(20)), ("score", "animate", "draw"))
    }
    assert len(seeds) == 20 * 20 * 3


def test_the_parts_do_not_run_into_each_other() -> None:
    assert seed_of(1, "1a", "b") != seed_of(11, "a", "b")
    assert seed_of(1, "a", "bc") != seed_of(1, "ab", "c")


def test_first_draws_of_different_units_are_uniform_and_uncorrelated() -> None:
    draws = np.array([rng(0, f"sample/{k}", "select").random(2) for k in range(2000)])
    histogram = np.histogram(draws[:, 0], bins=10, range=(0, 1))[0]
    assert abs(histogram - 200).max() < 60
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.1
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.1
