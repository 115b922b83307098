"""What the writers write, read back without them: tarfile, json and numpy."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from attrs import evolve

from posesyn_core import Camera, LabelledFrame, Sample, SmplParams
from posesyn_core.components import DatasetWriter
from posesyn_core.files.images import load_image
from posesyn_datasets.readers.coco import CocoConfig, CocoReader
from posesyn_datasets.readers.labels import frame_labels
from posesyn_datasets.writers.coco import CocoWriter, CocoWriterConfig
from posesyn_datasets.writers.spin import SpinWriter, SpinWriterConfig
from posesyn_datasets.writers.webdataset import WebDatasetWriter, WebDatasetWriterConfig
from tests.writing import nothing_half_written, same_frames_same_bytes

LEFT_HIP, RIGHT_HIP = 1, 2
CAMERA = Camera([1000, 1010], [40, 30])


def labelled_frame(number: int, image: Path | bytes) -> LabelledFrame:
    """A frame of a body with random joints 30 m away, all of whose labels are known and agree."""
    rng = np.random.default_rng(number)
    joints3d = rng.uniform(-0.5, 0.5, (24, 3)).astype(np.float32)
    joints3d -= joints3d[0]
    absolute = joints3d + np.array([0, 0, 30])
    joints2d = absolute[:, :2] / absolute[:, 2:] * CAMERA.focal_length + CAMERA.principal_point
    return LabelledFrame(
        id=f"motion#{number}@0/0001",
        image=image,
        box=[10, 5, 50, 55],
        joints2d=joints2d,
        confidence=np.arange(24) != 20,
        camera=CAMERA,
        joints3d=joints3d,
        smpl=SmplParams(rng.normal(size=3), rng.normal(size=(23, 3)), rng.normal(size=10), [0, 0, 30]),
        error_mm=41.5,
        caption="a person stands",
        source="synthesised",
    )


@pytest.fixture
def frames(photo: bytes, tmp_path: Path) -> list[LabelledFrame]:
    """Synthesised frames from bytes and from a file, and a real one with 2D labels only."""
    (tmp_path / "frame.jpg").write_bytes(photo)
    complete = [labelled_frame(0, photo), labelled_frame(1, tmp_path / "frame.jpg")]
    real = evolve(
        labelled_frame(2, photo), joints3d=None, smpl=None, camera=None, error_mm=None, caption="", source="mpii"
    )
    return [*complete, real]


WRITERS: list[DatasetWriter] = [
    WebDatasetWriter(WebDatasetWriterConfig(frames_per_shard=2)),
    CocoWriter(CocoWriterConfig()),
    SpinWriter(SpinWriterConfig()),
]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: type(writer).__name__)
def test_same_frames_same_bytes_and_every_file_is_reported(
    writer: DatasetWriter, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_frames_same_bytes(writer, frames, tmp_path, monkeypatch)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: type(writer).__name__)
def test_a_failure_leaves_no_half_written_table(
    writer: DatasetWriter, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    nothing_half_written(writer, frames, tmp_path)


def shards(folder: Path) -> dict[str, dict[str, dict[str, bytes]]]:
    """The shards of a folder as {shard: {key: {extension: bytes}}}, with WebDataset's rule for keys."""
    found: dict[str, dict[str, dict[str, bytes]]] = {}
    for path in sorted(folder.iterdir()):
        with tarfile.open(path) as tar:
            for member in tar:
                key, extension = member.name.split(".", 1)
                stream = tar.extractfile(member)
                assert stream is not None
                found.setdefault(path.name, {}).setdefault(key, {})[extension] = stream.read()
    return found


def check_labels(labels: dict[str, Any], frame: LabelledFrame) -> None:
    for name, shape in (("box", (4,)), ("joints2d", (24, 2)), ("confidence", (24,)), ("joints3d", (24, 3))):
        want = getattr(frame, name)
        if want is None:
            assert labels[name] is None
        else:
            assert np.shape(labels[name]) == shape
            assert np.array_equal(np.array(labels[name], np.float32), want)
    if frame.smpl is None or frame.camera is None:
        assert labels["smpl"] is None
        assert labels["camera"] is None
    else:
        for name, shape in (("global_orient", (3,)), ("body_pose", (23, 3)), ("betas", (10,)), ("transl", (3,))):
            assert np.shape(labels["smpl"][name]) == shape
            assert np.array_equal(np.array(labels["smpl"][name], np.float32), getattr(frame.smpl, name))
        assert labels["camera"] == {"focal_length": [1000, 1010], "principal_point": [40, 30]}
    assert (labels["error_mm"], labels["caption"], labels["source"]) == (frame.error_mm, frame.caption, frame.source)


def test_webdataset(frames: list[LabelledFrame], photo: bytes, tmp_path: Path) -> None:
    WRITERS[0].write(iter(frames), tmp_path / "out")
    found = shards(tmp_path / "out")
    assert {name: list(keys) for name, keys in found.items()} == {
        "frames-000000.tar": ["00000000", "00000001"],
        "frames-000001.tar": ["00000002"],
    }
    for frame, entry in zip(frames, (entry for keys in found.values() for entry in keys.values()), strict=True):
        assert entry["jpg"] == photo
        labels = json.loads(entry["json"])
        assert labels["id"] == frame.id
        assert (labels["width"], labels["height"]) == (80, 60)
        check_labels(labels, frame)


def test_webdataset_is_read_by_its_own_library(frames: list[LabelledFrame], tmp_path: Path) -> None:
    import webdataset

    paths = WRITERS[0].write(iter(frames), tmp_path / "out")
    dataset = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False).decode("rgb8")
    samples = list(dataset)
    assert [sample["json"]["id"] for sample in samples] == [frame.id for frame in frames]
    assert samples[0]["jpg"].shape == (60, 80, 3)


def test_labels_are_in_metres_and_pixels_and_agree(frames: list[LabelledFrame], tmp_path: Path) -> None:
    WRITERS[0].write(iter(frames[:1]), tmp_path / "out")
    (entries,) = shards(tmp_path / "out").values()
    labels = json.loads(entries["00000000"]["json"])
    absolute = np.array(labels["joints3d"]) + labels["smpl"]["transl"]
    camera = labels["camera"]
    projected = absolute[:, :2] / absolute[:, 2:] * camera["focal_length"] + camera["principal_point"]
    assert np.allclose(projected, labels["joints2d"], atol=1e-3)
    assert np.array_equal(labels["joints3d"][0], [0, 0, 0])
    assert np.abs(labels["joints3d"]).max() < 2


def test_coco(frames: list[LabelledFrame], photo: bytes, tmp_path: Path) -> None:
    CocoWriter(CocoWriterConfig()).write(iter(frames), tmp_path / "out")
    document = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [image["file_name"] for image in document["images"]] == [f"{n:012d}.jpg" for n in (1, 2, 3)]
    assert {(image["width"], image["height"]) for image in document["images"]} == {(80, 60)}
    (category,) = document["categories"]
    assert category["keypoints"][5:7] == ["left_shoulder", "right_shoulder"]
    for frame, image, annotation in zip(frames, document["images"], document["annotations"], strict=True):
        assert (tmp_path / "out/images" / image["file_name"]).read_bytes() == photo
        assert (annotation["image_id"], annotation["category_id"], annotation["iscrowd"]) == (image["id"], 1, 0)
        assert annotation["bbox"] == [10, 5, 40, 50]
        assert annotation["area"] == 2000
        keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
        assert np.array_equal(keypoints[:5], np.zeros((5, 3)))
        assert keypoints[5, :2] == pytest.approx(frame.joints2d[16])
        assert keypoints[9].tolist() == [0, 0, 0]  # the left wrist, which the frame does not know
        assert keypoints[[8, 10, 16], 2].tolist() == [2, 2, 2]
        assert annotation["num_keypoints"] == np.count_nonzero(keypoints[:, 2]) == 11
        assert annotation["frame_id"] == frame.id
        check_labels(annotation, frame)


def test_coco_is_read_by_our_reader(frames: list[LabelledFrame], tmp_path: Path) -> None:
    CocoWriter(CocoWriterConfig()).write(iter(frames), tmp_path / "out")
    samples = list(CocoReader(CocoConfig(tmp_path / "out", split="synthesised")).samples())
    assert len(samples) == len(frames)
    for frame, sample in zip(frames, samples, strict=True):
        assert isinstance(sample, Sample)
        assert sample.box == pytest.approx(frame.box)
        assert sample.keypoints2d[16] == pytest.approx(frame.joints2d[8])
        assert load_image(sample.image).shape == (60, 80, 3)


def test_spin(frames: list[LabelledFrame], photo: bytes, tmp_path: Path) -> None:
    SpinWriter(SpinWriterConfig()).write(iter(frames), tmp_path / "out")
    with np.load(tmp_path / "out/frames.npz", allow_pickle=False) as archive:
        data = dict(archive)
    shapes = {
        "imgname": (), "center": (2,), "scale": (), "part": (24, 3), "S": (24, 4), "pose": (72,), "shape": (10,),
        "has_smpl": (),
    }  # fmt: skip
    assert {name: array.shape[1:] for name, array in data.items()} == shapes
    assert all(len(array) == 3 for array in data.values())
    assert all(data[name].dtype == np.float32 for name in ("center", "scale", "part", "S", "pose", "shape"))
    assert (tmp_path / "out" / str(data["imgname"][0])).read_bytes() == photo
    assert data["center"][0] == pytest.approx([30, 30])
    assert data["scale"][0] * 200 == pytest.approx(1.2 * 50)
    assert data["has_smpl"].tolist() == [1, 1, 0]


SPIN_FROM_SMPL = {0: 8, 1: 5, 2: 2, 3: 1, 4: 4, 5: 7, 6: 21, 7: 19, 8: 17, 9: 16, 10: 18, 11: 20}
"""SPIN's limb joints (right ankle, knee, hip, left hip, ...) and the SMPL joints that they are."""


def test_spins_joints(frames: list[LabelledFrame], tmp_path: Path) -> None:
    SpinWriter(SpinWriterConfig()).write(iter(frames), tmp_path / "out")
    with np.load(tmp_path / "out/frames.npz", allow_pickle=False) as data:
        part, spatial, pose, shape = (data[name] for name in ("part", "S", "pose", "shape"))
    frame = frames[0]
    assert frame.joints3d is not None
    assert frame.smpl is not None
    known = np.isin(np.arange(24), [*SPIN_FROM_SMPL, 14, 15])
    assert np.array_equal(spatial[0, :, 3], known)
    assert np.array_equal(part[0, :, 2], known & (np.arange(24) != 11))  # 11: the left wrist, not labelled in 2D
    mid_hips = frame.joints3d[[LEFT_HIP, RIGHT_HIP]].mean(0)
    for ours, theirs in SPIN_FROM_SMPL.items():
        assert spatial[0, ours, :3] == pytest.approx(frame.joints3d[theirs] - mid_hips, abs=1e-6)
        if ours != 11:
            assert part[0, ours, :2] == pytest.approx(frame.joints2d[theirs])
    assert spatial[0, 14, :3] == pytest.approx([0, 0, 0], abs=1e-7)
    assert part[0, 15, :2] == pytest.approx(frame.joints2d[[16, 17]].mean(0))
    assert not spatial[0, ~known].any()
    assert pose[0, :3] == pytest.approx(frame.smpl.global_orient)
    assert pose[0, 3:].reshape(23, 3) == pytest.approx(frame.smpl.body_pose)
    assert shape[0] == pytest.approx(frame.smpl.betas)
    assert not spatial[2].any()
    assert not pose[2].any()


def test_3d_joints_that_are_unknown_are_written_as_such(photo: bytes, tmp_path: Path) -> None:
    known = np.arange(24) != 4  # the left knee
    frame = evolve(labelled_frame(0, photo), confidence3d=known)
    SpinWriter(SpinWriterConfig()).write(iter([frame]), tmp_path / "spin")
    with np.load(tmp_path / "spin/frames.npz", allow_pickle=False) as data:
        spatial = data["S"][0]
    missing = next(ours for ours, theirs in SPIN_FROM_SMPL.items() if theirs == 4)
    assert [ours for ours in SPIN_FROM_SMPL if spatial[ours, 3] == 0] == [missing]
    assert not spatial[missing].any()
    labels = frame_labels(frame)
    assert labels["confidence3d"] == known.tolist()
    assert labels["joints3d"][4] == [0, 0, 0]
    assert frame_labels(labelled_frame(0, photo))["confidence3d"] == [1] * 24
    assert frame_labels(evolve(frame, joints3d=None))["confidence3d"] is None


def test_no_frames_make_empty_files(tmp_path: Path) -> None:
    assert WRITERS[0].write(iter([]), tmp_path / "w") == []
    CocoWriter(CocoWriterConfig()).write(iter([]), tmp_path / "c")
    document = json.loads((tmp_path / "c/annotations.json").read_text())
    assert document["images"] == document["annotations"] == []
    SpinWriter(SpinWriterConfig()).write(iter([]), tmp_path / "s")
    with np.load(tmp_path / "s/frames.npz", allow_pickle=False) as data:
        assert data["S"].shape == (0, 24, 4)


def test_other_images_become_upright_jpegs(photo: bytes, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.open(io.BytesIO(photo)).save(buffer, "PNG", exif=exif)
    WRITERS[0].write(iter([labelled_frame(0, buffer.getvalue())]), tmp_path / "out")
    (entries,) = shards(tmp_path / "out").values()
    written = PIL.Image.open(io.BytesIO(entries["00000000"]["jpg"]))
    assert written.format == "JPEG"
    assert written.size == (60, 80)
    labels = json.loads(entries["00000000"]["json"])
    assert (labels["width"], labels["height"]) == (60, 80)


def test_the_writers_take_one_frame_at_a_time(photo: bytes, tmp_path: Path) -> None:
    """WebDataset and COCO write each frame before they ask for the next."""
    for writer in WRITERS[:2]:
        folder = tmp_path / type(writer).__name__
        sizes = []

        def stream(folder: Path = folder, sizes: list[int] = sizes) -> Iterator[LabelledFrame]:
            for number in range(40):
                sizes.append(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
                yield labelled_frame(number, photo)

        writer.write(stream(), folder)
        assert sizes[20] > 10 * len(photo)
