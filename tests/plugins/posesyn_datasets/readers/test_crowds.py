"""Real crowds: joints by the names in the files, everybody a sample, neighbours hidden from the estimator."""

from pathlib import Path

import numpy as np
import pytest
import tomli_w

from posesyn_core.components import Kind
from posesyn_core.files.images import load_image
from posesyn_core.geometry.skeletons import convert, joint_set
from posesyn_core.inference.neighbours import hidden, with_neighbours
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import Sample

CROWDS = {
    "crowdpose": ("test_crowdpose.json", "crowdpose14", 4),
    "ochuman": ("test_ochuman.json", "coco17", 5),
    "posetrack18": ("annotations/test_posetrack18_val.json", "posetrack17", 14),
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def people(shared: Path, name: str, registry: Registry) -> list[Sample]:
    file, _, _ = CROWDS[name]
    options = {"root": str(shared / "data/images" / name), "annotations": file}
    reader = registry.create(Kind.READER, "coco", options, "here")
    return [entry for entry in with_neighbours(reader.samples) if isinstance(entry, Sample)]


@pytest.mark.filterwarnings("ignore:pictures are not where")
@pytest.mark.parametrize("name", CROWDS)
def test_crowds_are_read_by_the_names_of_their_joints(shared: Path, registry: Registry, name: str) -> None:
    _, joints, count = CROWDS[name]
    found = people(shared, name, registry)
    assert {sample.joint_set for sample in found} == {joints}
    assert len(found) == len({sample.id for sample in found}) == count
    for sample in found:
        points, known = convert(sample.keypoints2d, sample.confidence > 0, joints, "coco17")
        left, right = (joint_set("coco17").joints.index(f"{side}_shoulder") for side in ("left", "right"))
        if known[[left, right]].all():  # both shoulders are within the person's box, or nearly
            low, high = sample.box[:2], sample.box[2:]
            assert ((points[[left, right]] > low - 20) & (points[[left, right]] < high + 20)).all()
    assert max(len(sample.neighbours) for sample in found) >= 1


@pytest.mark.filterwarnings("ignore:pictures are not where")
@pytest.mark.parametrize("name", CROWDS)
def test_neighbours_are_hidden_and_the_person_is_not(shared: Path, registry: Registry, name: str) -> None:
    for sample in people(shared, name, registry):
        before, after = load_image(sample.image), load_image(hidden(sample).image)
        joints = np.round(sample.keypoints2d[sample.confidence > 0]).astype(int)
        inside = joints[((joints >= 0) & (joints < before.shape[1::-1])).all(1)]
        np.testing.assert_array_equal(after[inside[:, 1], inside[:, 0]], before[inside[:, 1], inside[:, 0]])
        assert (before != after).any() == bool(sample.neighbours)


def test_a_crowd_is_scored_with_its_neighbours_hidden(shared: Path, registry: Registry, tmp_path: Path) -> None:
    folder = shared / "data/images/ochuman"
    recipe = {
        "dataset": {"name": "coco", "root": str(folder), "annotations": "test_ochuman.json"},
        "neighbours": "masked", "score": {"hard": 2, "easy": 2},
    }  # fmt: skip
    run = create_run(tmp_path, parse_recipe(tomli_w.dumps(recipe)), registry)
    assert run_stage(run, "score")["samples"] == 5
    run_stage(run, "select")
    run_stage(run, "report")
    assert "Several people in one picture" in (run.folder / "report.html").read_text()
