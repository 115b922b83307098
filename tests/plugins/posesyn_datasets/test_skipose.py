"""The Ski-Pose reader on a small instance of the official layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.training.finetune import finetune
from posesyn_core.training.loader import labelled_frame
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.skipose import SkiPoseConfig, SkiPoseReader
from posesyn_spin.estimator import Spin
from posesyn_spin.plugin import SpinConfig
from tests.plugins.posesyn_datasets.figures import figure
from tests.plugins.posesyn_datasets.overlays import drawn

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
        assert sample.load_image().shape == (60, 80, 3)
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
    with pytest.raises(UserError, match=r"labels\.h5.*is not HDF5"):
        read(root)


def test_skiers_fine_tune_in_3d(root: Path, photo: bytes, tmp_path: Path) -> None:
    """A data set of 3D joints without bodies trains its 3D joints, and no pose."""
    write(root, photo, labels())
    frames = [labelled_frame(sample) for sample in read(root) if isinstance(sample, Sample)]
    (line,) = finetune(
        Spin(SpinConfig(weights="random")), frames, [], tmp_path / "out", steps=1, batch_size=2, ratio=0.0,
        learning_rate=1e-4, seed=0, workers=1, save_every=1,
    ).metrics  # fmt: skip
    assert line["keypoints3d"] > 1e-4
    assert line["pose"] == line["betas"] == 0
