"""What a plugin hands over, held against what it promised: components as described, and products as made.

Each fault is a clause that names the attribute or method, for a sentence that names the plugin.
"""

import difflib
import inspect
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, NoneType, UnionType
from typing import Any, Generic, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import attrs

from posesyn_core.components import Component, Kind
from posesyn_core.contracts.results import a, a_value

ALIKE = 0.85
"""Names of this similarity (difflib's ratio) or more are taken for one another's misspelling."""


def component_fault(component: object, kind: Kind) -> str | None:
    """Why this can't be a component of ``kind``; None if it can."""
    if not isinstance(component, Component):
        return f"returned {a_value(component)} where a Component is needed"
    if component.kind is not kind:
        return f"returned {component.name!r}, whose kind is {str(component.kind)!r}, where {a(kind)} is needed"
    faults = (
        (isinstance(component.name, str) and component.name != "", f"a component's name is {component.name!r}"),
        (attrs.has(component.config), f"the config of {component.name!r} is no attrs class"),
        (callable(component.factory), f"the factory of {component.name!r} can't be called"),
    )
    return next((fault for holds, fault in faults if not holds), None)


def product_fault(product: object, kind: Kind) -> str | None:
    """Why a factory's product is no component of ``kind``; None if it is one.

    It must have all of one of the kind's protocols. What it may have beside must be of the declared type, and a public
    name that is nearly one of those, on a product that lacks the right one, is taken for a misspelling.
    """
    lacking = [[name for name in members(protocol) if not hasattr(product, name)] for protocol in kind.protocols]
    if all(lacking):
        return _lacks(product, kind, min(lacking, key=len))
    for name, wanted in declared(kind).items():
        if hasattr(product, name) and (fault := _misfit(getattr(product, name), wanted)):
            return f"has a {name} that {fault}"
    return next(_misspelt(product, kind), None)


def people_fault(product: object, component: Component) -> str | None:
    """Why a product's people are not as its component says; None if they are."""
    brings = component.kind is Kind.ANIMATOR and hasattr(product, "actors")
    if brings == component.brings_people:
        return None
    return "has actors: its Component must say brings_people=True" if brings else "lacks actors, but says brings_people"


def members(protocol: type) -> dict[str, Any]:
    """What a protocol declares: the type of each attribute, the function of each method."""
    found: dict[str, Any] = _hints(protocol)
    for base in reversed(protocol.__mro__):
        if base not in (object, Protocol, Generic):
            found |= {n: f for n, f in vars(base).items() if isinstance(f, FunctionType | property) and _is_public(n)}
    return found


def _hints(protocol: type) -> dict[str, Any]:
    """The attributes' types; those of torch are written as text, and need it."""
    annotations = [vars(base).get("__annotations__", {}).values() for base in protocol.__mro__]
    if not any(isinstance(hint, str) for hints in annotations for hint in hints):
        return get_type_hints(protocol)
    import torch

    return get_type_hints(protocol, localns={"torch": torch})


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__len__"


def declared(kind: Kind) -> dict[str, Any]:
    """Everything that a product of ``kind`` may have, by name."""
    parts = (*kind.protocols, *kind.groups, *((kind.abilities,) if kind.abilities else ()))
    return {name: wanted for part in parts for name, wanted in members(part).items()}


def _lacks(product: object, kind: Kind, missing: Sequence[str]) -> str:
    names = " or ".join(protocol.__name__ for protocol in kind.protocols)
    wanted = ", or ".join(" and ".join(members(protocol)) for protocol in kind.protocols)
    near = [f"{other!r} seems to mean {name!r}" for name in missing for other in _near(product, name, kind)]
    hint = f" ({'; '.join(near)})" if near else ""
    return (
        f"does not fit the protocol {names}: it is {a_value(product)} and lacks {', '.join(missing)}{hint}; "
        f"{a(kind)} needs {wanted}; see posesyn_core/components.py"
    )


def _misspelt(product: object, kind: Kind) -> Iterator[str]:
    """A sentence for each optional name that the product seems to misspell."""
    expected = list(members(kind.abilities)) if kind.abilities else []
    shared = {name for protocol in kind.protocols for name in members(protocol)}
    for group in kind.groups:  # such methods are meant only where another of the same group is there
        own = [name for name in members(group) if name not in shared]
        if any(hasattr(product, name) for name in own):
            expected += own
    for name in expected:
        if not hasattr(product, name):
            for other in _near(product, name, kind):
                yield f"has {other!r}, which seems to mean {name!r}: rename it, or, if not, begin its name with '_'"


def _near(product: object, name: str, kind: Kind) -> list[str]:
    """The product's public names that are nearly ``name`` and mean nothing else."""
    present = {other for other in dir(product) if not other.startswith("_")} - declared(kind).keys()
    return difflib.get_close_matches(name, sorted(present), n=1, cutoff=ALIKE)


def _misfit(value: object, declared: Any) -> str | None:
    """Why ``value`` is not as declared: "is ..., not ..."."""
    if isinstance(declared, property):
        return None
    if isinstance(declared, FunctionType):
        return _signature_misfit(value, declared)
    return None if _fits(value, declared) else f"is {_shown(value)}, where {_named(declared)} is needed"


def _signature_misfit(value: object, declared: Callable[..., Any]) -> str | None:
    if not callable(value):
        return f"is {_shown(value)}, where a method is needed"
    wanted = list(inspect.signature(declared).parameters)[1:]
    try:
        inspect.signature(value).bind(*wanted)
    except TypeError:
        return f"can't be called with ({', '.join(wanted)})"
    except ValueError:  # a builtin that has no signature
        return None
    return None


def _fits(value: object, declared: Any) -> bool:
    """Whether a value is of a declared type: a class, a union, a literal, or a tuple of such."""
    origin, parts = get_origin(declared), get_args(declared)
    if declared is Any:
        return True
    if declared in (None, NoneType):
        return value is None
    if origin in (UnionType, Union):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        return isinstance(value, tuple | list) and all(_fits(item, parts[0]) for item in value)
    return isinstance(value, origin or declared)


def _named(declared: Any) -> str:
    return declared.__name__ if isinstance(declared, type) and not get_args(declared) else str(declared)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else a_value(value)
