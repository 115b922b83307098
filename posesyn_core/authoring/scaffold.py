"""A new plugin: a package with a component that works, to be replaced piece by piece.

The files stand as templates beside this module: those of ``common/`` are every package's, those of a kind's own folder
its options, its component and its test. ``$name`` and the like are filled in (:func:`_words`).
"""

import importlib.util
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from posesyn_core.components import Kind
from posesyn_core.contracts.results import a
from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic

TEMPLATES = Path(__file__).parent / "templates"
TEST_OPTIONS: Mapping[Kind, str] = {Kind.READER: "--set root=FOLDER"}
"""What ``posesyn plugins test`` needs to be given beside the name."""


def new_package(kind: Kind, name: str, folder: Path) -> list[Path]:
    """Write the package ``folder/name`` with a component ``name`` of that kind; return its files.

    UserError if the name is no Python package's or is taken, or if the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"{name!r} can't be a package's name: take small letters, digits and _, such as my_{kind}")
    if name == kind or importlib.util.find_spec(name) is not None:
        raise UserError(f"there is a package {name!r} already; take another name, such as my_{kind}")
    root = folder / name
    if root.exists():
        raise UserError(f"{str(root)!r} exists already; choose another name or --out folder")
    files = _files(kind, name)
    for place, text in files.items():
        write_atomic(root / place, text)
    return [root / place for place in files]


def _files(kind: Kind, name: str) -> dict[Path, str]:
    """The package's files by their places in it."""
    package, common, own = Path(name), TEMPLATES / "common", TEMPLATES / kind
    sources = {
        Path("pyproject.toml"): common / "pyproject.toml",
        Path("README.md"): common / "README.md",
        package / "__init__.py": common / "__init__.py",
        package / "plugin.py": common / "plugin.py",
        package / "config.py": own / "config.py",
        package / f"{kind}.py": own / "component.py",
        Path("tests") / f"test_{kind}.py": own / "test_component.py",
    }
    words = _words(kind, name)
    texts = {place: _template(source).substitute(words) for place, source in sources.items()}
    return {**texts, package / "py.typed": ""}


def _template(source: Path) -> Template:
    return Template(source.with_name(f"{source.name}.template").read_text(encoding="utf-8"))


def _words(kind: Kind, name: str) -> dict[str, str]:
    words = [word for word in name.split("_") if word]
    return {
        "name": name,
        "package": name,
        "distribution": "-".join(words),
        "Class": "".join(word.capitalize() for word in words),
        "summary": " ".join(words).capitalize(),
        "kind": kind,
        "KIND": kind.name,
        "hook": kind.hook,
        "article": a(kind).partition(" ")[0],
        "test_options": TEST_OPTIONS.get(kind, ""),
    }
