"""What the writers write, read back without them: tarfile, pickle and numpy, and webdataset itself."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from attrs import evolve

from posesyn_core.body.model import load_body
from posesyn_core.components import DatasetWriter
from posesyn_core.values import LabelledFrame
from posesyn_hmr2.writers import (
    Hmr2NpzWriter,
    Hmr2TarWriter,
    Hmr2TarWriterConfig,
    Hmr2WriterConfig,
)
from tests.writing import nothing_half_written, same_frames_same_bytes

WRITERS: list[DatasetWriter] = [
    Hmr2TarWriter(Hmr2TarWriterConfig(frames_per_shard=2)),
    Hmr2NpzWriter(Hmr2WriterConfig()),
]
SMPL_OF = {1: 12, 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 8: 0, 9: 2, 10: 5, 11: 8, 12: 1, 13: 4, 14: 7}
"""The 14 of the 44 joints that are SMPL's, from the specification."""
PELVIS = 39


@pytest.fixture
def frames(frame: LabelledFrame) -> list[LabelledFrame]:
    """Two complete frames, and one with some 2D labels alone."""
    real = evolve(frame, id="real", joints3d=None, smpl=None, camera=None, confidence=np.arange(24) != 20)
    return [frame, evolve(frame, id="b"), real]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: type(writer).__name__)
def test_same_frames_same_bytes_and_every_file_is_reported(
    writer: DatasetWriter, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_frames_same_bytes(writer, frames, tmp_path, monkeypatch)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: type(writer).__name__)
def test_a_failure_leaves_no_half_written_file(
    writer: DatasetWriter, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    nothing_half_written(writer, frames, tmp_path)


def entries(folder: Path) -> list[tuple[str, bytes, Any]]:
    """Key, image and unpickled list of each frame of the shards."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for key in sorted({name.split(".")[0] for name in members}):
            assert {name for name in members if name.startswith(key)} == {f"{key}.jpg", f"{key}.data.pyd"}
            found.append((key, members[f"{key}.jpg"], pickle.loads(members[f"{key}.data.pyd"])))
    return found


FIELDS = {
    "keypoints_2d": (44, 3), "keypoints_3d": (44, 4), "center": (2,), "scale": (2,), "body_pose": (72,),
    "betas": (10,), "has_body_pose": (), "has_betas": (),
}  # fmt: skip


def test_shards(frames: list[LabelledFrame], tmp_path: Path) -> None:
    paths = WRITERS[0].write(iter(frames), tmp_path)
    assert [path.name for path in paths] == ["frames-000000.tar", "frames-000001.tar"]
    found = entries(tmp_path)
    assert [key for key, _, _ in found] == ["00000000", "00000001", "00000002"]
    for frame, (_, jpeg, people) in zip(frames, found, strict=True):
        assert PIL.Image.open(io.BytesIO(jpeg)).size == (192, 192)
        (person,) = people
        assert person.pop("extra_info") == {}
        assert {name: array.shape for name, array in person.items()} == FIELDS
        assert {array.dtype for array in person.values()} == {np.dtype(np.float32)}
        assert all(type(array) is np.ndarray and array.flags.writeable for array in person.values())
        check_person(person, frame)
        np.testing.assert_allclose(person["scale"] * 200, frame.box[2:] - frame.box[:2], rtol=1e-6)


def check_person(person: dict[str, Any], frame: LabelledFrame) -> None:
    """Every label against the frame: units, ranges, order."""
    own, smpl = list(SMPL_OF), list(SMPL_OF.values())
    np.testing.assert_allclose(person["center"], (frame.box[:2] + frame.box[2:]) / 2, rtol=1e-6)
    flat, spatial = person["keypoints_2d"], person["keypoints_3d"]
    np.testing.assert_array_equal(flat[own, 2], frame.confidence[smpl])
    known = flat[:, 2] > 0
    assert (flat[known, :2] > -20).all()
    assert (flat[known, :2] < 212).all()
    np.testing.assert_allclose(flat[own, :2], frame.joints2d[smpl], rtol=1e-6)
    assert set(np.unique(spatial[:, 3])) <= {0, 1}
    complete = frame.smpl is not None and frame.joints3d is not None
    assert person["has_body_pose"] == person["has_betas"] == complete
    assert person["has_betas"].copy().dtype == np.float32  # what the official flip does with it
    if frame.smpl is None or frame.joints3d is None:
        assert not spatial.any()
        assert not person["body_pose"].any()
        assert not person["betas"].any()
        return
    centred = spatial[:, :3] - spatial[PELVIS, :3]
    pelvis = frame.joints3d[[1, 2]].mean(0)
    np.testing.assert_allclose(centred[own], frame.joints3d[smpl] - pelvis, atol=1e-4)
    assert np.abs(centred[spatial[:, 3] > 0]).max() < 2  # metres
    assert spatial[PELVIS, 3] == 1
    np.testing.assert_array_equal(person["body_pose"][:3], frame.smpl.global_orient)
    np.testing.assert_array_equal(person["body_pose"][3:], frame.smpl.body_pose.ravel())
    assert np.abs(person["body_pose"]).max() <= 2 * np.pi
    np.testing.assert_array_equal(person["betas"], frame.smpl.betas)


def test_old_numpy_reads_the_pickles(frames: list[LabelledFrame], tmp_path: Path) -> None:
    WRITERS[0].write(iter(frames[:1]), tmp_path)
    with tarfile.open(tmp_path / "frames-000000.tar") as tar:
        data = tar.extractfile("00000000.data.pyd").read()  # type: ignore[union-attr]
    assert b"numpy._core" not in data
    assert b"numpy.core.multiarray" in data


def test_webdataset_reads_the_shards(frames: list[LabelledFrame], tmp_path: Path) -> None:
    import webdataset

    paths = WRITERS[0].write(iter(frames), tmp_path)
    decoded = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False).decode("rgb8")
    samples = list(decoded)
    assert [sample["__key__"] for sample in samples] == ["00000000", "00000001", "00000002"]
    assert samples[0]["jpg"].shape == (192, 192, 3)
    assert samples[0]["data.pyd"][0]["keypoints_2d"].shape == (44, 3)


def test_npz(frames: list[LabelledFrame], tmp_path: Path) -> None:
    WRITERS[1].write(iter(frames), tmp_path)
    with np.load(tmp_path / "frames.npz", allow_pickle=False) as file:
        data = dict(file)
    shapes = {
        "imgname": (), "center": (2,), "scale": (2,), "body_keypoints_2d": (25, 3), "extra_keypoints_2d": (19, 3),
        "body_keypoints_3d": (25, 4), "extra_keypoints_3d": (19, 4), "body_pose": (72,), "betas": (10,),
        "has_body_pose": (), "has_betas": (),
    }  # fmt: skip
    assert {name: array.shape[1:] for name, array in data.items()} == shapes
    assert {array.dtype for name, array in data.items() if name != "imgname"} == {np.dtype(np.float32)}
    assert all(len(array) == 3 for array in data.values())
    for at, frame in enumerate(frames):
        assert (tmp_path / data["imgname"][at].decode()).is_file()
        np.testing.assert_allclose(data["scale"][at], frame.box[2:] - frame.box[:2], rtol=1e-6)  # pixels
        person = {name: data[name][at] for name in ("center", "body_pose", "betas", "has_body_pose", "has_betas")}
        for kind in ("keypoints_2d", "keypoints_3d"):
            person[kind] = np.concatenate([data[f"body_{kind}"][at], data[f"extra_{kind}"][at]])
        check_person(person, frame)


def test_a_regressor_labels_the_second_block(frames: list[LabelledFrame], tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).random((19, len(load_body().v_template))).astype(np.float32)
    np.save(tmp_path / "J19.npy", matrix / matrix.sum(1, keepdims=True))
    Hmr2TarWriter(Hmr2TarWriterConfig(joint_regressor=str(tmp_path / "J19.npy"))).write(iter(frames), tmp_path / "out")
    (_, _, (complete,)), *_, (_, _, (bare,)) = entries(tmp_path / "out")
    assert complete["keypoints_3d"][25:, 3].all()
    assert complete["keypoints_2d"][25:, 2].all()
    assert not bare["keypoints_2d"][25:].any()


def test_no_frames_make_no_people(tmp_path: Path) -> None:
    assert WRITERS[0].write(iter([]), tmp_path / "t") == []
    WRITERS[1].write(iter([]), tmp_path / "n")
    with np.load(tmp_path / "n/frames.npz", allow_pickle=False) as data:
        assert data["body_keypoints_3d"].shape == (0, 25, 4)
