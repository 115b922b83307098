"""What ``posesyn_core`` offers to Python: light to import, and the same as the stages do."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import posesyn_core
from posesyn_core import Sample, SampleError, UserError
from posesyn_core.files.images import encode_png
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from tests.tiny import folder_data_set, people


def test_everything_it_offers_is_there_and_documented() -> None:
    for name in posesyn_core.__all__:
        assert (getattr(posesyn_core, name).__doc__ or "").strip() and name in dir(posesyn_core)
    with pytest.raises(AttributeError, match="no attribute 'estimator'"):
        posesyn_core.estimator  # noqa: B018


def test_to_import_it_loads_nothing_heavy() -> None:
    code = "import posesyn_core, sys; print({'torch', 'cv2', 'pyarrow', 'PIL', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_a_component_is_made_by_its_words(tmp_path: Path) -> None:
    folder_data_set(tmp_path, people=2)
    assert len(list(posesyn_core.make("reader", "folder", root=tmp_path).samples())) == 2
    with pytest.raises(UserError, match=r"make\('filter', 'tpe_error'\): 'tau' must be above 0"):
        posesyn_core.make("filter", "tpe_error", tau=-1.0)
    with pytest.raises(UserError, match="no kind of component 'estimators'; the kinds are estimator, "):
        posesyn_core.make("estimators", "spin")


def test_broken_entries_of_a_data_set_are_told(tmp_path: Path) -> None:
    folder_data_set(tmp_path, people=3)
    labels = json.loads((tmp_path / "keypoints.json").read_text())
    labels["people"][1]["keypoints"] = [[1, 2, 3]]
    (tmp_path / "keypoints.json").write_text(json.dumps(labels))
    with pytest.warns(UserWarning, match="folder/all/.*1.* is left out"):
        assert len(list(posesyn_core.read_samples("folder", root=tmp_path))) == 2


def test_a_sample_of_a_picture() -> None:
    picture = encode_png(np.zeros((40, 60, 3), np.uint8))
    whole = posesyn_core.load_sample(picture)
    np.testing.assert_array_equal(whole.box, [0, 0, 59, 39])
    assert not whole.confidence.any()
    labels = np.zeros((17, 3))
    labels[[5, 16]] = [[10, 10, 1], [30, 35, 1]]
    labelled = posesyn_core.load_sample(picture, keypoints=labels, joints="coco17")
    assert labelled.confidence.sum() == 2 and labelled.box[0] < 10 and labelled.box[3] > 35
    with pytest.raises(SampleError, match="must be 24 rows"):
        posesyn_core.load_sample(picture, keypoints=labels)
    with pytest.raises(SampleError, match="has no area"):
        posesyn_core.load_sample(picture, box=(5, 5, 5, 9))


def test_estimates_and_scores_are_those_of_a_run(tmp_path: Path) -> None:
    from posesyn_core.runs.stages import run_stage

    run = create_run(tmp_path / "run", load_recipe(folder_data_set(tmp_path, people=3)), Registry.discover())
    run_stage(run, "score")
    table = posesyn_core.open_run(tmp_path / "run")
    samples = list(posesyn_core.read_samples("folder", root=tmp_path))
    results = posesyn_core.score(samples, posesyn_core.estimate(posesyn_core.make("estimator", "starter"), samples))
    assert not [r for r in results if isinstance(r, SampleError)]
    arrays = table.arrays("score")
    assert arrays["unit"].tolist() == [sample.id for sample in samples]
    np.testing.assert_array_equal(arrays["error"], [r.error for r in results if not isinstance(r, SampleError)])
    assert arrays["estimate.joints2d"].shape == (3, 24, 2) and arrays["sample.keypoints2d"].shape == (3, 24, 2)
    assert np.isnan(arrays["sample.camera.focal_length"]).all() and arrays["sample.camera.focal_length"].shape == (3, 2)
    assert table.figures("score")["samples"] == 3 and table.rejected("score") == {} and len(table.values("score")) == 3
    with pytest.raises(UserError, match="'score' has no column 'errors'; it has unit, "):
        table.arrays("score", "errors")
    with pytest.raises(UserError, match="'export' has no table"):
        table.arrays("export")


def test_a_sample_that_cannot_be_estimated_has_no_score(tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    good = people(4)[0]
    bad = Sample("bad", tmp_path / "no.jpg", good.box, good.joint_set, good.keypoints2d, good.confidence)
    estimates = posesyn_core.estimate(posesyn_core.make("estimator", "starter"), [bad, good])
    assert isinstance(estimates[0], SampleError)
    refused, scored = posesyn_core.score([bad, good], estimates)
    assert isinstance(refused, SampleError) and not isinstance(scored, SampleError)


def test_a_motion_needs_something_to_go_by() -> None:
    with pytest.raises(UserError, match="needs a text, a pose or both"):
        posesyn_core.generate(posesyn_core.make("motion", "t2mgpt"))


def test_an_engine_takes_over_a_network_only_where_there_is_one() -> None:
    class Whole:
        def predict(self, samples: list[Sample]) -> list:
            return []

    with pytest.raises(UserError, match="no network of its own"):
        posesyn_core.estimate(Whole(), [], engine=posesyn_core.make("engine", "torch"))
