"""What the tests over the packs of reference data (../shared/parity) have in common."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

Arrays = Mapping[str, NDArray]
Claims = Mapping[Callable[..., Any], str]
"""Test -> the arrays that it replays, as patterns ``file:array`` parted by blanks (``io:pred_*``)."""


def arrays(path: Path) -> Arrays:
    """All arrays of an .npz file."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def manifest_of(network: nn.Module) -> dict[str, dict[str, Any]]:
    """The network's state in the form of a ``manifest_full.json``: name -> shape and dtype."""
    return {
        name: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        for name, value in network.state_dict().items()
    }


def check_claims(pack: Path, claims: Claims) -> None:
    """Every array in the .npz files of a pack must be replayed by a test, and no claim may be for nothing."""
    names = [f"{path.stem}:{name}" for path in sorted(pack.glob("*.npz")) for name in np.load(path).files]
    patterns = {pattern: test.__name__ for test, claimed in claims.items() for pattern in claimed.split()}
    unclaimed = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    assert not unclaimed
    idle = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    assert not idle
