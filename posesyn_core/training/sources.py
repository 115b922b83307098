"""Where training frames come from: one pool, or several data sets by their weights."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar, overload

from attrs import field, frozen

from posesyn_core.seeds import rng

T = TypeVar("T")


class Joined(Sequence[T]):
    """Several sequences as one, without a copy."""

    def __init__(self, parts: Sequence[Sequence[T]]) -> None:
        self.parts = [part for part in parts if len(part)]
        self._ends = list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> list[T]: ...
    def __getitem__(self, at: int | slice) -> T | list[T]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        place = range(len(self))[at]
        part = bisect_right(self._ends, place)
        return self.parts[part][place - (self._ends[part - 1] if part else 0)]


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    return {label: weight / sum(weights.values()) for label, weight in weights.items()}


@frozen
class Weighted:
    """Data sets of which a batch draws by their weights, with replacement: as the published mixtures do.

    ``sets`` and ``weights``, which are normalised, by label; none of the sets is empty.
    """

    sets: dict[str, Sequence[Any]]
    weights: dict[str, float] = field(converter=_normalised)

    def __len__(self) -> int:
        return sum(map(len, self.sets.values()))

    def __iter__(self) -> Iterator[Any]:
        for items in self.sets.values():
            yield from items

    def draw(self, count: int, step: int, seed: int) -> list[Any]:
        """``count`` items for one step, which depend on it and the seed alone."""
        random = rng(seed, str(step), "real sets")
        chosen = random.choice(len(self.sets), count, p=[self.weights[label] for label in self.sets])
        sets = list(self.sets.values())
        return [sets[at][int(random.integers(len(sets[at])))] for at in chosen.tolist()]
