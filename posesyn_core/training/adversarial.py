"""What trainings of a generator against discriminators have in common (least-squares GAN, Mao et al., ICCV 2017)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from posesyn_core.training.dense import Linear

SLOPE = 0.01
"""Of the leaky ReLUs."""

Draws = tuple[Tensor, Tensor]
"""(N,) whether a new item is exchanged for a stored one, and for each that is, (K,) for which."""


def coins(count: int, size: int) -> Draws:
    """Draws for ``count`` items of a pool of ``size``, from torch's global generator."""
    swapped = torch.rand(count) < 0.5
    return swapped, torch.randint(size, (int(swapped.sum()),))


class Pool:
    """A history of fakes for a discriminator (Shrivastava et al., CVPR 2017), of ``size`` items.

    While it fills, an item is stored and returned; then every other one, by a coin, takes the place of a random stored
    one, which is returned in its stead.
    """

    def __init__(self, size: int = 4096) -> None:
        self.size = size
        self.items: Tensor | None = None

    def exchange(self, items: Tensor, draw: Callable[[int, int], Draws] = coins) -> Tensor:
        """(N, ...) new items -> (N, ...) what the discriminator sees; ``draw`` is asked once the pool is full.

        As if the items came one after the other: one that meets a place already taken in this batch returns the batch's
        own earlier item.
        """
        items = items.detach()
        stored = items.new_empty(0, *items.shape[1:]) if self.items is None else self.items
        room = self.size - len(stored)
        fresh, rest = items[:room], items[room:]
        self.items = torch.cat([stored, fresh])
        if not len(rest):
            return fresh
        mask, places = draw(len(rest), self.size)
        swapped = mask.nonzero()[:, 0]
        order = torch.argsort(places, stable=True)
        at, mine = places[order], rest[swapped[order]]
        again = torch.zeros(len(at), dtype=torch.bool)
        again[1:] = at[1:] == at[:-1]
        result = rest.clone()
        returned = self.items[at]
        returned[again] = mine[:-1][again[1:]]
        result[swapped[order]] = returned
        last = ~torch.cat([again[1:], again.new_zeros(min(1, len(at)))])
        self.items[at[last]] = mine[last]
        return torch.cat([fresh, result])

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds."""
        return {} if self.items is None else {"items": self.items}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take up the state of a checkpoint."""
        self.items = state.get("items")


class Stage(nn.Module):
    """Two layers of linear, norm, leaky ReLU; (N, W) -> (N, W), without a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w1 = Linear(width, width)
        self.batch_norm1 = nn.BatchNorm1d(width)
        self.w2 = Linear(width, width)
        self.batch_norm2 = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.batch_norm1(self.w1(x)), SLOPE)
        return nn.functional.leaky_relu(self.batch_norm2(self.w2(x)), SLOPE)


def he_normal(network: nn.Module) -> None:
    """He's initialisation of all linear weights (fan in, gain sqrt 2)."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises for its scores of real and fake items: 1 and 0 are wanted; halved."""
    return 0.5 * (((real - 1) ** 2).mean() + (fake**2).mean())


def accuracies(real: Tensor, fake: Tensor) -> Mapping[str, Tensor]:
    """The shares of scores within 0.5 of what they should be."""
    return {
        "real_acc": ((real - 1).abs() <= 0.5).to(real).mean(),
        "fake_acc": (fake.abs() <= 0.5).to(fake).mean(),
    }


def linear_rate(epoch: int, epochs: int) -> float:
    """The factor of a learning rate in epoch 1, ..., ``epochs``: from 1 down to nearly 0.

    It is 0 in epoch ``epochs`` + 2 and negative after it: those of a training that goes on must not follow it.
    """
    return 1 - (epoch - 1) / (epochs + 1)
