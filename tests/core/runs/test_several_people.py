"""Several people in one picture: each a sample, the others hidden on demand, together in the report."""

import json
from pathlib import Path

import numpy as np
import pytest

from posesyn_core import UserError
from posesyn_core.files.images import encode_jpeg, load_image
from posesyn_core.pipeline.run import Run, create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from tests.tiny import people

REAL = "real=[{name='folder', root='DATA'}]"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of two people each, who overlap."""
    folder = tmp_path_factory.mktemp("pairs")
    entries = []
    for number in range(2):
        first, second = people(4, "lab")[2 * number : 2 * number + 2]
        images = [load_image(each.image) for each in (first, second)]
        width = images[0].shape[1]
        step = width // 3
        picture = np.hstack([images[0][:, : width - step], images[1][:, step:]])
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(picture))
        for each, shift in ((first, 0), (second, width - 2 * step)):
            points = np.column_stack([each.keypoints2d + np.array([shift, 0]), each.confidence])
            box = (each.box + np.array([shift, 0, shift, 0])).clip(0, [*2 * [picture.shape[1] - 1, width - 1]])
            entries.append({"image": f"{number}.jpg", "box": box.tolist(), "keypoints": points.tolist()})
    (folder / "keypoints.json").write_text(json.dumps({"joint_set": "smpl24", "people": entries}))
    (folder / "recipe.toml").write_text(
        f'dataset = {{ name = "folder", root = "{folder}" }}\n[score]\nhard = 2\neasy = 2\n'
        "[synthesize]\nmax_frames = 40\n[animate]\nframe_stride = 20\n[filter]\ntau = 1000\n"
    )
    return folder


def finished(data: Path, folder: Path, *settings: str) -> Run:
    training = (REAL.replace("DATA", str(data)), "finetune.steps=1", "finetune.batch_size=4")
    run = create_run(folder, load_recipe(data / "recipe.toml", (*training, *settings)), Registry.discover())
    for stage in ("score", "select", "caption", "synthesize", "animate", "filter", "finetune", "report"):
        run_stage(run, stage)
    return run


def test_everybody_is_a_sample_and_the_report_shows_them_together(data: Path, tmp_path: Path) -> None:
    seen = finished(data, tmp_path / "seen")
    hidden = finished(data, tmp_path / "hidden", "neighbours=masked")
    ids = [[scored.sample.id for scored in run.scored.values()] for run in (seen, hidden)]
    assert len(set(ids[0])) == 4 and ids[0] == ids[1]
    assert [len(scored.sample.neighbours) for scored in seen.scored.values()] == [0] * 4
    assert [len(scored.sample.neighbours) for scored in hidden.scored.values()] == [1] * 4
    errors = [np.array([error for _, error in run.scored.column("error")]) for run in (seen, hidden)]
    assert (errors[0] != errors[1]).all()  # it sees other pictures
    frames = list(hidden.frames.values())
    assert frames and all(len(each.frame.neighbours) == 1 for each in frames)  # they stay in the background
    for run, says in ((seen, False), (hidden, True)):
        report = (run.folder / "report.html").read_text()
        pictures = {selected.scored.sample.image for selected in run.of_role("hard")}
        assert report.count('alt="2 people in ') == len(pictures)
        assert ("hidden from the estimator" in report) == says


def test_other_words_for_neighbours_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neighbours"):
        load_recipe(data / "recipe.toml", ("neighbours=gone",))
