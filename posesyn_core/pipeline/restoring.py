"""Bringing back what was set aside, so that it counts again."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posesyn_core.errors import UserError
from posesyn_core.pipeline.ledger import DONE, INPUTS, SEAL
from posesyn_core.pipeline.order import BUILDS_ON, RECIPE, settings_of
from posesyn_core.pipeline.recipes import write_recipe
from posesyn_core.pipeline.superseded import FOLDER, empty, moved, set_aside
from posesyn_core.pipeline.tables import part_number
from posesyn_core.recipe import load_recipe


def restore(run: Path, name: str) -> Path | None:
    """Put back what was set aside at ``name``; what stands in its place is set aside in turn.

    The recipe of that time comes back with it if the results are of other settings than the present recipe's. Returns
    where the replaced things are. UserError if ``name`` is unknown.
    """
    place = run / FOLDER / name
    if name in ("", ".", "..") or Path(name).name != name or not (place / RECIPE).is_file():
        raise UserError(f"nothing was set aside at {name!r} in {str(run)!r}; `posesyn superseded {run}` lists all")
    names = moved(place)
    recipe = None if _are_of(run / RECIPE, place) else (place / RECIPE).read_text(encoding="utf-8")
    replaced = set_aside(run, [*(run / name for name in names), *_surplus(run, place, names)])
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).rename(run / name)
    if recipe is not None:
        write_recipe(run, recipe)
    empty(place)
    return replaced


def _are_of(recipe: Path, place: Path) -> bool:
    """Whether the results in a place are of a recipe's settings, as far as their books tell."""
    chosen = load_recipe(recipe)
    begun = {stage: _book(place / stage / INPUTS).get("settings") for stage in BUILDS_ON}
    return all(given is None or given == settings_of(chosen, stage) for stage, given in begun.items())


def _surplus(run: Path, place: Path, names: Sequence[str]) -> list[Path]:
    """The parts that tables have now beyond those that they had when the stages came to the place, part by part."""
    found: list[Path] = []
    for stage in BUILDS_ON:
        if f"{stage}/{DONE}" in names:
            for table, parts in _book(place / stage / DONE).get(SEAL, {}).get("parts", {}).items():
                found += [part for part in (run / table).glob("[0-9]*.parquet") if part_number(part) >= parts]
    return [path for path in found if os.path.lexists(path)]


def _book(path: Path) -> dict[str, Any]:
    """What a book says; nothing if it is not there or can't be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
