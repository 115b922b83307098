"""Work that other settings have taken the place of: set aside below ``.superseded``, never deleted unasked.

``.superseded/<time>/`` holds what one command set aside, laid out as in the run folder, with the ``recipe.toml`` that
the run had and the names of what was moved (``moved.jsonl``).
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from attrs import frozen

from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.order import RECIPE
from posesyn_core.progress import tell

FOLDER = ".superseded"
MOVED = "moved.jsonl"
_RECIPES = (RECIPE, ".recipe.json", "rounds.toml")
_CHEAP = re.compile(r"inputs\.json|rejected\.jsonl|.*-truth\.jpg")
"""What a stage writes before it knows whether it can be done."""
_BEGINNINGS = re.compile(rf"[^/]+/({_CHEAP.pattern})|animate/(references|squares)(/.*)?|(select|filter)/\d+\.parquet")
"""That, and what costs seconds."""
_BOOKS = ("inputs.json", "done.json")
_moments: dict[Path, dict[Path, set[str]]] = {}
"""The runs that commands of this process work on, the places that each has set things aside in, and what."""


@frozen
class SetAside:
    """What was set aside at one moment: the stages that it concerns, and how much room it takes."""

    folder: Path
    stages: tuple[str, ...]
    size: int


@contextlib.contextmanager
def one_moment(run: Path, alone: bool = True) -> Iterator[None]:
    """What a command sets aside within lies in one place; calls within calls are part of the outermost.

    A command that works ``alone`` on the run, and fails before it has made anything, leaves the run as it was: what was
    set aside is put back, and the recipe is the old one.
    """
    run = run.absolute()
    if run in _moments:
        yield
        return
    recipes, before = (_recipes(run), _made(run)) if alone else ({}, set())
    places = _moments[run] = {}
    try:
        yield
    except BaseException:
        if recipes and _made(run) <= before:
            with contextlib.suppress(OSError):  # the command's own error is told; what could not be moved is listed
                _put_back(run, list(places))
                for path, text in recipes.items():
                    if path.read_bytes() != text:
                        write_atomic(path, text)
        raise
    finally:
        del _moments[run]


def set_aside(run: Path, paths: Iterable[Path]) -> Path | None:
    """Move files and folders of a run to a place below ``.superseded``, which is returned; None if none is there.

    They are moved in the order given, each at once: after a kill it is in one place or in the other.
    """
    names = [str(path.relative_to(run)) for path in paths if os.path.lexists(path)]
    if not names:
        return None
    place = _place(run.absolute(), names)
    with (place / MOVED).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(name) + "\n" for name in names)
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another shard was faster
            (run / name).rename(place / name)
    return place


def superseded(run: Path) -> list[SetAside]:
    """Everything that was set aside, the oldest first."""
    places = sorted(path for path in (run / FOLDER).glob("*") if path.is_dir())
    return [SetAside(place, tuple(_stages(place)), _size(place)) for place in places]


def named(run: Path, names: Sequence[str] = ()) -> list[SetAside]:
    """The places of these names (all if none is named); UserError if one is not there."""
    present: Mapping[str, SetAside] = {one.folder.name: one for one in superseded(run)}
    for name in names:
        if name not in present:
            raise UserError(f"nothing was set aside at {name!r} in {str(run)!r}; `posesyn superseded {run}` lists all")
    return [present[name] for name in names or present]


def delete(run: Path, names: Sequence[str] = ()) -> int:
    """Delete the named places (all if none is named) for good; return the bytes that this frees."""
    chosen = named(run, names)
    for one in chosen:
        shutil.rmtree(one.folder)
    return sum(one.size for one in chosen)


def moved(place: Path) -> list[str]:
    """The names of what was moved to a place and is still there, in the order in which it was moved."""
    try:
        lines = (place / MOVED).read_bytes().splitlines()
    except OSError:  # an older place
        names = [path.name for path in sorted(place.iterdir()) if path.name not in (RECIPE, MOVED)]
    else:
        names = [name for line in lines if (name := _name(line))]
    return [name for name in dict.fromkeys(names) if os.path.lexists(place / name)]


def _name(line: bytes) -> str:
    """What a line names within the run; "" if it is damaged, as of a killed command."""
    try:
        name = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    sound = isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts
    return name if sound else ""


def empty(place: Path) -> None:
    """Remove a place from which everything has gone back; files of the user's stay."""
    for name in (RECIPE, MOVED):
        (place / name).unlink(missing_ok=True)
    for folder, _, _ in os.walk(place, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def _place(run: Path, names: Sequence[str]) -> Path:
    """The place of the present command, or a new one, if these names can't lie there."""
    places = _moments.get(run, {})
    place = next(reversed(places), None)
    if place is None or any(_collides(place, places[place], name) for name in names):
        place = _new_place(run)
        if (run / RECIPE).is_file():
            shutil.copy2(run / RECIPE, place / RECIPE)
        places[place] = set()
    places[place].update(names)
    return place


def _collides(place: Path, there: Collection[str], name: str) -> bool:
    """Whether a name is taken in a place, or lies in what was moved there as a whole."""
    return os.path.lexists(place / name) or any(str(parent) in there for parent in Path(name).parents)


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


def _put_back(run: Path, places: Sequence[Path]) -> None:
    """Undo what was set aside; what a stage has begun since is set aside instead."""
    for place in reversed(places):
        for name in reversed(moved(place)):
            target = run / name
            if target.is_dir() and not target.is_symlink():
                for begun in target.iterdir():
                    if _CHEAP.fullmatch(begun.name) and begun.is_file():
                        begun.unlink()
                with contextlib.suppress(OSError):
                    target.rmdir()
            if os.path.lexists(target) and target.name not in _BOOKS:
                _moments[run] = {}  # in a place of its own
                set_aside(run, [target])
            (place / name).replace(target)
        empty(place)
    if places:
        tell("nothing was made, so what had been set aside is in its place again")


def _recipes(run: Path) -> dict[Path, bytes]:
    found: dict[Path, bytes] = {}
    for path in (run / name for name in _RECIPES):
        with contextlib.suppress(OSError):
            found[path] = path.read_bytes()
    return found


def _made(run: Path) -> set[tuple[str, int, int]]:
    """The files that stages have made, and their folders, each as the very one that it is."""
    found = set[tuple[str, int, int]]()
    for stage in run.glob("[!.]*/"):
        paths = [*stage.glob("*"), *stage.glob("*/*")]
        for path in paths:
            name = path.relative_to(run).as_posix()
            with contextlib.suppress(OSError):
                state = path.lstat()
                if not _BEGINNINGS.fullmatch(name):
                    found.add((name, state.st_ino, 0 if path.is_dir() else state.st_mtime_ns))
    return found


def _stages(place: Path) -> list[str]:
    return [path.name for path in sorted(place.iterdir()) if path.is_dir()]


def _size(place: Path) -> int:
    return sum(path.lstat().st_size for path in place.rglob("*") if not path.is_dir())
