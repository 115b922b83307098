"""Pictures that nobody labelled: people found by a detector, labelled by a 2D estimator, mined to the last stage."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from posesyn_core.cli import main
from posesyn_core.components import Kind
from posesyn_core.files.images import load_image
from posesyn_core.pipeline.run import open_run
from posesyn_core.registry import Registry
from tests.onnx_graphs import detector_graph, keypoint_graph
from tests.tiny import people


def test_unlabelled_pictures_through_the_command_line(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, sample in enumerate(people(4, "lab")):
        assert isinstance(sample.image, Path)
        (pictures / f"{number}.jpg").write_bytes(sample.image.read_bytes())
    (pictures / "broken.jpg").write_bytes(b"no picture")
    mix = np.random.default_rng(0).dirichlet(np.ones(3), 17)  # every joint is a bright pixel of a colour of its own
    (tmp_path / "recipe.toml").write_text(f"""
[dataset]
name = "images"
root = "{pictures}"
detector = {{ name = "yolox", model = "{detector_graph(tmp_path / "people.onnx", brighter_than=100)}" }}
[labeller]
name = "rtmpose"
model = "{keypoint_graph(tmp_path / "joints.onnx", "simcc", mix=mix)}"
[score]
labels = "estimated_2d"
hard = 1
easy = 2
[synthesize]
max_frames = 48
[animate]
max_frames = 2
[filter]
tau = 1000
""")
    main(["run", str(tmp_path / "recipe.toml"), "--run", str(tmp_path / "run")])
    run = open_run(tmp_path / "run", Registry.discover())
    figures = run.require("score")
    assert (figures["samples"], figures["rejected"]) == (5, 1)
    assert [(reason[:12], count) for reason, count in figures["reasons"].items()] == [("not an image", 1)]
    scored = list(run.scored.values())
    detector = run.registry.create(Kind.READER, "images", run.recipe.dataset.options, "dataset").config.detector
    for sample, found in zip(scored, people(4, "lab"), strict=True):
        (box,) = detector.find_people([load_image(found.image)])[0].boxes
        np.testing.assert_array_equal(sample.sample.box, box)
        assert sample.compared == "coco17"
        assert not sample.sample.confidence.any()
        assert np.isfinite(sample.joint_errors[5:]).all()  # but for the face, which SMPL does not have
    assert run.require("filter")["kept"] == run.require("export")["frames"] == 2
    rejected = pq.read_table(run.folder / "rejected.parquet").to_pylist()
    assert [(row["unit"], row["stage"]) for row in rejected] == [("images/broken.jpg", "score")]
    assert (run.folder / "report.html").is_file()
