"""The JHMDB reader on a small instance of the official layout and on real frames in mmpose's."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.jhmdb import JhmdbConfig, JhmdbReader
from tests.plugins.posesyn_datasets.overlays import drawn


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(JhmdbReader(JhmdbConfig(root, **options)).samples())


def clip(frames: int = 3) -> np.ndarray:
    """pos_img (2, 15, F), pixels counted from 1: joint k at (50 + 5 k, 40 + 3 k + frame)."""
    x = np.tile(51 + 5.0 * np.arange(15)[:, None], frames)
    return np.stack([x, 41 + 3.0 * np.arange(15)[:, None] + np.arange(frames)])


def write(root: Path, clips: dict[str, np.ndarray], flags: dict[str, int]) -> None:
    (root / "Rename_Images").mkdir(parents=True, exist_ok=True)
    (root / "splits").mkdir(exist_ok=True)
    for name, positions in clips.items():
        folder = root / "joint_positions" / name
        folder.mkdir(parents=True)
        scipy.io.savemat(
            folder / "joint_positions.mat", {"pos_img": positions, "scale": np.ones((1, 3)), "viewpoint": "S"}
        )
    for action in {name.split("/")[0] for name in clips}:
        lines = [f"{name.split('/')[1]}.avi {flags[name]} " for name in clips if name.startswith(action)]
        (root / "splits" / f"{action}_test_split1.txt").write_text("\n".join(lines) + "\n")


def test_the_split_and_its_frames(root: Path) -> None:
    clips = {"catch/Ball @ home": clip(), "catch/train": clip(), "walk/a": clip(2)}
    write(root, clips, {"catch/Ball @ home": 2, "catch/train": 1, "walk/a": 2})
    samples = [sample for sample in read(root) if isinstance(sample, Sample)]
    assert [sample.id.removeprefix("jhmdb/test/") for sample in samples] == [
        *(f"catch/Ball @ home/0000{at}" for at in (1, 2, 3)), "walk/a/00001", "walk/a/00002"
    ]  # fmt: skip
    second = samples[1]
    assert second.image == (root / "Rename_Images/catch/Ball @ home/00002.png").resolve()
    assert second.joint_set == "jhmdb15"
    assert second.keypoints2d == pytest.approx(clips["catch/train"][:, :, 1].T - 1)
    assert second.head_size == pytest.approx(2 * np.hypot(10, 6))
    drawn(second)
    assert [entry.id for entry in read(root, split="train", stride=2) if isinstance(entry, Sample)] == [
        "jhmdb/train/catch/train/00001", "jhmdb/train/catch/train/00003"
    ]  # fmt: skip


def test_joints_outside_the_picture_are_not_labelled(root: Path) -> None:
    positions = clip(1)
    positions[0, 3], positions[1, 4] = 321, 0.5
    write(root, {"walk/a": positions}, {"walk/a": 2})
    (sample,) = read(root)
    assert isinstance(sample, Sample)
    assert np.flatnonzero(sample.confidence == 0).tolist() == [3, 4]


def test_a_broken_frame_is_refused_and_the_next_one_read(root: Path) -> None:
    positions = clip(3)
    positions[:, :, 0] += 1000
    positions[:, :, 1] = np.nan
    write(root, {"walk/a": positions}, {"walk/a": 2})
    *broken, good = read(root)
    assert all(isinstance(entry, tuple) and "no visible joint" in entry[1] for entry in broken)
    assert len(broken) == 2
    assert isinstance(good, Sample)


def test_what_is_missing_or_wrong_is_said(root: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        read(root)
    (root / "Rename_Images").mkdir(parents=True)
    with pytest.raises(UserError, match=r"misses joint_positions, splits in .*jhmdb\.is\.tue"):
        read(root)
    write(root, {"walk/a": clip()[:, :13]}, {"walk/a": 2})
    write(root, {"walk/b": clip()}, {"walk/b": 2})
    (root / "splits/walk_test_split1.txt").write_text("a.avi 2\nb.avi 2\n")
    refused, *good = read(root)
    assert refused[0] == "jhmdb/test/walk/a"
    assert re.search("'pos_img' in .*walk/a.* must be 2 x 15 x any, not 2 x 13 x 3", refused[1])
    assert all(isinstance(sample, Sample) for sample in good)
    with pytest.raises(UserError, match=r"no lists <action>_test_split3\.txt"):
        read(root, fold=3)
    (root / "joint_positions/walk/a/joint_positions.mat").unlink()
    assert "joint_positions.mat' does not exist" in read(root)[0][1]
    with pytest.raises(UserError, match=r"a\.json' does not exist; check the path"):
        read(root, annotations="a.json")
    (root / "a.json").write_text(json.dumps({"images": [{"id": 1}], "annotations": []}))
    with pytest.raises(UserError, match=r"a\.json' .*'file_name' is missing"):
        read(root, annotations="a.json")


def test_lines_of_no_split_and_clips_without_frames_are_refused(root: Path) -> None:
    write(root, {"walk/a": clip(), "walk/b": clip()[..., :0]}, {"walk/a": 2, "walk/b": 2})
    path = root / "splits/walk_test_split1.txt"
    path.write_text(f"unused.avi 0\nc.avi two\n\n{path.read_text()}")
    line, *frames, empty = read(root)
    assert line == ("jhmdb/test/walk/line-2", "line 2 of walk_test_split1.txt is not '<clip>.avi <1 or 2>'")
    assert len(frames) == 3
    assert empty == ("jhmdb/test/walk/b", "it has no frames")
    path.write_text("a.avi 1\n")
    with pytest.raises(UserError, match="name no clip of the split 'test'"):
        read(root)


def test_the_protocol_is_the_papers() -> None:
    assert JhmdbReader(JhmdbConfig(Path())).protocol.pckh == 0.6


def test_real_frames(shared: Path) -> None:
    samples = read(shared / "data/images/jhmdb", annotations="test_jhmdb_sub1.json")
    assert len(samples) == 3
    for sample in samples:
        assert isinstance(sample, Sample)
        height, width = load_image(sample.image).shape[:2]
        assert (width, height) == (320, 240)
        assert (sample.confidence == 1).all()
        assert sample.head_size is not None
        assert 0.05 < sample.head_size / np.ptp(sample.keypoints2d[:, 1]) < 0.35
