"""The recipe of a run on disk, with a copy that tells whether it is what was written, and brings it back if not."""

import json
from pathlib import Path

from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.order import RECIPE
from posesyn_core.pipeline.seals import digest
from posesyn_core.recipe import Recipe, load_recipe

COPY = ".recipe.json"
"""In the run folder: the text of ``recipe.toml`` and its checksum."""


def write_recipe(run: Path, text: str) -> None:
    """Write the recipe of a run, and its copy."""
    write_atomic(run / COPY, json.dumps({"recipe": text, "checksum": digest(text.encode())}) + "\n")
    write_atomic(run / RECIPE, text)


def recipe_of(run: Path) -> Recipe:
    """The recipe of a run; UserError, with what brings it back if it is not what was written, if it can't be read."""
    try:
        return load_recipe(run / RECIPE)
    except UserError as error:
        if recipe_is_sound(run):
            raise
        told = f"{error}; it is not what was written: `posesyn check {run} --repair` brings it back"
        raise UserError(told) from error


def recipe_is_sound(run: Path) -> bool:
    """Whether a run's recipe is what was written; runs without a copy are believed."""
    written = _written(run)
    try:
        return written is None or (run / RECIPE).read_bytes() == written.encode()
    except OSError:
        return False


def recover_recipe(run: Path) -> None:
    """Write the recipe again as it was; UserError if the copy is gone or damaged too."""
    written = _written(run)
    if written is None:
        raise UserError(f"there is no copy of the recipe of {str(run)!r}: write it again by hand")
    write_recipe(run, written)


def _written(run: Path) -> str | None:
    """The recipe as the copy has it; None if there is none, or a damaged one."""
    try:
        copy = json.loads((run / COPY).read_bytes())
        text, checksum = copy["recipe"], copy["checksum"]
        return text if digest(text.encode()) == checksum else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
