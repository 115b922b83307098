"""Options as rows: what ``posesyn plugins show`` and the documentation say of them."""

from pathlib import Path

from attrs import Factory, frozen

from posesyn_core import option
from posesyn_core.authoring.reference import Row, rows
from posesyn_core.components import PersonDetector


@frozen
class Options:
    """Some of each sort."""

    root: Path
    rate: float = option(0.5, "how much", above=0, most=1)
    detector: PersonDetector | None = option(None, "what finds people")
    names: tuple[str, ...] = Factory(tuple)


def test_every_option_has_type_default_range_and_meaning() -> None:
    assert rows(Options) == [
        Row("root", "Path", "required", ""),
        Row("rate", "float", "0.5", "how much (above 0 and at most 1)"),
        Row("detector", "a detector by its name", "None", "what finds people"),
        Row("names", "tuple[str, ...]", "()", ""),
    ]
