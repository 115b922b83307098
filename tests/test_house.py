"""The rules of the house that CONTRIBUTING states, held against the sources and against what the documents say."""

import ast
import graphlib
import re
import tomllib

import pytest

from tests.house import ROOT, edges, files, imports, loads, package, room

CORE = ROOT / "posesyn_core"
LINES = 400
FILES_AT_THE_ROOT = 10


def contributing() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text()


def floors() -> list[list[str]]:
    """The rooms of each floor, the ground first: the line of CONTRIBUTING in which "|" parts the floors."""
    found = re.search(r"^(errors, .*?)```", contributing(), re.DOTALL | re.MULTILINE)
    assert found, "CONTRIBUTING states no floors"
    return [[name.strip() for name in floor.split(",")] for floor in found[1].split("|")]


def rooms() -> set[str]:
    """The rooms and files of the core as they are, by the names that imports have."""
    inside = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    return inside - {"__init__"}


def test_no_file_imports_itself_on_a_detour() -> None:
    try:
        graphlib.TopologicalSorter(edges()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_contributing_gives_every_room_a_floor() -> None:
    named = [name for floor in floors() for name in floor]
    assert sorted(named) == sorted(rooms())


def test_imports_of_the_core_go_down() -> None:
    height = {name: number for number, floor in enumerate(floors()) for name in floor}
    height["__init__"] = len(height)  # what plugin authors and Python users import stands on top of all
    up = [
        f"{module} -> {other}"
        for module, others in edges().items()
        for other in others
        if package(module) == package(other) == "posesyn_core" and height[room(module)] < height[room(other)]
    ]
    assert not up


def test_packages_know_the_core_alone() -> None:
    strangers = [
        f"{module} -> {other}"
        for module, others in edges().items()
        for other in others
        if package(other) not in (package(module), "posesyn_core")
    ]
    assert not strangers


def entry_points() -> list[str]:
    """The modules that are imported whenever ``posesyn`` starts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["entry-points"]["posesyn"].values())


def test_every_package_has_an_entry_point() -> None:
    assert {package(module) for module in entry_points()} == {package(module) for module in files()}


@pytest.mark.parametrize("module", entry_points())
def test_what_an_entry_point_names_loads_nothing_heavy(module: str) -> None:
    assert not loads(module)


def test_functions_import_only_what_would_make_loading_slow() -> None:
    needless = [
        f"{module}:{one.line} {one.module}"
        for module in files()
        for one in imports(module)
        if one.when == "call" and loads(one.module) <= loads(module)
    ]
    assert not needless, "these imports belong to the top of their files"


@pytest.mark.parametrize("module", ["posesyn_core", "posesyn_core.cli", "posesyn_core.registry"])
def test_what_every_command_loads_is_light(module: str) -> None:
    assert not loads(module)


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files().values()}
    assert not {name: length for name, length in lengths.items() if length > LINES}


def test_the_entrance_of_the_core_stays_small() -> None:
    assert len(list(CORE.glob("*.py"))) <= FILES_AT_THE_ROOT


def the_map() -> tuple[set[str], set[str]]:
    """Names at the root, and within the core, of the map in CONTRIBUTING: its first block of code, by indentation."""
    block = contributing().split("```")[1]
    names = re.findall(r"^(  )?([\w./]+)(?:  |$)", block, re.MULTILINE)
    return {name for indent, name in names if not indent}, {name for indent, name in names if indent}


def test_the_map_in_contributing_shows_the_house() -> None:
    outside, inside = the_map()
    sources = {path.parent for path in (*ROOT.glob("*/*.py"), *ROOT.glob("*/*/*.py"), *ROOT.glob("*/*.toml"))}
    at_the_root = {path.relative_to(ROOT).parts[0] for path in sources}
    assert outside == {f"{name}/" for name in at_the_root if not name.startswith(".") and name != "build"}
    assert inside == {f"{name}/" if (CORE / name).is_dir() else f"{name}.py" for name in rooms() | {"__init__"}}


def test_the_documents_list_every_plugin() -> None:
    listed = re.findall(r"^\| `(posesyn_\w+)`", (ROOT / "docs" / "plugins.md").read_text(), re.MULTILINE)
    here = [package(module) for module in entry_points() if "@hookimpl" in files()[module].read_text()]
    assert sorted(set(listed)) == sorted({*here} - {"posesyn_core"})


def test_text_is_read_and_written_as_utf_8_on_every_system() -> None:
    guilty = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in ("read_text", "write_text") and "encoding" not in [each.arg for each in node.keywords]
    ]
    assert not guilty, "Windows has another encoding: say encoding='utf-8'"
