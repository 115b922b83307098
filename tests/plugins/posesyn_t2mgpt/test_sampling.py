"""Sampling of codes: every row for itself, within the wanted length."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from posesyn_core.seeds import rng
from posesyn_t2mgpt.sampling import eager, gumbel, sample
from posesyn_t2mgpt.transformer import T2MTransformer

ROWS = 12


@pytest.fixture(scope="module")
def model(models: tuple[object, object, T2MTransformer]) -> T2MTransformer:
    return deepcopy(models[2]).double()


def draw(model: T2MTransformer, rows: list[int], **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample the given ones of a fixed set of requests (prefixes of 0 or 3 codes, texts and seeds of their own)."""
    everything = torch.from_numpy(np.random.default_rng(0).normal(size=(ROWS, 512)))
    counts = torch.tensor([3 * (row % 2) for row in rows])
    prefix = torch.tensor([[row, row + 1, row + 2] for row in rows])
    limits = {"least": counts * 0, "most": counts * 0 + 50} | {
        k: counts * 0 + v for k, v in options.items() if k in ("least", "most")
    }
    rest = {name: value for name, value in options.items() if name not in limits}
    noise = gumbel([rng(7, str(row), "test") for row in rows], model.shape)
    return sample(eager(model), model.shape, everything[rows], prefix, counts, **limits, **{"noise": noise, **rest})  # type: ignore[arg-type]


def test_rows_do_not_depend_on_the_batch(model: T2MTransformer) -> None:
    codes, lengths = draw(model, list(range(ROWS)))
    assert len(set(lengths.tolist())) > 3
    for row in range(ROWS):
        alone, length = draw(model, [row])
        assert torch.equal(alone[0], codes[row]) and length[0] == lengths[row]
    shuffled, _ = draw(model, [5, 0, 5, 11])
    assert torch.equal(shuffled, codes[[5, 0, 5, 11]])


def test_prefix_comes_first_and_counts(model: T2MTransformer) -> None:
    codes, lengths = draw(model, [0, 1, 3], least=20, most=20)
    assert codes[1:, :3].tolist() == [[1, 2, 3], [3, 4, 5]]
    assert lengths.tolist() == [20, 20, 20]
    assert not codes[:, 20:].any() and codes[:, :20].any(dim=0).all()


def test_limits(model: T2MTransformer) -> None:
    _, free = draw(model, list(range(ROWS)))
    _, bounded = draw(model, list(range(ROWS)), least=10, most=12)
    assert free.min() < 10 and free.max() > 12
    assert bounded.min() >= 10 and bounded.max() <= 12
    _, longest = draw(model, list(range(ROWS)), least=50)
    assert longest.tolist() == [50] * ROWS


def test_greedy_is_the_limit_of_cold_and_of_top_1(model: T2MTransformer) -> None:
    rows = list(range(ROWS))
    greedy, lengths = draw(model, rows, noise=None, least=15)
    for options in ({"temperature": 1e-6}, {"top_k": 1}):
        codes, others = draw(model, rows, least=15, **options)
        assert torch.equal(codes, greedy) and torch.equal(lengths, others)
    hot, _ = draw(model, rows, least=15)
    assert not torch.equal(hot, greedy)


def test_draws_follow_the_distribution(model: T2MTransformer) -> None:
    """First codes of many seeds against softmax of the recorded logits, and none outside the best k."""
    count, temperature = 4000, 0.7
    text = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 512))).expand(count, -1)
    noise = torch.from_numpy(np.random.default_rng(2).gumbel(size=(count, 51, model.shape.codes + 1)))
    nothing, zero = torch.zeros(count, 0, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    with torch.no_grad():
        logits = model(text[:1], nothing[:1])[0, 0, :-1]
    expected = torch.softmax(logits / temperature, dim=-1)
    codes, _ = sample(eager(model), model.shape, text, nothing, zero, zero + 1, zero + 1, noise, temperature)
    share = torch.bincount(codes[:, 0], minlength=len(expected)) / count
    assert (share - expected).abs().max() < 0.03
    codes, _ = sample(eager(model), model.shape, text, nothing, zero, zero + 1, zero + 1, noise, temperature, top_k=3)
    assert set(codes[:, 0].tolist()) == set(logits.topk(3).indices.tolist())
