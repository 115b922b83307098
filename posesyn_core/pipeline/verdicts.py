"""What each of several filters says of a frame, as columns of the table ``filter``."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from posesyn_core.pipeline.tables import Column
from posesyn_core.values import Verdict

TOLD = {"keep": bool, "error": float, "reason": str}
"""The columns of a filter: ``NAME_keep``, ``NAME_error``, ``NAME_reason``."""


class Judged(Protocol):
    """A frame with its verdict."""

    @property
    def verdict(self) -> Verdict: ...


def columns(filters: Iterable[str]) -> Iterator[Column]:
    """Those of all ``filters``, by their labels."""
    for label in filters:
        for field, kind in TOLD.items():
            yield Column(f"{label}_{field}", kind, partial(_told, label=label, field=field))


def _told(frame: Judged, *, label: str, field: str) -> Any:
    return next((getattr(part, field) for part in frame.verdict.parts if part.filter == label), None)
