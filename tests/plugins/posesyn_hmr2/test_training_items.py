"""4D-Humans' shards as HMR 2.0 wants them: all that they say, read when it is needed, in the published mixture."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from posesyn_core import UserError
from posesyn_core.files.images import read_encoded
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.pipeline.finetune import trainable
from posesyn_core.pipeline.real_data import real_data
from posesyn_core.pipeline.run import FilteredFrame, Run, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe, unstructure
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.training.sources import Joined, Weighted
from posesyn_core.values import FileSlice, LabelledFrame, Verdict
from posesyn_hmr2.people import Person
from posesyn_hmr2.reader import Hmr2Reader, Hmr2ReaderConfig
from posesyn_hmr2.writers import Hmr2TarWriter, Hmr2TarWriterConfig
from tests.tiny import people


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    frames = map(labelled_frame, people(6, "lab"))
    Hmr2TarWriter(Hmr2TarWriterConfig(frames_per_shard=4)).write(frames, folder)
    return folder


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def started(folder: Path, registry: Registry, real: list[dict[str, Any]], estimator: str = "hmr2") -> Run:
    """A run up to its fine-tuning, with one synthesised frame."""
    recipe = {
        "dataset": "none", "real": real, "estimator": {"name": estimator, "weights": "random", "body": "free"},
        "finetune": {"steps": 2, "batch_size": 4, "ratio": 0.25, "learning_rate": 1e-5},
    }  # fmt: skip
    run = create_run(folder / "run", parse_recipe(tomli_w.dumps(recipe)), registry)
    frame = labelled_frame(people(1, "lab")[0])
    run.frames.write_part(0, [Row(frame.id, FilteredFrame("clip", 0, frame, Verdict(True, 1.0)))])
    run.finish("filter", {})
    return run


def test_items_have_all_joints_and_leave_their_pictures_in_the_shard(shards: Path) -> None:
    reader = Hmr2Reader(Hmr2ReaderConfig(str(shards)))
    items = [item for item in reader.training_items() if isinstance(item, Person)]
    samples = list(reader.samples())
    assert len(items) == len(samples) == 6
    for item, sample in zip(items, samples, strict=True):
        assert isinstance(item.image, FileSlice) and item.image.path.parent == shards
        assert read_encoded(item.image) == getattr(sample, "image", None)
        assert (item.keypoints_2d[:, 2] > 0).sum() > (getattr(sample, "confidence", 0) > 0).sum()


def test_the_estimator_gets_its_own_people_and_others_get_frames(
    shards: Path, tmp_path: Path, registry: Registry
) -> None:
    real: list[dict[str, Any]] = [{"name": "hmr2", "path": str(shards)}]
    for estimator, kind in (("hmr2", Person), ("spin", LabelledFrame)):
        run = started(tmp_path / estimator, registry, real, estimator)
        data = real_data(run, trainable(run))
        assert isinstance(data, Joined) and {type(item) for item in data} == {kind}
        assert len(data) == 6
        assert run_stage(run, "finetune")["real"] == 6
        assert (run.folder / "finetune/hmr2-truth.jpg").is_file()


def test_mixtures_are_the_recipes_or_the_published(shards: Path, tmp_path: Path, registry: Registry) -> None:
    shard = {"name": "hmr2", "path": str(shards)}
    published = [{**shard, "label": "H36M"}, {**shard, "label": "insta"}]
    own = [{**shard, "label": "a", "weight": 3}, {**shard, "label": "b", "weight": 1.0}]
    unknown = [{**shard, "label": "H36M"}, {**shard, "label": "mine"}]
    found = []
    for number, real in enumerate((published, own, unknown)):
        run = started(tmp_path / str(number), registry, real)
        data = real_data(run, trainable(run))
        found.append(data.weights if isinstance(data, Weighted) else None)
    assert found == [{"H36M": pytest.approx(1 / 3), "insta": pytest.approx(2 / 3)}, {"a": 0.75, "b": 0.25}, None]
    run = started(tmp_path / "3", registry, own)
    assert unstructure(run.recipe)["real"][0]["weight"] == 3
    assert run_stage(run, "finetune")["mixture"] == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize(
    ("real", "message"),
    [
        ([{"label": "a", "weight": 1.0}, {"label": "b"}], "'b' has no weight"),
        ([{"label": "a", "weight": 1.0}, {"label": "a", "weight": 1.0}], "called alike"),
        ([{"label": "a", "weight": 0}], "above 0"),
        ([{"label": "a", "weight": "much"}], "weight|number"),
    ],
)
def test_senseless_weights_are_the_users_mistake(
    shards: Path, tmp_path: Path, registry: Registry, real: list[dict[str, Any]], message: str
) -> None:
    sections = [{"name": "hmr2", "path": str(shards), **each} for each in real]
    with pytest.raises(UserError, match=message):
        run = started(tmp_path, registry, sections)
        real_data(run, trainable(run))
