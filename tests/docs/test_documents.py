"""README and docs, followed literally: every block runs in order, or says why not, and shows what it prints."""

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import click
import cv2
import pytest

from posesyn_core.cli.main import cli
from posesyn_core.errors import UserError
from posesyn_core.files.images import load_image
from posesyn_core.interface.making import read_samples
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from tests.docs.blocks import Block, alike, blocks, difference

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
LANGUAGES = ("console", "toml", "python", "text")
TOOLS = {
    "cd",
    "docker",
    "git",
    "hf",
    "make",
    "mkdir",
    "pip",
    "pipx",
    "python",
    "ray",
    "source",
    "torchrun",
    "uv",
    "wait",
}
"""Programs other than posesyn that documents may name."""


@pytest.fixture
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment: python, pip, posesyn; what is installed here is installed there too."""
    folder = tmp_path_factory.mktemp("fresh") / ".venv"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    site = next(folder.rglob("site-packages"))
    paths = [path for path in sys.path if path and Path(path).name == "site-packages"]
    lines = [f"import site; site.addsitedir({path!r})" for path in paths]
    (site / "a_installed_here.pth").write_text("\n".join(lines) + "\n")
    for name, module in (
        ("pip", "from pip._internal.cli.main import main"),
        ("posesyn", "from posesyn_core.cli import main"),
    ):
        script = programs / name
        script.write_text(f"#!{programs / 'python'}\nimport sys\n{module}\nsys.exit(main())\n")
        script.chmod(0o755)
    return programs


def follow(document: str, python: Path, folder: Path, slow: bool) -> None:
    """Run a document's blocks in order in ``folder``: those before the first slow one, or all."""
    prepare(folder)
    for block in blocks(ROOT / document):
        if block.slow and not slow:
            return
        try:
            run(block, python, folder)
        except AssertionError as error:
            raise AssertionError(f"{document}, line {block.line}: {error}") from None


def prepare(folder: Path) -> None:
    """What the documents take for granted: the repository's examples, photographs and one photograph."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "photos").mkdir()
    people = list(read_samples("world", part="lab", split="documents", count=3, labels="2d"))
    for at, person in enumerate(people):
        cv2.imwrite(str(folder / "photos" / f"{at}.jpg"), load_image(person.image)[..., ::-1])
    shutil.copy(folder / "photos" / "0.jpg", folder / "photo.jpg")


def run(block: Block, python: Path, folder: Path) -> None:
    """Run one block, or parse it if that is all that the text asks for."""
    assert block.language in LANGUAGES, f"a block of {block.language or 'no language'}; name one of {LANGUAGES}"
    if block.language == "toml":
        check_toml(block)
        if block.title:
            (folder / block.title).write_text(block.text)
    elif block.only_parsed or block.language == "text":
        parse(block)
    elif block.language == "python":
        shell(f"python - <<'END'\n{block.text}\nEND", python, folder)
    else:
        for command, shown in block.commands():
            printed = shell(command, python, folder)
            fault = difference(shown, printed.splitlines(), block.tolerance)
            assert not fault, f"`{command}`: {fault}\n{printed}"


def shell(command: str, python: Path, folder: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "PIP_NO_BUILD_ISOLATION": "1",  # as if the package index were at hand
        "PIP_NO_DEPS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"`{command}` ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def parse(block: Block) -> None:
    """UserError or AssertionError if a command names an option, a command or a program that there is not."""
    if block.language == "python":
        compile(block.text, "document", "exec")
    if block.language != "console":
        return
    for command, _ in block.commands():
        for part in parts_of(shlex.split(command, comments=True)):
            check_command(part)


def parts_of(words: list[str]) -> list[list[str]]:
    """The single commands of a line of several."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", ";", "&"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def check_command(words: list[str]) -> None:
    while words and "=" in words[0] and not words[0].startswith("-"):
        words = words[1:]
    if "posesyn" in words[1:] and words[0] == "torchrun":
        words = words[words.index("posesyn") :]
    if not words:
        return
    if words[0] != "posesyn":
        assert words[0] in TOOLS, f"{words[0]!r} is a program that these documents don't name"
        return
    command: click.Command = cli
    words = words[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]!r}"
        command, words = found, words[1:]
    try:
        command.make_context(command.name or "", words)
    except click.exceptions.Exit:
        pass
    except click.ClickException as error:
        raise AssertionError(f"`posesyn {command.name} {' '.join(words)}`: {error.format_message()}") from None


def check_toml(block: Block) -> None:
    """Keys and values are those of recipes: a block that names no data set gets one."""
    data = tomllib.loads(block.text)
    if set(data) <= {"project"}:
        return
    try:
        parse_recipe(block.text if "dataset" in data else f'dataset = "none"\n{block.text}')
    except UserError as error:
        raise AssertionError(str(error)) from None


@pytest.fixture(scope="module", autouse=True)
def all_commands() -> None:
    """Plugins add theirs to the command line."""
    Registry.discover().manager.hook.register_commands(cli=cli)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_shows_is_what_happens(document: str, python: Path, tmp_path: Path) -> None:
    follow(document, python, tmp_path, slow=False)


SLOW = [document for document in DOCUMENTS if any(block.slow for block in blocks(ROOT / document))]


@pytest.mark.slow
@pytest.mark.parametrize("document", SLOW)
def test_what_takes_longer_happens_too(document: str, python: Path, tmp_path: Path) -> None:
    follow(document, python, tmp_path, slow=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_of_a_known_language_and_can_be_parsed(document: str) -> None:
    for block in blocks(ROOT / document):
        assert block.language in LANGUAGES, f"line {block.line}"
        parse(block)
        if block.language == "toml":
            check_toml(block)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("score  60 samples", "score 61 samples", True),
        ("score  60 samples", "score 70 samples", False),
        ("ready", "needs weights", False),
        ("MPJPE 1,000.5", "MPJPE 1000.0", True),
        ("report: ...runs/mine", "report: /home/me/runs/mine", True),
        ("report: ...runs/mine", "report: /home/me/runs/yours", False),
    ],
)
def test_lines_are_alike_within_the_tolerance(shown: str, printed: str, same: bool) -> None:
    assert alike(shown, printed, 0.05) is same


def test_dots_stand_for_any_lines() -> None:
    assert not difference(["a", "...", "d"], ["a", "b", "c", "d"], 0)
    assert difference(["a", "d"], ["a", "b", "d"], 0) == "shown 'd', printed 'b'"
    assert difference(["a", "...", "e"], ["a", "b"], 0) == "shown 'e', printed 'b'"


@pytest.mark.parametrize("command", ["posesyn ran x", "posesyn run --nothing x", "posesyn engine bench", "rm -rf /"])
def test_a_command_that_there_is_not_is_noticed(command: str) -> None:
    with pytest.raises(AssertionError):
        check_command(shlex.split(command))
