"""HybrIK's JSON: what the writer writes, read back without it, and the official styles read as people."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from scipy.spatial.transform import Rotation

from posesyn_core import UserError
from posesyn_core.body.model import Body, load_body
from posesyn_core.components import Kind
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.geometry.cameras import project
from posesyn_core.registry import Registry
from posesyn_core.values import Camera, LabelledFrame, Sample, SmplParams
from posesyn_hybrik.annotations import read_people
from posesyn_hybrik.config import HybrikReaderConfig, HybrikWriterConfig
from posesyn_hybrik.inputs import View, targets
from posesyn_hybrik.people import Person, joints_and_twists, person_of
from posesyn_hybrik.reader import HybrikReader
from posesyn_hybrik.smpl import smpl_of_body
from posesyn_hybrik.writer import HybrikWriter

WIDTH, HEIGHT = 90, 120


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def frames(body: Body) -> list[LabelledFrame]:
    return [labelled_frame(body, number) for number in range(2)]


def labelled_frame(body: Body, number: int) -> LabelledFrame:
    """A posed body 4 m away in a small picture."""
    random = np.random.default_rng(number)
    smpl = SmplParams([3.0, 0.2, 0.1], 0.3 * random.standard_normal((23, 3)), random.standard_normal(10), [0.1, 0.2, 4])
    arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    joints = body.joints(*(torch.from_numpy(np.array(array)[None]) for array in arrays))[0].numpy()
    camera = Camera([150, 152], [44, 58])
    joints2d = project(joints, camera.focal_length, camera.principal_point)
    picture = random.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    box = np.concatenate([joints2d.min(0), joints2d.max(0)])
    return LabelledFrame(
        id=f"clip/{number}", image=encode_png(picture), box=box, joints2d=joints2d, confidence=np.ones(24),
        camera=camera, joints3d=joints - joints[0], smpl=smpl,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(frames: list[LabelledFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("hybrik") / "out"
    reported = HybrikWriter(HybrikWriterConfig()).write(iter(frames), target)
    assert sorted(reported) == sorted(path for path in target.rglob("*") if path.is_file())
    return target


def read_back(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    content = json.loads((folder / "annotations.json").read_text())
    assert content.keys() == {"images", "annotations"}
    return content["images"], content["annotations"]


SHAPES = {
    "bbox": (4,), "h36m_joints": (17, 3), "smpl_joints": (29, 3), "betas": (10,), "thetas": (24, 3), "root_coord": (3,),
}  # fmt: skip


def test_every_key_has_its_shape_unit_and_range(folder: Path, frames: list[LabelledFrame], body: Body) -> None:
    images, annotations = read_back(folder)
    assert len(images) == len(annotations) == 2
    for number, (image, entry, frame) in enumerate(zip(images, annotations, frames, strict=True)):
        assert image == {"id": number, "file_name": f"{number:012d}.jpg", "width": WIDTH, "height": HEIGHT}
        assert (folder / "images" / image["file_name"]).read_bytes()[:2] == b"\xff\xd8"
        keys = {*SHAPES, "id", "image_id", "cam_param", "angle_twist", "frame_id"}
        assert entry.keys() == keys
        assert (entry["id"], entry["image_id"], entry["frame_id"]) == (number, number, frame.id)
        arrays = {name: np.array(entry[name]) for name in SHAPES}
        assert {name: array.shape for name, array in arrays.items()} == SHAPES
        assert all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays.values())
        assert frame.smpl is not None
        assert frame.camera is not None
        assert frame.joints3d is not None
        joints = arrays["smpl_joints"]
        assert 2000 < joints[:, 2].min() < joints[:, 2].max() < 6000  # millimetres in front of the camera
        np.testing.assert_allclose(joints[:24] - joints[0], 1000 * frame.joints3d, atol=0.5)
        pixels = joints[:24, :2] / joints[:24, 2:] * entry["cam_param"]["f"] + entry["cam_param"]["c"]
        np.testing.assert_allclose(pixels, frame.joints2d, atol=0.05)
        arguments = (frame.smpl.global_orient, frame.smpl.body_pose, frame.smpl.betas, frame.smpl.transl)
        vertices = body(*(torch.from_numpy(np.array(array)[None]) for array in arguments)).vertices[0].numpy()
        distance = np.linalg.norm(1000 * vertices[None] - joints[24:, None], axis=-1).min(1)
        np.testing.assert_allclose(distance, 0, atol=0.5)  # five points of the skin
        np.testing.assert_allclose(arrays["betas"], frame.smpl.betas, rtol=1e-6)
        np.testing.assert_allclose(arrays["thetas"], [frame.smpl.global_orient, *frame.smpl.body_pose], rtol=1e-6)
        np.testing.assert_allclose(arrays["root_coord"], arrays["h36m_joints"][0])
        x, y, w, h = arrays["bbox"]
        assert w == h
        centre = (frame.box[:2] + frame.box[2:]) / 2
        np.testing.assert_allclose([x + (w - 1) / 2, y + (h - 1) / 2], centre, atol=1e-3)
        assert w - 1 == pytest.approx(1.25 * (frame.box[2:] - frame.box[:2]).max(), rel=1e-5)


def test_twists_are_those_of_the_rotations(folder: Path, body: Body) -> None:
    """Independently: the rotation about the rest bone that is left when the swing is taken off."""
    ends = [4, 5, 6, 7, 8, 9, 10, 11, 12, 27, 28, 15, 16, 17, 24, 18, 19, 20, 21, 22, 23, 25, 26]
    rest_of = smpl_of_body(body)
    for entry in read_back(folder)[1]:
        twist = entry["angle_twist"]
        angles = np.array(twist["angle"])
        assert angles.shape == (23,)
        assert (np.abs(angles) <= np.pi).all()
        np.testing.assert_allclose([twist["cos"], twist["sin"]], [np.cos(angles), np.sin(angles)], atol=1e-9)
        rest = rest_of(torch.tensor([entry["betas"]]).float())[0].numpy()
        for joint, end, angle in zip(range(1, 24), ends, angles, strict=True):
            bone = (rest[end] - rest[joint]) / np.linalg.norm(rest[end] - rest[joint])
            rotation = Rotation.from_rotvec(entry["thetas"][joint])
            turned = rotation.apply(bone)
            axis = np.cross(bone, turned)
            size = np.linalg.norm(axis)
            swing = Rotation.from_rotvec(axis / max(size, 1e-12) * np.arctan2(size, bone @ turned))
            left = (swing.inv() * rotation).as_rotvec()
            np.testing.assert_allclose(left, angle * bone, atol=1e-3)


def test_the_written_file_trains_as_the_frames_do(folder: Path, frames: list[LabelledFrame], body: Body) -> None:
    smpl = smpl_of_body(body)
    for person, frame in zip(read_people(folder / "annotations.json"), frames, strict=True):
        assert isinstance(person, Person)
        ours = person_of(frame, lambda params: joints_and_twists(smpl, params))
        view = View(ours.centre, ours.side, angle=0.3, flipped=True)
        found, expected = targets(person, view, 256), targets(ours, view, 256)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=2e-3, err_msg=name)
        assert person.image == folder / "images" / Path(person.image).name  # type: ignore[arg-type]


def test_the_reader_gives_the_same_samples(folder: Path, frames: list[LabelledFrame]) -> None:
    reader = HybrikReader(HybrikReaderConfig(annotations=str(folder / "annotations.json"), body="free"))
    samples = [sample for sample in reader.samples() if isinstance(sample, Sample)]
    for sample, frame in zip(samples, frames, strict=True):
        assert sample.smpl is not None
        assert frame.smpl is not None
        assert sample.joints3d is not None
        assert frame.joints3d is not None
        np.testing.assert_allclose(sample.keypoints2d, frame.joints2d, atol=0.05)
        np.testing.assert_allclose(sample.joints3d, frame.joints3d, atol=1e-3)
        np.testing.assert_allclose(sample.smpl.transl, frame.smpl.transl, atol=1e-3)
        np.testing.assert_allclose(sample.smpl.body_pose, frame.smpl.body_pose, atol=1e-6)
        assert load_image(sample.image).shape == (HEIGHT, WIDTH, 3)


def test_same_frames_same_bytes(folder: Path, frames: list[LabelledFrame], tmp_path: Path) -> None:
    HybrikWriter(HybrikWriterConfig()).write(iter(frames), tmp_path)
    for path in folder.rglob("*.*"):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("field", "missing"), [("smpl", "SMPL parameters"), ("camera", "camera")])
def test_a_frame_that_the_format_has_no_place_for(
    frames: list[LabelledFrame], tmp_path: Path, field: str, missing: str
) -> None:
    bare = evolve(frames[0], **{field: None})
    with pytest.raises(UserError, match=rf"'clip/0' has no {missing}"):
        HybrikWriter(HybrikWriterConfig()).write([bare], tmp_path)
    assert not (tmp_path / "annotations.json").exists()


def test_human36ms_joints_come_from_a_regressor_where_there_is_one(
    frames: list[LabelledFrame], body: Body, tmp_path: Path
) -> None:
    """One that takes SMPL's own joints shows that the posed mesh is what it is applied to."""
    rows = np.zeros((17, len(body.v_template)))
    rows[:, 100] = 1
    np.save(tmp_path / "rows.npy", rows)
    HybrikWriter(HybrikWriterConfig(h36m_regressor=str(tmp_path / "rows.npy"))).write(frames, tmp_path / "out")
    smpl = frames[0].smpl
    assert smpl is not None
    arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    vertex = body(*(torch.from_numpy(np.array(array)[None]) for array in arrays)).vertices[0, 100].numpy()
    found = np.array(read_back(tmp_path / "out")[1][0]["h36m_joints"])
    np.testing.assert_allclose(found, np.tile(1000 * vertex, (17, 1)), atol=0.5)
    np.save(tmp_path / "rows.npy", rows[:, :7])
    with pytest.raises(UserError, match=r"rows\.npy.*shape \(17, 7\)"):
        HybrikWriter(HybrikWriterConfig(h36m_regressor=str(tmp_path / "rows.npy")))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    for content, reason in {"{": "not valid JSON", '{"annotations": [{"a": 1}]}': "none of HybrIK's styles"}.items():
        path.write_text(content)
        with pytest.raises(UserError, match=reason):
            list(read_people(path))
    path.write_text(json.dumps({"images": [], "annotations": [{"smpl_joints": [[0, 0, 1]]}]}))
    with pytest.raises(UserError, match="as many images as annotations"):
        list(read_people(path))
    path.write_text(json.dumps({"images": [{"file_name": "a.jpg"}], "annotations": [{"smpl_joints": [[0, 0, 1]]}]}))
    assert list(read_people(path)) == [("h36m/0", "malformed entry: the key 'cam_param' is missing")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda joints: joints[:17], r"24 to 29 joints in 3D are expected, not an array of shape \(17, 3\)"),
        (lambda joints: [[value / 1000 for value in joint] for joint in joints], r"no person's.*other units"),
    ],
)
def test_joints_of_another_set_or_unit_are_named(folder: Path, tmp_path: Path, change: Any, reason: str) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    content["annotations"][1]["smpl_joints"] = change(content["annotations"][1]["smpl_joints"])
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    good, refused = read_people(tmp_path / "annotations.json", folder)
    assert isinstance(good, Person)
    assert isinstance(refused, tuple)
    assert re.search(reason, refused[1])


def test_images_stay_below_the_folder(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    content["images"][0]["file_name"] = "../../secret.jpg"
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    refused = next(read_people(tmp_path / "annotations.json"))
    assert isinstance(refused, tuple)
    assert "leaves the image root" in refused[1]


def test_all_components_are_registered() -> None:
    registry = Registry.discover()
    for kind in (Kind.ESTIMATOR, Kind.READER, Kind.WRITER):
        assert registry.find(kind, "hybrik").component.name == "hybrik"


def test_a_reader_without_a_file_says_so() -> None:
    with pytest.raises(UserError, match="needs the option annotations"):
        HybrikReader(HybrikReaderConfig())
