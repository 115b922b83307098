"""Labels that were made on pictures as they are stored: on their marks in every format, however it is turned."""

import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from posesyn_core import Sample
from posesyn_core.components import Kind
from posesyn_core.files.images import load_image
from posesyn_core.registry import Registry
from tests.core.files.test_images import HEIC, ORIENTATION, TURNED

MARK = (44, 13)
"""Where the mark is on the upright picture, x and y."""


def marked() -> np.ndarray:
    """A dark picture (48, 64, 3) with a bright mark."""
    picture = np.full((48, 64, 3), 20, np.uint8)
    picture[MARK[1] - 2 : MARK[1] + 3, MARK[0] - 2 : MARK[0] + 3] = 250
    return picture


def write(root: Path, form: str, orientation: int) -> None:
    """A COCO data set of one picture whose labels and sizes are those of the stored pixels."""
    stored = np.ascontiguousarray(TURNED[orientation](marked()))
    exif, data = PIL.Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = orientation
    PIL.Image.fromarray(stored).save(data, form, exif=exif)
    y, x = (round(float(axis.mean())) for axis in np.nonzero(stored[..., 0] > 150))
    write_labels(root, data.getvalue(), (stored.shape[1], stored.shape[0]), (x, y))


def write_labels(root: Path, picture: bytes, size: tuple[int, int], mark: tuple[int, int]) -> None:
    """A COCO data set of one picture whose joints are all on the mark; ``size`` is its width and height there."""
    (x, y), (width, height) = mark, size
    (root / "val2017").mkdir(parents=True)
    (root / "val2017/a.img").write_bytes(picture)
    document = {
        "images": [{"id": 1, "file_name": "a.img", "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [x - 9, y - 8, 18, 16], "num_keypoints": 17,
                         "keypoints": [x, y, 2] * 17}],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    (root / "annotations").mkdir()
    (root / "annotations/person_keypoints_val2017.json").write_text(json.dumps(document))


@pytest.mark.filterwarnings("ignore:.*EXIF orientation")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_labels_of_stored_pixels_are_on_their_marks(tmp_path: Path, form: str, orientation: int) -> None:
    write(tmp_path, form, orientation)
    options = {"root": str(tmp_path), "split": "val2017"}
    if orientation < 5:  # the sizes don't tell
        options["pixels"] = "stored"
    (sample,) = Registry.discover().create(Kind.READER, "coco", options, "test").samples()
    assert isinstance(sample, Sample)
    bright = np.argwhere(load_image(sample.image)[..., 0] > 150).mean(0)[::-1]
    assert bright == pytest.approx(MARK, abs=0.5)
    assert sample.keypoints2d == pytest.approx(np.tile(MARK, (17, 1)), abs=0.5)
    assert (sample.box[:2] + sample.box[2:]) / 2 == pytest.approx(MARK, abs=1)


@pytest.mark.filterwarnings("ignore:.*EXIF orientation")
@pytest.mark.parametrize(
    ("size", "convention", "wanted"),
    [
        ((64, 48), "upright", (13, 64 - 1 - 44)),
        ((48, 64), "stored", (44, 13)),
        (None, "stored", (13, 64 - 1 - 44)),
        (None, "upright", (44, 13)),
    ],
)
def test_labels_of_heic_before_it_is_turned(
    tmp_path: Path, size: tuple[int, int] | None, convention: str, wanted: tuple[int, int]
) -> None:
    """The file's own turn (``irot``: a quarter to the left), which decoders apply; sizes decide before the option."""
    pytest.importorskip("pi_heif")
    write_labels(tmp_path, (HEIC / "turned.heic").read_bytes(), size or (640, 480), (44, 13))
    options = {"root": str(tmp_path), "split": "val2017", "pixels": convention}
    if size is None:
        path = tmp_path / "annotations/person_keypoints_val2017.json"
        path.write_text(path.read_text().replace('"width": 640, "height": 480', '"license": 1'))
    (sample,) = Registry.discover().create(Kind.READER, "coco", options, "test").samples()
    assert isinstance(sample, Sample)
    assert sample.keypoints2d == pytest.approx(np.tile(wanted, (17, 1)))
