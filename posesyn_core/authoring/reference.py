"""The options of components and recipe sections as rows, for ``posesyn plugins show`` and the documentation."""

from typing import Any

import attrs
from attrs import frozen

from posesyn_core.components import kind_of
from posesyn_core.contracts.options import RANGE


@frozen
class Row:
    """One option: its name, type, default ("required" if it has none) and meaning, the range included."""

    name: str
    type: str
    default: str
    meaning: str


def rows(config: type) -> list[Row]:
    """The options of an attrs class in order."""
    return [_row(attribute) for attribute in attrs.fields(config) if attribute.init]


def _row(attribute: "attrs.Attribute[Any]") -> Row:
    limits = f" ({attribute.metadata[RANGE]})" if RANGE in attribute.metadata else ""
    meaning = f"{attribute.metadata.get('doc', '')}{limits}".strip()
    return Row(attribute.name, type_name(attribute.type), default_of(attribute), meaning)


def type_name(kind: Any) -> str:
    """A type as its user would call it."""
    if part := kind_of(kind):
        return f"a {part} by its name"
    plain = isinstance(kind, type) and "[" not in str(kind)
    return kind.__name__ if plain else str(kind).removeprefix("typing.").replace("typing.", "")


def default_of(attribute: "attrs.Attribute[Any]") -> str:
    """The default as Python writes it."""
    if attribute.default is attrs.NOTHING:
        return "required"
    factory = getattr(attribute.default, "factory", None)
    takes_self = getattr(attribute.default, "takes_self", False)
    return repr(factory() if factory is not None and not takes_self else attribute.default)
