"""A whole small run whose frames show the field's person, with the free default for everything else."""

from pathlib import Path

import numpy as np
import pytest

from posesyn_core.files.images import load_image
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from tests.tiny import folder_data_set

SIZE = 96
SETTINGS = (
    "score.easy=1", "score.hard=2", "animate.max_frames=3", "animate.keep_dropped=true", "filter.tau=400",
    "finetune.steps=2", "finetune.batch_size=2", f"animator={{name='anerf', size={SIZE}, people=3}}",
)  # fmt: skip


def run_with(folder: Path, *settings: str) -> Run:
    recipe = folder_data_set(folder / "data", people=4, part="lab")
    return create_run(folder / "run", load_recipe(recipe, (*SETTINGS, *settings)), Registry.discover())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = run_with(tmp_path_factory.mktemp("anerf"))
    for stage in STAGES[: STAGES.index("finetune") + 1]:
        run_stage(made, stage)
    return made


def test_frames_show_the_fields_person_on_white(run: Run) -> None:
    figures = run.summary("animate")
    assert figures is not None and figures["references"] == 3 and figures["rejected"] == 0
    assert "shape" not in figures  # the starter's person is of the free body, betas and all
    for clip in run.clips.values():
        assert clip.plan.reference.id.startswith("anerf/starter/")
        image = load_image(clip.frames[0].image)
        assert image.shape == (SIZE, SIZE, 3) and (image[0] > 250).all()
        x, y = clip.plan.joints2d[0, 3].round().astype(int)  # in the belly
        assert image[y, x].min() < 230


def test_labels_lie_on_the_person(run: Run) -> None:
    for clip in run.clips.values():
        for at, frame in enumerate(clip.frames):
            image = load_image(frame.image)
            inside = clip.plan.joints2d[at].round().astype(int)
            seen = [image[y, x].min() < 240 for x, y in inside if 0 <= x < SIZE and 0 <= y < SIZE]
            assert np.mean(seen) > 0.7


def test_the_estimator_is_trained_on_the_frames(run: Run) -> None:
    figures = run.summary("finetune")
    assert figures is not None and figures["variants"]
    kept = [row for row in run.frames.values() if row.verdict.keep]
    assert kept and all(row.frame.smpl is not None and row.frame.smpl.shape_known for row in kept)


def test_a_person_of_other_proportions_teaches_no_shape(tmp_path: Path) -> None:
    made = run_with(tmp_path, "animator.unit=1.9")
    for stage in STAGES[: STAGES.index("filter") + 1]:
        run_stage(made, stage)
    figures = made.summary("animate")
    assert figures is not None and figures["shape"].startswith("3 of the animator's 3 people have no betas")
    assert all(row.frame.smpl is not None and not row.frame.smpl.shape_known for row in made.frames.values())
    run_stage(made, "report")
    assert "no shape is learnt from their frames" in (made.folder / "report.html").read_text()
