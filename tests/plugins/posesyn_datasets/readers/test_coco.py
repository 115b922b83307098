"""The COCO reader on small files in COCO's layout and on real ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.coco import CocoConfig, CocoReader
from tests.plugins.posesyn_datasets.overlays import drawn

IMAGE = {"id": 7, "file_name": "000000000007.jpg", "width": 80, "height": 60}


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(CocoReader(CocoConfig(root, **options)).samples())


def annotation(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A person with joint k at (k, 2 k), all visible."""
    keypoints = [value for k in range(17) for value in (k, 2 * k, 2)]
    return {
        "id": number,
        "image_id": 7,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": 17,
        "bbox": [1.5, 2.0, 30.0, 40.0],
        "keypoints": keypoints,
        "segmentation": [],
        **changes,
    }


def write(root: Path, annotations: Any, images: Any = (IMAGE,), split: str = "train2017") -> None:
    path = root / f"annotations/person_keypoints_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"info": {}, "images": images, "annotations": annotations, "categories": []}
    path.write_text(json.dumps(document))


def test_a_person(root: Path) -> None:
    flags = [0, 1] + [2] * 15
    write(root, [annotation(keypoints=[v for k in range(17) for v in (k, 2 * k, flags[k])])])
    (root / "train2017").mkdir()
    reader = CocoReader(CocoConfig(root))
    assert len(reader) == 1
    (sample,) = reader.samples()
    assert isinstance(sample, Sample)
    assert sample.id == "coco/train2017/000000000007-1"
    assert sample.image == root / "train2017/000000000007.jpg"
    assert sample.joint_set == "coco17"
    assert sample.confidence.tolist() == [0, 0.5] + [1] * 15
    assert np.array_equal(sample.keypoints2d[1:], np.stack([np.arange(1, 17), 2 * np.arange(1, 17)], -1))
    assert sample.box == pytest.approx([1.5, 2, 31.5, 42])
    drawn(sample)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iscrowd": 1}, "crowd"),
        ({"keypoints": [0] * 51, "num_keypoints": 0}, "no visible joint"),
        ({"keypoints": [float("nan")] * 2 + [2] + [0] * 48}, "not a number"),
        ({"keypoints": [None, 1, 2] + [0] * 48}, "not a number"),
        ({"keypoints": [1, 1, 3] + [0] * 48}, "visibility"),
        ({"keypoints": [1, 1, 2] * 15}, "17 joints"),
        ({"keypoints": "abc"}, "malformed"),
        ({"bbox": [0, 0, 0, 40]}, "no area"),
        ({"bbox": [90, 10, 20, 20]}, "outside the image of 80x60"),
        ({"bbox": [10, -40, 20, 20]}, "outside"),
        ({"bbox": [10, float("nan"), 20, 20]}, "not finite"),
        ({"bbox": [1, 2, 3]}, "malformed"),
        ({"image_id": 8}, "no image with the id 8"),
        ({"image_id": [7]}, "no image with the id"),
    ],
)
def test_a_bad_person_is_refused_and_the_next_one_read(root: Path, changes: dict[str, Any], reason: str) -> None:
    write(root, [annotation(1, **changes), annotation(2)])
    bad, good = read(root)
    assert isinstance(bad, tuple)
    assert reason in bad[1]
    assert isinstance(good, Sample)
    assert good.id == "coco/train2017/000000000007-2"


def test_a_flag_that_is_text_is_understood(root: Path) -> None:
    write(root, [annotation(1, iscrowd="0"), annotation(2, iscrowd="1"), annotation(3, iscrowd=None)])
    assert [isinstance(entry, Sample) for entry in read(root)] == [True, False, True]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.jpg"])
def test_an_image_outside_the_root_is_refused(root: Path, name: str) -> None:
    write(root, [annotation()], [{**IMAGE, "file_name": name}])
    (refused,) = read(root)
    assert isinstance(refused, tuple)
    assert "leaves the image root" in refused[1]


@pytest.mark.parametrize("broken", [None, "person", {}, {"id": 3}, {"image_id": 7, "bbox": []}])
def test_a_malformed_row_is_refused(root: Path, broken: Any) -> None:
    write(root, [broken, annotation(2)])
    bad, good = read(root)
    assert isinstance(bad, tuple)
    assert "malformed" in bad[1]
    assert isinstance(good, Sample)


def test_an_image_entry_without_a_name_or_size(root: Path) -> None:
    write(root, [annotation(1), annotation(2, image_id=9)], [{"id": 7}, {"id": 9, "file_name": "9.jpg"}, "broken"])
    nameless, sizeless = read(root)
    assert isinstance(nameless, tuple)
    assert "file_name" in nameless[1]
    assert isinstance(sizeless, Sample)


def test_a_repeated_id_is_left_for_the_run_to_refuse(root: Path) -> None:
    write(root, [annotation(1), annotation(1)])
    first, second = read(root)
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    assert first.id == second.id


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [], "annotations": [{"keyp',
        "",
        "[]",
        '{"images": {}, "annotations": []}',
        '{"images": [], "annotations": [{"bbox": [0, 0, 1, 1]}]}',
    ],
)
def test_a_damaged_or_foreign_file_is_named(root: Path, text: str) -> None:
    path = root / "annotations/person_keypoints_train2017.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError, match=r"person_keypoints_train2017\.json.*expected"):
        read(root)


def test_what_is_missing_is_said(root: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        read(root)
    root.mkdir()
    with pytest.raises(UserError, match=r"annotations/person_keypoints_val2017\.json"):
        read(root, split="val2017")


def test_real_people_stand_where_the_labels_say(shared: Path) -> None:
    entries = read(shared / "data/images/coco")
    samples = [entry for entry in entries if isinstance(entry, Sample)]
    refused = [entry for entry in entries if not isinstance(entry, Sample)]
    assert len(entries) == 14
    assert [reason for _, reason in refused] == ["no visible joint: none is labelled"] * 2
    for sample in samples:
        height, width = load_image(sample.image).shape[:2]
        labelled = sample.keypoints2d[sample.confidence > 0]
        assert ((labelled >= 0) & (labelled < (width, height))).all()
        slack = 0.1 * (sample.box[2:] - sample.box[:2])  # real annotators draw joints a little outside the box
        assert ((labelled >= sample.box[:2] - slack) & (labelled <= sample.box[2:] + slack)).all()


@pytest.mark.parametrize("names", [True, 3, "nose", [1, 2], {"nose": 0}])
def test_names_of_joints_that_are_none_are_told(root: Path, names: Any) -> None:
    write(root, [annotation(1)])
    path = root / "annotations/person_keypoints_train2017.json"
    document = json.loads(path.read_text())
    document["categories"] = [{"id": 1, "name": "person", "keypoints": names}]
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="'keypoints' of the category 'person' are no list of names"):
        read(root)


@pytest.mark.parametrize("listed", [17, 19])
def test_joints_of_no_set_are_left_out_and_told(root: Path, listed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Human-Art names 21 joints, of which most of its people have 17."""
    flat = [value for k in range(listed) for value in (k, 2 * k, 2)]
    write(root, [annotation(1, keypoints=flat), annotation(2, keypoints=flat[:-6])])
    path = root / "annotations/person_keypoints_train2017.json"
    document = json.loads(path.read_text())
    names = [*joint_set("coco17").joints, "left_finger", "right_toe"]
    document["categories"] = [{"id": 1, "name": "person", "keypoints": names}]
    path.write_text(json.dumps(document))
    whole, cut = read(root)
    assert isinstance(whole, Sample) and whole.joint_set == "coco17"
    np.testing.assert_array_equal(whole.keypoints2d[:, 0], np.arange(17))
    assert isinstance(cut, Sample) == (listed == 19)
    assert "left_finger, right_toe are of no joint set and are left out" in capsys.readouterr().err


def test_a_photograph_of_human_art(shared: Path) -> None:
    entries = read(shared / "data/images/humanart", annotations="test_humanart.json")
    samples = [entry for entry in entries if isinstance(entry, Sample)]
    assert len(samples) == 4 and {sample.joint_set for sample in samples} == {"coco17"}
    acrobat = load_image(samples[2].image)  # the artworks are not here
    assert (samples[2].keypoints2d < acrobat.shape[1::-1]).all() and (samples[2].confidence > 0).all()
