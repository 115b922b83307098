"""The training files, read by a reader of the test's own, and by the plugin's."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.skeletons import convert
from posesyn_core.values import LabelledFrame, Sample
from posesyn_crowdnet.people import Person
from posesyn_crowdnet.reader import CrowdNetReader, CrowdNetReaderConfig
from posesyn_crowdnet.writer import CrowdNetWriter, CrowdNetWriterConfig
from tests.tiny import people

FILES = {
    "mscoco": (
        "MSCOCO/annotations/person_keypoints_train2017.json",
        "MSCOCO/annotations/MSCOCO_train_SMPL_NeuralAnnot.json",
        "MSCOCO/images/train2017",
        17,
        "coco17",
    ),
    "mpii": (
        "MPII/data/annotations/train.json",
        "MPII/data/annotations/MPII_train_SMPL_NeuralAnnot.json",
        "MPII/data",
        16,
        "mpii16",
    ),
}


def frames() -> list[LabelledFrame]:
    """Three frames; the second has 2D labels alone, of some of its joints."""
    full = [
        LabelledFrame(one.id, one.image, one.box, one.keypoints2d, one.confidence, one.camera, one.joints3d, one.smpl)
        for one in people(3)
    ]
    confidence = np.where(np.arange(24) == 4, 0, 1)
    return [full[0], evolve(full[1], smpl=None, joints3d=None, confidence=confidence), full[2]]


@pytest.fixture(params=["mscoco", "mpii"])
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


def write(layout: str, folder: Path) -> list[Path]:
    return CrowdNetWriter(CrowdNetWriterConfig(layout)).write(frames(), folder)


def test_every_key_has_the_official_shape_unit_and_range(layout: str, tmp_path: Path) -> None:
    written = write(layout, tmp_path)
    assert all(path.is_file() for path in written)
    annotations, fits, images, joints, _ = FILES[layout]
    document, parameters = json.loads((tmp_path / annotations).read_text()), json.loads((tmp_path / fits).read_text())
    pictures = {picture["id"]: picture for picture in document["images"]}
    assert len(pictures) == len(document["annotations"]) == 3
    assert document["categories"][0]["name"] == "person"
    for entry, frame in zip(document["annotations"], frames(), strict=True):
        picture = pictures[entry["image_id"]]
        assert isinstance(entry["id"], int)
        assert (entry["category_id"], entry["iscrowd"]) == (1, 0)
        pixels = cv2.imread(str(tmp_path / images / picture["file_name"]))
        assert pixels.shape == (picture["height"], picture["width"], 3)
        x, y, width, height = entry["bbox"]
        np.testing.assert_allclose([x, y, x + width, y + height], frame.box, atol=1e-3)
        assert entry["area"] == pytest.approx(width * height)
        keypoints = np.array(entry["keypoints"], np.float64)
        assert keypoints.shape == (3 * joints,)
        points, valid = keypoints.reshape(joints, 3)[:, :2], keypoints[2::3]
        assert set(valid) <= {0, 2}
        assert entry["num_keypoints"] == (valid > 0).sum() > 8
        assert (points[valid > 0] >= -picture["width"]).all()
        assert (points[valid == 0] == 0).all()
        if frame.smpl is not None:
            check_fit(parameters[str(entry["id"])], frame)
    assert parameters.keys() == {"1", "3"}


def check_fit(entry: dict[str, dict[str, list[float]]], frame: LabelledFrame) -> None:
    """NeuralAnnot's keys: radians, metres in front of the camera, pixels; and they project onto the 2D joints."""
    smpl, camera = entry["smpl_param"], entry["cam_param"]
    assert {name: len(values) for name, values in smpl.items()} == {"pose": 72, "shape": 10, "trans": 3}
    assert {name: len(values) for name, values in camera.items()} == {"focal": 2, "princpt": 2}
    pose = np.reshape(smpl["pose"], (24, 3))
    assert np.linalg.norm(pose, axis=1).max() <= 2 * np.pi
    assert 0 < smpl["trans"][2] < 100
    assert min(camera["focal"]) > 10
    assert frame.joints3d is not None and frame.smpl is not None
    np.testing.assert_allclose(pose[0], frame.smpl.global_orient, atol=1e-6)
    root = np.array(smpl["trans"]) + rest_root(smpl["shape"])
    pixels = project(frame.joints3d + root, np.array(camera["focal"]), np.array(camera["princpt"]))
    np.testing.assert_allclose(pixels, frame.joints2d, atol=0.1)


def rest_root(betas: list[float]) -> np.ndarray:
    """The free body's pelvis before any translation: SMPL turns about it."""
    import torch

    from posesyn_core.body.model import load_body

    return load_body().rest_joints(torch.tensor([betas]))[0, 0].numpy()


def test_the_plugins_reader_gives_back_what_was_written(layout: str, tmp_path: Path) -> None:
    write(layout, tmp_path)
    *_, joint_set = FILES[layout]
    found = list(CrowdNetReader(CrowdNetReaderConfig(tmp_path, layout)).samples())  # type: ignore[arg-type]
    for number, (one, frame) in enumerate(zip(found, frames(), strict=True), start=1):
        assert isinstance(one, Sample)
        assert (one.id, one.joint_set) == (f"crowdnet/{layout}/{number}", joint_set)
        points, valid = convert(frame.joints2d, frame.confidence > 0, "smpl24", joint_set)
        np.testing.assert_allclose(one.keypoints2d, points, atol=1e-3)
        np.testing.assert_array_equal(one.confidence > 0, valid)
        np.testing.assert_allclose(one.box, frame.box, atol=1e-3)
        assert load_image(one.image).shape == load_image(frame.image).shape
        assert (one.smpl is None) == (frame.smpl is None)
        if one.smpl is not None and frame.smpl is not None:
            np.testing.assert_allclose(one.smpl.body_pose, frame.smpl.body_pose, atol=1e-6)
            np.testing.assert_allclose(one.smpl.transl, frame.smpl.transl, atol=1e-6)


def test_the_same_frames_give_the_same_bytes(layout: str, tmp_path: Path) -> None:
    first, second = (write(layout, tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_broken_entries_are_told_apart_from_a_broken_file(tmp_path: Path) -> None:
    write("mscoco", tmp_path)
    path = tmp_path / FILES["mscoco"][0]
    document = json.loads(path.read_text())
    _, second, third = document["annotations"]
    second["keypoints"] = second["keypoints"][:9]
    third["bbox"] = [500, 500, 0, 0]
    document["images"][0]["file_name"] = "../../../secret.jpg"
    path.write_text(json.dumps(document))
    config = CrowdNetReaderConfig(tmp_path)
    reasons = dict(entry for entry in CrowdNetReader(config).samples() if isinstance(entry, tuple))
    assert "leaves the image root" in reasons["crowdnet/mscoco/1"]
    assert "17 joints of 3 finite numbers" in reasons["crowdnet/mscoco/2"]
    assert "no area" in reasons["crowdnet/mscoco/3"]
    path.write_text('{"images": []}')
    with pytest.raises(UserError, match=r"person_keypoints_train2017.*annotations"):
        list(CrowdNetReader(config).samples())
    with pytest.raises(UserError, match="not a folder"):
        list(CrowdNetReader(CrowdNetReaderConfig(tmp_path / "nowhere")).samples())
    with pytest.raises(UserError, match="Human36M_subject"):
        list(CrowdNetReader(CrowdNetReaderConfig(tmp_path, "human36m")).samples())


def test_crowds_and_people_without_joints_are_left_out_as_in_the_official_loader(tmp_path: Path) -> None:
    from posesyn_crowdnet.annotations import read_mscoco

    write("mscoco", tmp_path)
    path = tmp_path / FILES["mscoco"][0]
    document = json.loads(path.read_text())
    document["annotations"][0]["iscrowd"] = 1
    document["annotations"][1]["num_keypoints"] = 0
    path.write_text(json.dumps(document))
    found = list(read_mscoco(tmp_path))
    assert [isinstance(one, Person) for one in found] == [False, False, True]
