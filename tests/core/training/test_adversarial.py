"""What trainings against discriminators share."""

from collections.abc import Sequence

import torch
from torch import Tensor

from posesyn_core.training.adversarial import Pool, accuracies, discriminator_loss, linear_rate


def one_by_one(pool: list[Tensor], items: Tensor, coins: Tensor, places: Sequence[int]) -> Tensor:
    """What the exchange with a full pool is to do, done item by item."""
    given, found = iter(places), []
    for item, coin in zip(items, coins, strict=True):
        if coin:
            at = next(given)
            found.append(pool[at])
            pool[at] = item
        else:
            found.append(item)
    return torch.stack(found)


def test_the_pool_is_as_if_poses_came_one_by_one() -> None:
    pool = Pool(5)
    torch.testing.assert_close(pool.exchange(torch.arange(5.0)), torch.arange(5.0))
    stored = list(torch.arange(5.0))
    for turn in range(20):
        items = 100.0 * (turn + 1) + torch.arange(12.0)
        torch.manual_seed(turn)
        found = pool.exchange(items)
        torch.manual_seed(turn)
        coins = torch.rand(12) < 0.5
        places = torch.randint(5, (int(coins.sum()),)).tolist()
        torch.testing.assert_close(found, one_by_one(stored, items, coins, places))
        torch.testing.assert_close(pool.items, torch.stack(stored))


def test_a_pool_goes_on_from_its_state() -> None:
    pool, other = Pool(4), Pool(4)
    pool.exchange(torch.arange(6.0))
    other.load(pool.state())
    torch.manual_seed(1)
    wanted = pool.exchange(torch.arange(10.0, 16.0))
    torch.manual_seed(1)
    torch.testing.assert_close(other.exchange(torch.arange(10.0, 16.0)), wanted)
    assert Pool(4).state() == {}


def test_scores() -> None:
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert float(discriminator_loss(real, fake)) == 0.5 * (0.5 + 2.0)
    assert {name: float(share) for name, share in accuracies(real, fake).items()} == {"real_acc": 0.5, "fake_acc": 0.5}


def test_the_linear_rate_ends_above_zero() -> None:
    assert [round(linear_rate(epoch, 4), 9) for epoch in range(1, 8)] == [1, 0.8, 0.6, 0.4, 0.2, 0, -0.2]
