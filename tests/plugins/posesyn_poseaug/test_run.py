"""A lifter in the whole loop: it mines, nothing is drawn for it, it is fine-tuned with PoseAug and measured."""

from pathlib import Path

import pytest

from posesyn_core.errors import UserError
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import load_recipe, parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_all

EXAMPLE = Path(__file__).parents[3] / "examples" / "lifter.toml"
SMALL = [
    *("dataset.count=32", "real.count=24", "test.count=24", "score.hard=3", "score.easy=6", "finetune.steps=8"),
    *("dataset.image_size=64", "real.image_size=64", "test.image_size=64", "animate.frame_stride=6"),
    *("synthesize.max_frames=40", "filter.tau=500", "animate.max_residual_mm=200", "finetune.augmenter.batch_size=16"),
]


@pytest.mark.slow
def test_the_loop_on_the_free_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path / "cache"))
    run = create_run(tmp_path / "run", load_recipe(EXAMPLE, SMALL), Registry.discover())
    run_all(run, lambda stage, summary: None)
    kept = run.require("filter")
    assert kept["kept"] > 0
    evaluated = run.require("evaluate")
    assert set(evaluated["variants"]) == {"shipped", "posesyn", "real_only"}
    for figures in evaluated["variants"].values():  # a few steps change little: norms keep their statistics
        assert 0 < figures["mpjpe"] < 1.05 * evaluated["variants"]["shipped"]["mpjpe"]


def test_an_estimator_that_looks_needs_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path / "cache"))
    recipe = parse_recipe(
        'animator = "none"\n[dataset]\nname = "world"\ncount = 6\nimage_size = 64\n'
        "[score]\nhard = 1\neasy = 2\n[synthesize]\nmax_frames = 40\n[animate]\nmax_residual_mm = 200\n"
    )
    run = create_run(tmp_path / "run", recipe, Registry.discover())
    with pytest.raises(UserError, match=r"'none' draws no person, but the estimator '\w+' looks at pictures"):
        run_all(run, lambda stage, summary: None)
