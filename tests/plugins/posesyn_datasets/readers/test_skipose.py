"""The Ski-Pose reader on a small instance of the official layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from posesyn_core import Sample, UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.pipeline.run import FilteredFrame, Run, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import SampleOrRejection, Verdict
from posesyn_datasets.readers.skipose import SkiPoseConfig, SkiPoseReader
from tests.plugins.posesyn_datasets.figures import figure
from tests.plugins.posesyn_datasets.overlays import drawn
from tests.tiny import people

h5py = pytest.importorskip("h5py")

PLACE = (0.2, 0.1, 9.0)


def labels(count: int = 2) -> dict[str, Any]:
    """What labels.h5 holds: all as floating-point numbers, lengths on the picture as shares of its side."""
    joints = np.stack([figure("h36m17", yaw=0.3 * at) for at in range(count)])
    seen = joints + PLACE
    shares = 4.0 * seen[..., :2] / seen[..., 2:] + 0.5
    return {
        "seq": np.full(count, 103.0),
        "cam": np.arange(count) + 1.0,
        "frame": np.arange(count) + 54.0,
        "subj": np.zeros(count),
        "3D": joints.reshape(count, 51),
        "2D": shares.reshape(count, 34),
        "cam_intrinsic": np.tile([[4.0, 0, 0.5], [0, 4.0, 0.5], [0, 0, 1]], (count, 1, 1)),
        "cam_position": np.zeros((count, 3)),
        "R_cam_2_world": np.tile(np.eye(3), (count, 1, 1)),
    }


def write(root: Path, photo: bytes, data: dict[str, Any]) -> None:
    (root / "test").mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "test/labels.h5", "w") as file:
        for key, values in data.items():
            file[key] = values
    for at in range(len(data["seq"])):
        folder = root / f"test/seq_103/cam_{at + 1:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"image_{at + 54:06d}.png").write_bytes(photo)


def read(root: Path) -> list[SampleOrRejection]:
    return list(SkiPoseReader(SkiPoseConfig(root)).samples())


def test_skiers(root: Path, photo: bytes) -> None:
    write(root, photo, labels())
    samples = read(root)
    assert len(samples) == len(SkiPoseReader(SkiPoseConfig(root))) == 2
    for at, sample in enumerate(samples):
        assert isinstance(sample, Sample)
        assert sample.id == f"skipose/test/seq_103/cam_{at + 1:02d}/image_{at + 54:06d}"
        assert sample.keypoints3d == pytest.approx(figure("h36m17", yaw=0.3 * at), abs=1e-5)
        seen = figure("h36m17", yaw=0.3 * at) + PLACE
        assert sample.keypoints2d == pytest.approx(1024 * seen[:, :2] / seen[:, 2:] + 128, abs=1e-3)
        assert sample.camera is not None
        assert sample.camera.focal_length.tolist() == [1024, 1024]
        assert sample.camera.principal_point.tolist() == [128, 128]
        assert load_image(sample.image).shape == (60, 80, 3)
        drawn(sample)


def test_broken_pictures_are_refused(root: Path, photo: bytes) -> None:
    data = labels(5)
    data["3D"][1] *= 1000
    data["3D"][2, 4] = np.nan
    data["cam_intrinsic"][3] = 0
    write(root, photo, data)
    (root / "test/seq_103/cam_05/image_000058.png").unlink()
    good, *bad = read(root)
    assert isinstance(good, Sample)
    for entry, reason in zip(bad, ["no person's", "not finite", "impossible", "is missing in test"], strict=True):
        assert isinstance(entry, tuple)
        assert reason in entry[1]


def test_damaged_and_foreign_files_are_named(root: Path, photo: bytes) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"misses test/labels\.h5 in .*Ski-PosePTZ"):
        read(root)
    data = labels()
    write(root, photo, {**data, "3D": 1000 * data["3D"]})
    with pytest.raises(UserError, match=r"labels\.h5.*can't be in metres.*in millimetres"):
        read(root)
    write(root, photo, {**data, "3D": data["3D"][:, :48]})
    with pytest.raises(UserError, match=r"'3D' in .*labels\.h5.*2 x 51, not 2 x 48"):
        read(root)
    del data["cam_intrinsic"]
    write(root, photo, data)
    with pytest.raises(UserError, match=r"labels\.h5.*lacks 'cam_intrinsic'"):
        read(root)
    (root / "test/labels.h5").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match=r"labels\.h5.*it is not HDF5"):
        read(root)


def run_on_skiers(root: Path, folder: Path) -> Run:
    """A run up to its fine-tuning, which trains on the skiers and validates on them."""
    skiers = {"name": "skipose", "root": str(root)}
    recipe = {
        "dataset": skiers, "real": [skiers], "validation": skiers, "estimator": {"name": "spin", "weights": "random"},
        "finetune": {"steps": 2, "batch_size": 2, "ratio": 0.0, "learning_rate": 1e-4, "validate_every": 1},
    }  # fmt: skip
    run = create_run(folder / "run", parse_recipe(tomli_w.dumps(recipe)), Registry.discover())
    (frame, *_) = map(labelled_frame, people(1))
    run.frames.write_part(0, [Row(frame.id, FilteredFrame("clip", 0, frame, Verdict(True, 1.0)))])
    run.finish("filter", {})
    return run


def test_skiers_fine_tune_in_3d_and_validate(root: Path, tmp_path: Path) -> None:
    """A data set of 3D joints without bodies trains its 3D joints, and no pose, and serves as validation."""
    write(root, encode_png(np.full((256, 256, 3), 90, np.uint8)), labels())
    run = run_on_skiers(root, tmp_path)
    run_stage(run, "finetune")
    lines = (run.folder / "finetune/real_only/metrics.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        assert line["keypoints3d"] > 1e-4
        assert line["pose"] == line["betas"] == 0
        assert 10 < line["validation"] < 1000
    assert len(lines) == 2


def test_a_validation_without_a_sound_picture_is_the_users_mistake(root: Path, photo: bytes, tmp_path: Path) -> None:
    write(root, photo, labels())  # smaller than the official pictures: the skiers are outside
    run = run_on_skiers(root, tmp_path)
    with pytest.raises(UserError, match=r"of \[validation\] can be measured; skipose/test/.*: the person box"):
        run_stage(run, "finetune")
