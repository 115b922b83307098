"""What a trial of a component finds, check by check."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from attrs import field, frozen

from posesyn_core.contracts.results import name_of
from posesyn_core.errors import PoseSynError

V = TypeVar("V")


@frozen
class Finding:
    """One check of a component: passed (``fault`` None) or not, and what was found.

    ``value`` is what later checks go on with.
    """

    check: str
    fault: str | None = None
    note: str = ""
    value: Any = field(default=None, repr=False, eq=False)

    @property
    def passed(self) -> bool:
        """Whether the component does what its protocol says."""
        return self.fault is None


class Failure(Exception):
    """A check that failed; its text says how."""


def check(name: str, function: Callable[[], V], note: Callable[[V], str] = lambda value: "") -> Finding:
    """Do one check: what ``function`` returns is the finding's value, what it raises is the fault."""
    try:
        value = function()
        return Finding(name, note=note(value), value=value)
    except (Failure, PoseSynError) as error:
        return Finding(name, str(error))
    except Exception as error:  # a plugin may raise anything
        return Finding(name, f"{type(error).__name__}: {error}")


def demand(holds: bool | np.bool_, complaint: str) -> None:
    """Failure with ``complaint`` unless it ``holds``."""
    if not holds:
        raise Failure(complaint)


def fails_on(method: Callable[..., Any], complaint: str) -> Failure:
    """A failure that names the component's method."""
    return Failure(f"{name_of(method)} {complaint}")
