"""Options of components and keys of recipes: default, documentation and, of numbers, the range.

A value outside its range never gets into a config, whoever makes it.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, get_args

from attrs import Attribute, field, frozen

from posesyn_core.errors import UserError

RANGE = "range"
"""Under this key, an attrs field's metadata has its :class:`Range`."""
THRESHOLD = "threshold"
"""Under this key, an attrs field's metadata has the unit of a filter's errors; its value is the largest one kept."""
PROGRAM = "program"
"""Under this key, an attrs field's metadata says that its value is a command line that the component starts."""
LARGEST = 2**63
"""Whole numbers are smaller than this in size: tables store 64 bits."""
ENOUGH = 10**9
"""No setting but a seed is larger than this, whatever its range: it is a slip of the finger."""


class OptionError(UserError, ValueError):
    """A setting's value that can't be; ``name`` is the setting's."""

    def __init__(self, name: str, complaint: str) -> None:
        super().__init__(f"{name} {complaint}")
        self.name, self.complaint = name, complaint


@frozen
class Range:
    """The finite numbers of at least ``least``, more than ``above``, at most ``most``, less than ``below``."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        finite = -LARGEST < value < LARGEST if isinstance(value, int) else math.isfinite(value)
        return (
            finite
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        ends = (("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below))
        given = ((word, end) for word, end in ends if end is not None)
        told = (f"{word} {end:,.0f}" if end == round(end) else f"{word} {end:g}" for word, end in given)
        return " and ".join(told) or "any finite number"


def option(
    default: Any,
    doc: str,
    *,
    factory: bool = False,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    check: Callable[[Any], str | None] | None = None,
    program: bool = False,
    threshold: str | None = None,
    any_size: bool = False,
) -> Any:
    """An attrs field of a component's config: its default and the sentence ``posesyn plugins show`` prints.

    Numeric options state their range (``least``, ``above``, ``most``, ``below``); a value outside it, NaN or infinity
    is refused, and so is more than a billion unless ``any_size=True`` (a seed). ``check`` returns what else is wrong
    with a value ("must be ..."), or None. ``program=True`` says that the value is a command line that the component
    starts: the user is asked before one of a recipe's is. ``threshold`` marks the largest error that a filter keeps,
    and gives its unit ("mm"): ``posesyn sweep`` tries other ones. With ``factory=True``, ``default`` is called for
    every new config.

    A field whose type is a protocol of another kind of component (``detector: PersonDetector | None``) takes one by
    name, as a recipe's sections do: ``"rtmdet"`` or ``{ name = "rtmdet", model = "..." }``. The factory gets the
    component itself, made by the registry.
    """
    limits = Range(least, above, most, below)
    metadata: dict[str, Any] = {"doc": doc} if limits == Range() else {"doc": doc, RANGE: limits}
    if program:
        metadata[PROGRAM] = True
    if threshold is not None:
        metadata[THRESHOLD] = threshold
    how = {"factory": default} if factory else {"default": default}
    return field(**how, validator=_validator(limits, check, any_size), metadata=metadata)


def follow_links(root: str = "root") -> Any:
    """The option of every reader whose pictures lie below a folder (:class:`posesyn_core.files.locating.Pictures`)."""
    doc = f"whether links below {root} may lead out of it (to another disk, say); false = such pictures are rejected"
    return option(False, doc)


def _validator(
    limits: Range, further: Callable[[Any], str | None] | None, any_size: bool
) -> Callable[[Any, "Attribute[Any]", Any], None]:
    """Of an attrs field, whose every number (it may be a tuple, or have None or words too) is to be in ``limits``."""

    def validate(_instance: Any, attribute: "Attribute[Any]", value: Any) -> None:
        for number in _numbers(value):
            if number not in limits:
                raise OptionError(attribute.name, f"must be {limits}, not {_shown(number)}")
            if not any_size and abs(number) > ENOUGH:
                raise OptionError(attribute.name, f"must be no more than {ENOUGH:,} in size, not {_shown(number)}")
        if further is not None and (complaint := further(value)):
            raise OptionError(attribute.name, complaint)

    return validate


def is_numeric(annotation: Any) -> bool:
    """Whether a field of this type may hold numbers (``int``, ``float | None``, ``tuple[int, ...]``), not bools."""
    return annotation in (int, float) or any(is_numeric(part) for part in get_args(annotation))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple | list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _shown(number: float) -> str:
    """The number, or how large it is where it is too long to read."""
    huge = isinstance(number, int) and abs(number) >= LARGEST
    return f"a whole number of {number.bit_length()} bits" if huge and isinstance(number, int) else f"{number}"
