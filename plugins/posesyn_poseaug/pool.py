"""A history of fake poses for a discriminator (Shrivastava et al., CVPR 2017)."""

import torch
from torch import Tensor


class Pool:
    """Keeps ``size`` poses. While it fills, a pose is stored and returned; then every other one, by a coin, takes the
    place of a random stored one, which is returned in its stead."""

    def __init__(self, size: int = 4096) -> None:
        self.size = size
        self.items: Tensor | None = None

    def exchange(self, items: Tensor) -> Tensor:
        """(N, ...) new poses -> (N, ...) what the discriminator sees; draws from torch's global generator.

        As if the poses came one after the other: one that meets a place already taken in this batch returns the batch's
        own earlier pose.
        """
        items = items.detach()
        stored = items.new_empty(0, *items.shape[1:]) if self.items is None else self.items
        room = self.size - len(stored)
        fresh, rest = items[:room], items[room:]
        self.items = torch.cat([stored, fresh])
        if not len(rest):
            return fresh
        swapped = (torch.rand(len(rest)) < 0.5).nonzero()[:, 0]
        places = torch.randint(self.size, (len(swapped),))
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
