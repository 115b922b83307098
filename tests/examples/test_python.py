"""The scripts of examples/python, run as a reader of theirs would."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posesyn_core import run
from posesyn_core.files.images import load_image
from tests.tiny import folder_data_set, people

SCRIPTS = Path(__file__).parents[2] / "examples/python"


def script(name: str, *arguments: str | Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, SCRIPTS / name, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path, source = tmp_path / "photo.jpg", people(4)[0].image
    assert isinstance(source, Path)
    path.write_bytes(source.read_bytes())
    return path


def test_they_are_short() -> None:
    for path in SCRIPTS.glob("*.py"):
        assert 10 <= len(path.read_text().splitlines()) <= 20, path.name


def test_estimate(photograph: Path) -> None:
    lines = script("estimate.py", photograph).splitlines()
    assert len(lines) == 24 and lines[0].startswith("pelvis ") and lines[0].endswith("+0 mm behind the pelvis")
    boxed = script("estimate.py", photograph, *people(4)[0].box)
    assert boxed.splitlines() != lines


def test_score_folder(tmp_path: Path) -> None:
    folder_data_set(tmp_path, people=4)
    lines = script("score_folder.py", tmp_path).splitlines()
    errors = [float(line.split()[0]) for line in lines]
    assert len(errors) == 4 and errors == sorted(errors, reverse=True)


def test_motion(photograph: Path, tmp_path: Path) -> None:
    script("motion.py", photograph, "a person jumps", tmp_path / "motion.npz")
    motion = np.load(tmp_path / "motion.npz")
    assert motion["joints"].shape[1:] == (22, 3) and np.isfinite(motion["joints"]).all() and motion["fps"] == 20


def test_animate(photograph: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    lines = script("animate.py", photograph, "a person waves", tmp_path / "out").splitlines()
    frames = sorted((tmp_path / "out").glob("*.jpg"))
    assert len(frames) == len(lines) > 0
    assert load_image(frames[-1]).shape == load_image(photograph).shape
    assert not np.array_equal(load_image(frames[0]), load_image(frames[-1]))


def test_read_run(tmp_path: Path) -> None:
    recipe = folder_data_set(tmp_path, people=5)
    done = run(recipe, tmp_path / "run", ["filter.tau=1000", "export.formats=[]"])
    assert done.figures("filter")["kept"] > 0
    lines = script("read_run.py", tmp_path / "run").splitlines()
    assert lines[0] == "5 people scored, 0 rejected; the hardest:" and "pose (24, 3)" in lines[1]
    assert "frames kept" in lines[-1] and not lines[-1].startswith("0 of")
