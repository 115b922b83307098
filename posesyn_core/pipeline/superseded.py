"""Work that other settings have taken the place of: set aside below ``.superseded``, never deleted unasked.

``.superseded/<time>/`` holds what was set aside at one moment, laid out as in the run folder, and the ``recipe.toml``
that it was made by.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from attrs import frozen

from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.tables import RECIPE

FOLDER = ".superseded"


@frozen
class SetAside:
    """What was set aside at one moment: the stages that it concerns, and how much room it takes."""

    folder: Path
    stages: tuple[str, ...]
    size: int


def set_aside(run: Path, paths: Iterable[Path]) -> Path | None:
    """Move files and folders of a run to a new place below ``.superseded``, which is returned; None if none is there.

    They are moved in the order given, each at once: after a kill it is in one place or in the other.
    """
    present = [path for path in paths if os.path.lexists(path)]
    if not present:
        return None
    place = _new_place(run)
    if (run / RECIPE).is_file():
        shutil.copy2(run / RECIPE, place / RECIPE)
    for path in present:
        target = place / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    return place


def _new_place(run: Path) -> Path:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    for number in count(1):
        place = run / FOLDER / (now if number == 1 else f"{now}-{number}")
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            continue
        return place
    raise AssertionError("unreachable")


def superseded(run: Path) -> list[SetAside]:
    """Everything that was set aside, the oldest first."""
    places = sorted(path for path in (run / FOLDER).glob("*") if path.is_dir())
    return [SetAside(place, tuple(_stages(place)), _size(place)) for place in places]


def delete(run: Path, names: Sequence[str] = ()) -> int:
    """Delete the named places (all if none is named) for good; return the bytes that this frees."""
    present: Mapping[str, SetAside] = {one.folder.name: one for one in superseded(run)}
    for name in names:
        if name not in present:
            raise UserError(f"nothing was set aside at {name!r} in {str(run)!r}; `posesyn superseded {run}` lists all")
    chosen = [present[name] for name in names or present]
    for one in chosen:
        shutil.rmtree(one.folder)
    return sum(one.size for one in chosen)


def restore(run: Path, name: str) -> Path | None:
    """Put back what was set aside at ``name``, with its recipe; what stands in its place is set aside in turn.

    Returns where that went. UserError if ``name`` is unknown.
    """
    place = run / FOLDER / name
    if not (place / RECIPE).is_file():
        raise UserError(f"nothing was set aside at {name!r} in {str(run)!r}; `posesyn superseded {run}` lists all")
    recipe = (place / RECIPE).read_text(encoding="utf-8")
    items = [path for path in sorted(place.iterdir()) if path.name != RECIPE]
    replaced = set_aside(run, [run / path.name for path in items])
    for path in items:
        path.rename(run / path.name)
    write_atomic(run / RECIPE, recipe)
    shutil.rmtree(place)
    return replaced


def _stages(place: Path) -> list[str]:
    return [path.name for path in sorted(place.iterdir()) if path.is_dir()]


def _size(place: Path) -> int:
    return sum(path.lstat().st_size for path in place.rglob("*") if not path.is_dir())
