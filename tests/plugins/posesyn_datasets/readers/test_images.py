"""Unlabelled pictures."""

import io
import json
from pathlib import Path

import PIL.Image
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.images import DeepFashionConfig, DeepFashionReader, ImagesConfig, ImagesReader
from tests.plugins.posesyn_datasets.overlays import drawn


def read(root: Path, boxes: Path | None = None) -> list[SampleOrRejection]:
    return list(ImagesReader(ImagesConfig(root, boxes)).samples())


def lying(photo: bytes) -> bytes:
    """The picture as a phone held upright stores it: on its side, with a note to turn it."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(photo)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_every_picture_is_one_person(root: Path, photo: bytes) -> None:
    (root / "beach").mkdir(parents=True)
    (root / "beach/001.JPG").write_bytes(photo)
    (root / "phone.jpg").write_bytes(lying(photo))
    (root / "notes.txt").write_text("no picture")
    assert len(ImagesReader(ImagesConfig(root))) == 2
    first, second = read(root)
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    assert (first.id, first.box.tolist()) == ("images/beach/001.JPG-0", [0, 0, 79, 59])
    assert second.box.tolist() == [0, 0, 59, 79]
    assert load_image(second.image).shape == (80, 60, 3)
    assert not first.confidence.any()
    assert first.keypoints2d.shape == (24, 2)


def test_people_come_from_the_box_file(root: Path, tmp_path: Path, photo: bytes) -> None:
    root.mkdir()
    for name in "abc":
        (root / f"{name}.jpg").write_bytes(photo)
    (tmp_path / "boxes.json").write_text(json.dumps({"a.jpg": [[1, 2, 30, 40]], "b.jpg": [[90, 5, 99, 9], "x"]}))
    good, outside, malformed, unlisted = read(root, tmp_path / "boxes.json")
    assert isinstance(good, Sample)
    assert good.box.tolist() == [1, 2, 30, 40]
    assert isinstance(outside, tuple)
    assert "outside the image" in outside[1]
    assert isinstance(malformed, tuple)
    assert malformed[0] == "images/b.jpg-1"
    assert unlisted == ("images/c.jpg", "the box file has nobody in this picture")


def test_people_of_no_picture_are_refused(root: Path, tmp_path: Path, photo: bytes) -> None:
    root.mkdir()
    (root / "a.jpg").write_bytes(photo)
    (tmp_path / "boxes.json").write_text(json.dumps({"A.jpg": [[1, 2, 30, 40]], "a.jpg": [[1, 2, 30, 40]]}))
    _, strange = read(root, tmp_path / "boxes.json")
    assert strange == ("images/A.jpg", "the box file has people of this picture, but there is no such picture")


def test_a_broken_picture_is_refused_and_the_next_one_read(root: Path, photo: bytes) -> None:
    root.mkdir()
    (root / "a.jpg").write_bytes(b"no picture")
    (root / "b.jpg").write_bytes(photo)
    broken, good = read(root)
    assert isinstance(broken, tuple)
    assert broken[0] == "images/a.jpg"
    assert "not an image" in broken[1]
    assert isinstance(good, Sample)


def test_deepfashion(root: Path, photo: bytes) -> None:
    folder = root / "Img/img/MEN/Denim/id_00000080"
    folder.mkdir(parents=True)
    (folder / "01_1_front.jpg").write_bytes(photo)
    (sample,) = DeepFashionReader(DeepFashionConfig(root)).samples()
    assert isinstance(sample, Sample)
    assert sample.id == "deepfashion/MEN/Denim/id_00000080/01_1_front.jpg-0"
    drawn(sample)


def test_what_is_missing_is_said(root: Path) -> None:
    with pytest.raises(UserError, match=r"data.*not a folder"):
        read(root)
    root.mkdir()
    with pytest.raises(UserError, match=r"no picture .*\.jpg.*data"):
        read(root)
    with pytest.raises(UserError, match=r"misses Img/img in .*img\.zip"):
        list(DeepFashionReader(DeepFashionConfig(root)).samples())
