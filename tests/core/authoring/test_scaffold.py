"""``posesyn new``: one package of each kind, installed as its author would, and its own test run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from posesyn_core import UserError
from posesyn_core.authoring.scaffold import new_package
from posesyn_core.cli import main
from posesyn_core.components import Kind

HOUSE = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The packages' sources, and a folder into which they were installed."""
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("site")
    for kind in Kind:
        new_package(kind, f"my_{kind}", sources)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", target, *sorted(sources.iterdir())], check=True)
    return sources, target


def run(site: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)


def test_a_package_of_each_kind_passes_its_own_test(site: tuple[Path, Path]) -> None:
    sources, target = site
    tests = [sources / f"my_{kind}" / "tests" for kind in Kind]
    done = run(target, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *tests)
    assert done.returncode == 0, done.stdout[-5000:]
    assert done.stdout.count(".") >= 2 * len(Kind)


def test_they_are_written_as_the_house_writes(site: tuple[Path, Path]) -> None:
    settings = ("--config", str(HOUSE / "pyproject.toml"), "--no-cache")
    for command in (("check", *settings), ("format", "--check", *settings)):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, site[0]], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_command_line_knows_them(site: tuple[Path, Path]) -> None:
    posesyn = ("-c", "from posesyn_core.cli import main; main()")
    listed = run(site[1], *posesyn, "plugins").stdout
    for kind in Kind:
        assert f"My {kind}  [my-{kind} 0.1.0]" in listed
    tried = run(site[1], *posesyn, "plugins", "test", "my_captioner")
    assert tried.returncode == 0 and "captions" in tried.stdout and "FAILED" not in tried.stdout


def test_the_command_says_what_it_wrote_and_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["new", "reader", "my_dataset", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert str(tmp_path / "my_dataset/my_dataset/reader.py") in said
    assert "posesyn plugins test my_dataset --set root=FOLDER" in said


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("My-Estimator", "can't be a package's name"),
        ("class", "can't be a package's name"),
        ("json", "there is a package 'json' already"),
        ("estimator", "there is a package 'estimator' already"),
        ("taken", "exists already"),
    ],
)
def test_names_that_can_not_be(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match=complaint):
        new_package(Kind.ESTIMATOR, name, tmp_path)
