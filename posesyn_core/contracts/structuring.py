"""Plain data (TOML, JSON) <-> attrs classes: nothing is converted in silence, and a fault names its key."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from posesyn_core.contracts.options import OptionError
from posesyn_core.contracts.results import a
from posesyn_core.files import remote
from posesyn_core.values.places import Url

SHOWN = 200
"""Letters of a value that a sentence shows at most."""

Count = int | float
"""A number of things, or below 1 a share of them."""


def abridged(value: object) -> str:
    """A value for a sentence about it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def strict_count(value: Any, _: Any) -> Count:
    """A :data:`Count`; TypeError for anything else, broken numbers of things among it."""
    if type(value) is int or (type(value) is float and value < 1):
        return value
    raise TypeError(f"must be an int, or a share below 1, not {abridged(value)}")


def strict_converter() -> cattrs.Converter:
    """A converter that takes values of the right type alone (an int is a float, too), and no unknown keys.

    It knows int, str, bool, float, Path, Path | Url, Literal, tuples and attrs classes; :func:`explain` tells what it
    objects to.
    """
    converter = cattrs.Converter(forbid_extra_keys=True)
    for plain in (int, str, bool):
        converter.register_structure_hook(plain, strictly)
    converter.register_structure_hook(float, lambda value, _: strictly_float(value))
    converter.register_structure_hook(Path, lambda value, _: _path(value))
    converter.register_structure_hook(
        Path | Url, lambda value, _: remote.base_of(value) if remote.is_url(value) else _path(value)
    )
    converter.register_structure_hook_func(lambda cls: _is_generic(cls, Literal), _one_of)
    converter.register_structure_hook_func(
        lambda cls: _is_generic(cls, tuple), lambda value, cls: strict_tuple(converter, value, cls)
    )
    converter.register_structure_hook_factory(attrs.has, lambda cls: _attrs_hook(converter, cls))
    converter.register_unstructure_hook(Path, str)
    converter.register_unstructure_hook(Url, str)
    converter.register_unstructure_hook_func(
        lambda cls: _is_generic(cls, tuple), lambda value: [converter.unstructure(item) for item in value]
    )
    converter.register_structure_hook(Count, strict_count)
    return converter


def _path(value: Any) -> Path:
    if remote.is_url(strictly(value, str)):
        raise ValueError(f"must be a path, not an address: download {abridged(value)}")
    return Path(value).expanduser()


def _is_generic(cls: Any, origin: Any) -> bool:
    return get_origin(cls) is origin


def _attrs_hook(converter: cattrs.Converter, cls: type) -> Any:
    structure_fields: Any = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a section, not {abridged(value)}")
        return structure_fields(value, cls)

    return hook


def strictly(value: Any, cls: type) -> Any:
    """The value if it is of exactly this class; else TypeError."""
    if type(value) is not cls:
        raise TypeError(f"must be {a(cls.__name__)}, not {abridged(value)}")
    return value


def strictly_float(value: Any) -> float:
    """A number as a float; TypeError for anything else, ValueError for what no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"must be a number, not {abridged(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("must be a number that fits 64 bits") from error


def _one_of(value: Any, cls: Any) -> Any:
    if value not in get_args(cls):
        raise ValueError(f"must be one of {', '.join(map(repr, get_args(cls)))}, not {abridged(value)}")
    return value


def strict_tuple(converter: cattrs.Converter, value: Any, cls: Any) -> tuple[Any, ...]:
    """A list as a tuple of the kind ``cls``; TypeError or ValueError if it is none."""
    kinds = get_args(cls)
    if not isinstance(value, list | tuple):
        raise TypeError(f"must be a list, not {abridged(value)}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(converter.structure(item, kinds[0]) for item in value)
    if len(kinds) != len(value):
        raise ValueError(f"must have {len(kinds)} items, not {len(value)}")
    return tuple(converter.structure(item, kind) for item, kind in zip(value, kinds, strict=True))


def explain(error: BaseException, path: str = "") -> str:
    """The first fault in a cattrs error tree, as "key: what is wrong"."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        name = sorted(error.extra_fields)[0]
        known = [attribute.name for attribute in attrs.fields(error.cl)]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {abridged(path + name)}; {hint}"
    if isinstance(error, cattrs.BaseValidationError):
        first = error.exceptions[0]
        note = next((n for n in getattr(first, "__notes__", ()) if isinstance(n, cattrs.AttributeValidationNote)), None)
        return explain(first, f"{path}{note.name}." if note else path)
    if isinstance(error, KeyError):  # its note names the missing key too
        return f"the key {path.rstrip('.')!r} is missing"
    if isinstance(error, OptionError):
        return f"{path + error.name!r} {error.complaint}"
    return f"{path.rstrip('.')!r} {error}" if path else str(error)
