"""How often a program waits for its device: for benchmarks, and for tests of losses."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NUMBERS = frozenset({"item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__", "equal"})
"""Calls that take numbers out of a tensor: a GPU has to finish all that it was given first."""
SIZES = frozenset({"nonzero", "masked_select", "unique", "unique_consecutive"})
"""Calls whose result's size depends on numbers."""
PLACES = frozenset({"__getitem__", "__setitem__", "index_put_"})
"""Calls that do if a mask says which places are meant."""


class Waits(TorchFunctionMode):
    """Within ``with Waits() as waits``, ``waits.calls`` counts the calls that wait for a GPU, by name.

    Told by what is called, on any device: so a machine without a GPU knows, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> "Waits":
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in NUMBERS or name in SIZES or (name in PLACES and _masked(args[1])):
            self.calls[name] += 1
        return func(*args, **(kwargs or {}))


def _masked(places: Any) -> bool:
    """Whether an index holds a mask."""
    parts = places if isinstance(places, tuple | list) else (places,)
    return any(isinstance(part, Tensor) and part.dtype == torch.bool for part in parts)
