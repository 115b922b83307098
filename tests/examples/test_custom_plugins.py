"""The example packages: installed as a third party would, found through their entry points, used in a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import folder_data_set

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which both example packages were installed."""
    target = tmp_path_factory.mktemp("site")
    sources = tmp_path_factory.mktemp("sources")
    for name in ("custom_estimator", "custom_animator"):
        source = sources / name
        subprocess.run(["cp", "-r", EXAMPLES / name, source], check=True)  # building leaves files beside the source
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*install, "--target", target, "--upgrade", source], check=True)
    return target


def posesyn(site: Path, *arguments: str | Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-c", "from posesyn_core.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_they_are_listed_with_their_origin(site: Path) -> None:
    listed = posesyn(site, "plugins")
    assert "My own estimator  [my-estimator 1.0.0]" in listed
    assert "Paints a puppet over the reference  [my-animator 1.0.0]" in listed


def test_the_custom_estimator_scores(site: Path, tmp_path: Path) -> None:
    recipe = folder_data_set(tmp_path, people=3)
    out = posesyn(site, "score", tmp_path / "run", "--recipe", recipe, "--set", "estimator=mine")
    assert "samples 3, rejected 0" in out
