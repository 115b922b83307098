"""Programs that a recipe starts: a recipe from elsewhere runs nothing on this machine that its user has not approved.

A component says by ``option(..., program=True)`` which of its options are command lines. What the user approved is kept
in ``approved-programs.json`` in the cache folder, word for word, so that nobody is asked twice.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from posesyn_core.contracts.options import PROGRAM
from posesyn_core.engines.cache import cache_root
from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.recipe import Recipe
from posesyn_core.registry import Registry, parts_of


@frozen
class Program:
    """A command line, and the key of the recipe that it stands at."""

    key: str
    command: str


def programs(recipe: Recipe, registry: Registry) -> list[Program]:
    """All command lines in a recipe; a component that can't be made has none."""
    found: list[Program] = []
    for kind, choice, where in recipe.choices():
        try:
            config = registry.check(kind, choice.name, choice.options, where)
        except UserError:  # said when the component is needed
            continue
        found += programs_of(config, registry, where)
    return found


def programs_of(config: Any, registry: Registry, where: str) -> Iterator[Program]:
    """Those of one component's config, and of the components that it names."""
    for field in attrs.fields(type(config)):
        if field.metadata.get(PROGRAM) and (command := getattr(config, field.name)):
            yield Program(f"{where}.{field.name}", str(command))
    for name, kind, choice in parts_of(config):
        inner = registry.check(kind, choice.name, choice.options, f"{where}.{name}")
        yield from programs_of(inner, registry, f"{where}.{name}")


def unapproved(found: Iterable[Program]) -> list[Program]:
    """Those that the user of this machine has not approved yet."""
    known = _approved()
    return [program for program in found if program.command not in known]


def approve(found: Iterable[Program]) -> None:
    """Remember that the user wants these command lines to be started."""
    known = sorted({*_approved(), *(program.command for program in found)})
    write_atomic(_file(), json.dumps(known, indent=1) + "\n")


def require_approval(found: Iterable[Program]) -> None:
    """UserError if any is not approved."""
    for program in unapproved(found):
        raise UserError(
            f"the recipe's {program.key!r} starts the program {program.command!r}: if you trust it, run the command "
            "again with --yes (Python: posesyn_core.pipeline.programs.approve)"
        )


def _file() -> Path:
    return cache_root() / "approved-programs.json"


def _approved() -> set[str]:
    try:
        return {str(command) for command in json.loads(_file().read_bytes())}
    except (OSError, ValueError, TypeError):
        return set()
