"""Estimates of a few pictures: who is estimated, and what is written."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pygltflib
import pytest
import torch

from posesyn_core.body.formats.wavefront import wavefront
from posesyn_core.body.model import load_body
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import decode_image, encode_png
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.skeletons import convert
from posesyn_core.inference.pictures import (
    Picture,
    find_people,
    pictures,
    predict_pictures,
)
from posesyn_core.values import Camera, Detections, Image, PoseEstimate, Sample
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin
from tests.tiny import people

BOX = (20.0, 10.0, 90.0, 110.0)


@pytest.fixture(scope="module")
def estimator() -> Spin:
    return Spin(SpinConfig(weights="random"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "photo.jpg"
    path.parent.mkdir()
    sample = people(1)[0]
    assert isinstance(sample.image, Path)
    path.write_bytes(sample.image.read_bytes())
    return path


def keypoint_file(folder: Path, *entries: object, joint_set: str = "coco17") -> Path:
    path = folder / "keypoints.json"
    path.write_text(json.dumps({"joint_set": joint_set, "people": entries}))
    return path


def test_a_picture_is_one_person_unless_boxes_say_otherwise(photo: Path) -> None:
    ((whole,),) = (picture.people for picture in pictures([photo]))
    np.testing.assert_array_equal(whole.box, [0, 0, 127, 127])
    assert not whole.confidence.any()
    (picture,) = pictures([photo], [BOX, (0, 0, 50, 50)])
    assert [tuple(person.box) for person in picture.people] == [BOX, (0, 0, 50, 50)]


def test_people_of_a_keypoint_file(photo: Path, tmp_path: Path) -> None:
    rows = np.column_stack([np.linspace(20, 60, 17), np.linspace(30, 90, 17), np.arange(17) % 2])
    entries = (
        {"image": "any/photo.jpg", "box": BOX},
        {"image": "photo.jpg", "keypoints": rows.tolist()},
        {"image": "other.jpg", "box": BOX},
    )
    (picture,) = pictures([photo], keypoints=keypoint_file(tmp_path, *entries))
    boxed, pointed = picture.people
    assert tuple(boxed.box) == BOX
    assert pointed.joint_set == "coco17"
    np.testing.assert_allclose(pointed.keypoints2d[1::2], rows[1::2, :2], atol=1e-4)
    assert pointed.confidence.sum() == 8
    assert pointed.box[0] < 22.5 < 57.5 < pointed.box[2]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"image": "photo.jpg"}, "neither a 'box' nor a labelled keypoint"),
        ({"image": "photo.jpg", "keypoints": [[1, 2, 3]]}, r"must be 17 rows"),
        ({"image": "photo.jpg", "box": [1, 2]}, "person 0 of picture"),
        ({"image": "photo.jpg", "box": [500, 500, 600, 600]}, "lies outside the image"),
        ({"image": "else.jpg", "box": BOX}, r"has no person with the image 'photo\.jpg'"),
    ],
)
def test_a_wrong_entry_is_named(photo: Path, tmp_path: Path, entry: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pictures([photo], keypoints=keypoint_file(tmp_path, entry))


def test_wrong_files_are_named(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"picture .*none\.jpg.* does not exist"):
        pictures([tmp_path / "none.jpg"])
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"text\.jpg.*not an image"):
        pictures([tmp_path / "text.jpg"])
    (tmp_path / "k.json").write_text("[1]")
    with pytest.raises(UserError, match=r"k\.json.* expected an object with \"joint_set\""):
        pictures([photo], keypoints=tmp_path / "k.json")
    with pytest.raises(UserError, match="no joint set 'mine'"):
        pictures([photo], keypoints=keypoint_file(tmp_path, joint_set="mine"))
    with pytest.raises(UserError, match="--box is for a single picture"):
        pictures([photo, photo], [BOX])


def test_the_files_describe_one_body(estimator: Spin, photo: Path, tmp_path: Path) -> None:
    written = predict_pictures(estimator, pictures([photo], [BOX]), tmp_path / "out", formats=("json", "obj"))
    assert [path.name for path in written] == ["photo.overlay.jpg", "photo.json", "photo.0.obj"]
    document = json.loads(written[1].read_text())
    assert document["size"] == [128, 128]
    (person,) = document["people"]
    joints3d, transl = np.array(person["joints3d"]), np.array(person["smpl"]["transl"])
    vertices = np.array([line.split()[1:] for line in written[2].read_text().splitlines() if line[0] == "v"], float)
    vertices *= [1, -1, -1]
    body = load_body()
    assert len(vertices) == len(body.v_template)
    orient, pose = (torch.tensor(person["smpl"][name]) for name in ("global_orient", "body_pose"))
    root = body.joints(orient[None], pose[None], torch.tensor(person["smpl"]["betas"])[None])[0, 0].numpy()
    camera = {name: np.array(values) for name, values in person["camera"].items()}
    seen = project(joints3d + root + transl, camera["focal_length"], camera["principal_point"])
    np.testing.assert_allclose(seen, person["joints2d"], atol=0.05)
    pixels = project(vertices, camera["focal_length"], camera["principal_point"])
    drawn = decode_image(written[0].read_bytes())
    assert drawn.shape == (128, 256, 3)
    changed = cv2.absdiff(drawn[:, 128:], decode_image(photo.read_bytes())).max(2) > 60
    rows, columns = np.nonzero(changed)
    for found, expected in ((columns, pixels[:, 0]), (rows, pixels[:, 1])):
        assert abs(found.min() - max(expected.min(), 0)) < 8
        assert abs(found.max() - min(expected.max(), 127)) < 8


class Fails:
    """An estimator in one piece without bodies, which can't estimate the second person."""

    def predict(self, samples: list[Sample]) -> list[PoseEstimate]:
        if any(sample.box[0] == 0 for sample in samples):
            raise SampleError("nothing to see")
        joints = np.linspace(20, 100, 48).reshape(24, 2)
        return [PoseEstimate(np.zeros((24, 3)), joints, Camera([100, 100], [64, 64])) for _ in samples]


def test_an_estimator_without_bodies_and_a_person_that_fails(photo: Path, tmp_path: Path) -> None:
    shown = pictures([photo], [BOX, (0, 0, 50, 50)])
    written = predict_pictures(Fails(), shown, tmp_path / "out")
    first, second = json.loads(written[1].read_text())["people"]
    assert first["smpl"] is None
    assert second == {"box": [0, 0, 50, 50], "error": "nothing to see"}
    assert decode_image(written[0].read_bytes()).shape == (128, 128, 3)


class Limbs:
    """An estimator in one piece of COCO's joints: of the first person all, of others no knees."""

    def predict(self, samples: list[Sample]) -> list[PoseEstimate]:
        (truth,) = people(1, "lab")
        assert truth.joints3d is not None and truth.camera is not None
        joints, known = convert(truth.joints3d, None, "smpl24", "coco17")
        joints = np.where(known[:, None], joints, np.nan)
        pixels = project(joints + np.array([0, 0, 4]), truth.camera.focal_length, truth.camera.principal_point)
        lacking = np.where(np.isin(np.arange(17), [7, 8, 9, 10, 13])[:, None], np.nan, joints)
        return [
            PoseEstimate(lacking if sample.box[0] == 0 else joints, pixels, truth.camera, joint_set="coco17")
            for sample in samples
        ]


def test_meshes_of_joints_are_fitted_bodies(photo: Path, tmp_path: Path) -> None:
    shown = pictures([photo], [BOX, (0, 0, 50, 50)])
    written = predict_pictures(Limbs(), shown, tmp_path / "out", formats=("json", "obj"))
    assert [path.suffix for path in written] == [".jpg", ".json", ".obj"]
    told = json.loads(written[1].read_text())
    assert (told["joint_set"], len(told["joint_names"])) == ("coco17", 17)
    first, second = told["people"]
    assert len(first["joints3d"]) == 17 and first["joints3d"][0] is None  # SMPL has no nose
    assert 0 < first["residual_mm"] < 20 and len(first["smpl"]["body_pose"]) == 23
    assert second["smpl"] is None and second["joints2d"][5] is not None
    assert decode_image(written[0].read_bytes()).shape == (128, 256, 3)


class TwoHalves:
    """A detector that takes each half of a picture for a person."""

    def find_people(self, images: Sequence[Image]) -> list[Detections]:
        sizes = [(image.shape[1] - 1, image.shape[0] - 1) for image in images]
        return [Detections([[0, 0, w / 2, h], [w / 2, 0, w, h]], [0.9, 0.8]) for w, h in sizes]


def test_people_of_files_and_folders_are_found_and_bad_files_told(photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    (folder / "day").mkdir(parents=True)
    for name in ("10.jpg", "2.jpg", "day/1.PNG"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_text("no picture either")
    found = list(find_people([photo, folder], TwoHalves()))
    read = [entry for entry in found if isinstance(entry, Picture)]
    assert [picture.path.name for picture in read] == ["photo.jpg", "2.jpg", "10.jpg", "1.PNG"]
    assert all([tuple(person.box) for person in picture.people] == [(0, 0, 63.5, 127), (63.5, 0, 127, 127)]
               for picture in read)  # fmt: skip
    ((path, reason),) = [entry for entry in found if isinstance(entry, tuple)]
    assert path.name == "broken.jpg" and "not an image" in reason
    ((whole,),) = (picture.people for picture in find_people([photo], None) if isinstance(picture, Picture))
    assert tuple(whole.box) == (0, 0, 127, 127)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no picture"):
        list(find_people([tmp_path / "empty"], None))
    with pytest.raises(UserError, match="does not exist"):
        list(find_people([tmp_path / "gone.jpg"], None))


def test_bodies_are_written_for_other_programs(estimator: Spin, photo: Path, tmp_path: Path) -> None:
    written = predict_pictures(estimator, pictures([photo], [BOX]), tmp_path, formats=("glb", "bvh", "npz"))
    assert [path.name for path in written] == ["photo.overlay.jpg", "photo.0.glb", "photo.0.bvh", "photo.0.npz"]
    document = pygltflib.GLTF2().load(str(written[1]))
    assert document is not None and not document.animations and len(document.skins[0].joints) == 24
    assert "Frames: 1\n" in written[2].read_text()
    assert np.load(written[3])["poses"].shape == (1, 156)


def test_the_legend_names_the_estimator_where_there_is_room(photo: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(encode_png(cv2.resize(decode_image(photo.read_bytes()), (640, 480))))
    shown = pictures([large], [BOX])
    drawn = []
    for caption in ("", "mine, weights best"):
        overlay, _ = predict_pictures(Limbs(), shown, tmp_path / caption[:4], caption=caption)
        drawn.append(decode_image(overlay.read_bytes()).astype(int))
    rows, columns = np.nonzero(np.abs(drawn[0] - drawn[1]).max(axis=2) > 40)
    assert len(rows) > 100 and rows.min() > 420 and columns.max() < 400


def test_pictures_of_one_name_keep_apart(estimator: Spin, photo: Path, tmp_path: Path) -> None:
    written = predict_pictures(estimator, pictures([photo, photo]), tmp_path / "out")
    assert len({path.name for path in written}) == 4
    first, second = (json.loads(path.read_text()) for path in written if path.suffix == ".json")
    assert first == second


def test_wavefront_stands_upright() -> None:
    text = wavefront(np.array([[1, 2, 3], [0, -1, 1], [1, -1, 1]], np.float32), np.array([[0, 1, 2]]))
    assert text.splitlines()[1:] == [
        "v 1.000000 -2.000000 -3.000000",
        "v 0.000000 1.000000 -1.000000",
        "v 1.000000 1.000000 -1.000000",
        "f 1 2 3",
    ]
