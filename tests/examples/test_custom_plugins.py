"""The example packages: installed as a third party would, found through their entry points, used in a run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posesyn_core.method.orientation import camera_to_y_up
from tests.hard import hard_run
from tests.tiny import folder_data_set

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example packages were installed."""
    target = tmp_path_factory.mktemp("site")
    sources = tmp_path_factory.mktemp("sources")
    for name in ("custom_estimator", "custom_animator", "custom_augmenter", "retrieval_motion"):
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
    assert "Blends every pose with another one  [my-augmenter 1.0.0]" in listed
    assert "Goes on from the most similar moment of real recordings  [my-retrieval 1.0.0]" in listed


def test_the_custom_estimator_scores(site: Path, tmp_path: Path) -> None:
    recipe = folder_data_set(tmp_path, people=3)
    out = posesyn(site, "score", tmp_path / "run", "--recipe", recipe, "--set", "estimator=mine")
    assert "3 samples, 0 rejected" in out


def test_the_retrieving_generator_synthesizes(site: Path, tmp_path: Path) -> None:
    run = hard_run(tmp_path / "run", 2, captions=["A person walks.", "A person jumps."])
    recordings = tmp_path / "motions.npz"
    joints = np.stack([camera_to_y_up(s.scored.estimate.joints3d[:22]) for s in run.of_role("hard")])
    np.savez(recordings, joints=np.repeat(joints, 50, 0), offsets=[0, 50, 100], texts=['["walks"]', '["jumps"]'])
    recipe = tmp_path / "run/recipe.toml"
    recipe.write_text(recipe.read_text().replace('"t2mgpt"', f'"retrieval"\nmotions = "{recordings}"'))
    assert "2 motions, 100 frames, 0 rejected" in posesyn(site, "synthesize", tmp_path / "run")
    for motion, pose in zip(run.motions.values(), joints, strict=True):
        np.testing.assert_allclose(
            motion.joints - motion.joints[:, :1], (pose - pose[:1])[None].repeat(50, 0), atol=1e-5
        )
