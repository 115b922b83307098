"""Inputs after public reports (``shared/field``): what tools, phones and other data sets write is read right."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.contracts.entries import entries
from posesyn_core.errors import PoseSynWarning
from posesyn_core.files.images import load_image
from posesyn_core.geometry.skeletons import joint_set
from posesyn_datasets.captions import FileCaptions, FileCaptionsConfig
from posesyn_datasets.readers.coco import CocoConfig, CocoReader
from posesyn_datasets.readers.folder import FolderConfig, FolderReader
from posesyn_datasets.readers.jhmdb import JhmdbConfig, JhmdbReader
from posesyn_datasets.readers.mpii import MpiiConfig, MpiiReader


def read(root: Path, **options: Any) -> list[Sample]:
    """The samples; whoever has no labelled joint is refused."""
    found = list(entries(CocoReader(CocoConfig(root, **options))))
    assert {entry[1] for entry in found if isinstance(entry, tuple)} <= {"no visible joint: none is labelled"}
    return [entry for entry in found if isinstance(entry, Sample)]


@pytest.fixture(scope="module")
def official(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    """The same people as the official file has them, by the end of the id."""
    root = tmp_path_factory.mktemp("official")
    (root / "annotations").mkdir()
    shutil.copy(shared / "field/labelling-tools/cvat.json", root / "annotations/person_keypoints_train2017.json")
    return {sample.id.rpartition("/")[2]: sample for sample in read(root)}


def lay_out(root: Path, shared: Path, file: str, folder: str) -> None:
    """The annotations, and the pictures that they name in ``folder`` below the root."""
    (root / "annotations").mkdir(parents=True)
    shutil.copy(shared / "field" / file, root / "annotations/person_keypoints_train2017.json")
    (root / folder).mkdir(parents=True)
    for image in json.loads((shared / "field" / file).read_bytes())["images"]:
        name = image["file_name"].replace("\\", "/").rpartition("/")[2]
        picture = next((shared / "data/images/coco").rglob(name), None)
        if picture is not None:
            shutil.copy(picture, root / folder / name)


@pytest.mark.parametrize(
    ("name", "folder", "told"),
    [
        ("cvat", "images", False),
        ("floatid", "train2017", False),
        ("backslash", "images/batch1", True),
        ("cvatlayout", "images/default", True),
        ("abspath", "images", True),
        ("nobbox", "images", False),
        ("only12", "images", False),
    ],
)
def test_exports_of_labelling_tools_are_read(
    tmp_path: Path, shared: Path, official: dict[str, Sample], name: str, folder: str, told: bool,
    recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    lay_out(tmp_path, shared, f"labelling-tools/{name}.json", folder)
    samples = read(tmp_path)
    assert [sample.id.rpartition("/")[2] for sample in samples] == list(official)
    assert any("by their names below" in str(warning.message) for warning in recwarn) == told
    for sample in samples:
        truth = official[sample.id.rpartition("/")[2]]
        assert sample.joint_set == "coco17"
        assert load_image(sample.image).shape[2] == 3
        body = slice(5, 17) if name == "only12" else slice(0, 17)
        np.testing.assert_array_equal(sample.keypoints2d[body], truth.keypoints2d[body])
        np.testing.assert_array_equal(sample.confidence[body], truth.confidence[body])
        if name == "only12":
            assert not sample.confidence[:5].any()
        labelled = sample.keypoints2d[sample.confidence > 0]
        assert (labelled >= sample.box[:2] - 12).all()
        assert (labelled <= sample.box[2:] + 12).all()
        if name != "nobbox":
            np.testing.assert_array_equal(sample.box, truth.box)


def test_joints_in_another_order_are_taken_by_name(tmp_path: Path, shared: Path, official: dict[str, Sample]) -> None:
    lay_out(tmp_path, shared, "other-order/coco_reordered.json", "images")
    for sample in read(tmp_path):
        np.testing.assert_array_equal(sample.keypoints2d, official[sample.id.rpartition("/")[2]].keypoints2d)


def test_joints_of_human36m_in_a_coco_file_are_of_their_own_set(tmp_path: Path, shared: Path) -> None:
    lay_out(tmp_path, shared, "other-order/h36m_coco.json", "images")
    document = json.loads((shared / "field/other-order/h36m_coco.json").read_bytes())
    names = document["categories"][0]["keypoints"]
    samples = read(tmp_path)
    assert len(samples) == 4
    for sample, person in zip(samples, document["annotations"], strict=True):
        rows = np.reshape(person["keypoints"], (17, 3))
        joints = joint_set(sample.joint_set)
        assert joints.name == "h36m17"
        for ours, theirs in (("left_ankle", "left_foot"), ("pelvis", "root (pelvis)"), ("right_wrist", "right_wrist")):
            there = rows[names.index(theirs), :2]
            np.testing.assert_allclose(sample.keypoints2d[joints.joints.index(ours)], there, rtol=1e-6)


def test_pictures_labelled_as_stored_have_their_joints_on_their_marks(tmp_path: Path, shared: Path) -> None:
    """Tag 1, and the quarter turns 6 and 8, by the sizes in the file; the half turn by the option."""
    root = shared / "field/exif-coco"
    with pytest.warns(PoseSynWarning, match='1 pictures .* set pixels = "stored"'):
        upright = read(root)
    with pytest.warns(PoseSynWarning, match='1 pictures .* set pixels = "upright"'):
        stored = read(root, pixels="stored")
    for sample in stored:
        assert marked(sample) == 17
    assert [marked(sample) for sample in upright] == [17, 17, 0, 17]
    for sample in (upright[0], upright[1], upright[3]):
        height, width = load_image(sample.image).shape[:2]
        assert (sample.box >= -1).all()
        assert (sample.box <= [width, height, width, height]).all()


def marked(sample: Sample) -> int:
    """How many joints lie on the red marks that the pictures have where joints are."""
    image = load_image(sample.image).astype(int)
    x, y = np.round(sample.keypoints2d).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
    colours = image[y[inside], x[inside]]
    return int((np.abs(colours - image[0, 0]).sum(-1) > 150).sum())


def test_names_of_no_set_are_refused_and_other_categories_counted(
    tmp_path: Path, shared: Path, official: dict[str, Sample]
) -> None:
    document = json.loads((shared / "field/labelling-tools/cvat.json").read_bytes())
    first = document["annotations"][0]
    document["annotations"].append({**first, "id": 1, "category_id": 1})
    document["annotations"].append({**first, "id": 2, "category_id": 99})
    path = tmp_path / "annotations/person_keypoints_train2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document))
    found = list(CocoReader(CocoConfig(tmp_path)).samples())
    assert [entry[1] for entry in found if isinstance(entry, tuple)][2:] == [
        "not a person, but of the category 'car'",
        "the file lists no category with the id 99",
    ]
    document["categories"][1]["keypoints"][0] = "antenna"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"antenna.*coco17"):
        list(CocoReader(CocoConfig(tmp_path)).samples())
    assert len(found) == len(official) + 4


def test_sub_jhmdb_is_read_under_its_archives_names(shared: Path) -> None:
    for splits in ("splits", "sub_splits"):
        found = list(JhmdbReader(JhmdbConfig(shared / "field/subjhmdb", splits=splits)).samples())
        samples = [entry for entry in found if isinstance(entry, Sample)]
        assert len(samples) == len(found) > 0
        assert all(load_image(sample.image).size for sample in samples)


def test_mpii_was_labelled_on_stored_pictures(shared: Path, tmp_path: Path) -> None:
    """HRNet's JSON has no sizes: what MATLAB showed is taken, and the pictures for which it matters are counted."""
    document = json.loads((shared / "field/exif-coco/annotations/person_keypoints_train2017.json").read_bytes())
    people = [
        {"image": f"{entry['image_id']:012d}.jpg", "joints_vis": [1] * 16,
         "joints": [[x + 1, y + 1] for x, y in np.reshape(entry["keypoints"], (17, 3))[:16, :2].tolist()]}
        for entry in document["annotations"]
    ]  # fmt: skip
    (tmp_path / "annot").mkdir()
    (tmp_path / "annot/train.json").write_text(json.dumps(people))
    shutil.copytree(shared / "field/exif-coco/train2017", tmp_path / "images")
    with pytest.warns(PoseSynWarning, match='3 pictures .* set pixels = "upright"'):
        samples = [entry for entry in entries(MpiiReader(MpiiConfig(tmp_path))) if isinstance(entry, Sample)]
    assert [marked(sample) for sample in samples] == [16] * 4
    with pytest.warns(PoseSynWarning, match="3 pictures"):
        upright = [e for e in MpiiReader(MpiiConfig(tmp_path, pixels="upright")).samples() if isinstance(e, Sample)]
    assert marked(upright[1]) < 3


def test_windows_files_are_read(shared: Path) -> None:
    (sample,) = FolderReader(FolderConfig(shared / "field/windows-text/data")).samples()
    assert isinstance(sample, Sample)
    captions = FileCaptions(FileCaptionsConfig(shared / "field/windows-text/c.csv")).captions
    assert captions == {"folder/all/photo.jpg-0": "a man runs"}
