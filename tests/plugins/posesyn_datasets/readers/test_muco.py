"""The MuCo-3DHP reader on a small instance of 3DMPPE's JSON and on that of the 3DCrowdNet parity pack."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.muco import MucoConfig, MucoReader
from tests.plugins.posesyn_datasets.figures import figure
from tests.plugins.posesyn_datasets.overlays import drawn

IMAGE = {"id": 7, "file_name": "unaugmented_set/1/000007.png", "width": 800, "height": 900, "f": [500, 501],
         "c": [400, 450]}  # fmt: skip

AWAY = np.array([0, 0, 4])


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(MucoReader(MucoConfig(root, **options)).samples())


def person(number: int, depth: float = 4.0, **changes: Any) -> dict[str, Any]:
    pose = figure("muco21") + np.array([0, 0, depth])
    pixels = pose[:, :2] / pose[:, 2:] * IMAGE["f"] + IMAGE["c"]
    return {
        "id": number, "image_id": 7, "keypoints_cam": (1000 * pose).tolist(), "keypoints_img": pixels.tolist(),
        "keypoints_vis": [True] * 21, "bbox": [300, 250, 200, 400], **changes,
    }  # fmt: skip


def write(root: Path, people: Any, image: dict[str, Any] = IMAGE) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "MuCo-3DHP.json").write_text(json.dumps({"images": [image], "annotations": people}))


def test_people_in_metres(root: Path) -> None:
    write(root, [person(1), person(2, depth=3.0)])
    samples = [sample for sample in read(root) if isinstance(sample, Sample)]
    assert [sample.id for sample in samples] == [f"muco/train/unaugmented_set/1/000007-{at}" for at in (1, 2)]
    assert samples[0].keypoints3d == pytest.approx(figure("muco21") + AWAY, abs=1e-5)
    assert samples[0].box.tolist() == [300, 250, 500, 650]
    assert samples[0].camera is not None
    assert samples[0].camera.focal_length.tolist() == [500, 501]
    drawn(samples[0])
    assert [sample.id[-1] for sample in read(root, nearest=True) if isinstance(sample, Sample)] == ["2"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keypoints_cam": [[0, 0, 1]] * 17}, "must be 21 x 3"),
        ({"keypoints_img": [[0, 0]] * 17}, "21 joints expected"),
        ({"keypoints_cam": (figure("muco21") + AWAY).tolist()}, "no person's"),
        ({"image_id": 8}, "no image with the id 8"),
        ({"bbox": [0, 0, 0, 5]}, "no area"),
        ({"keypoints_vis": None}, "21 joints expected"),
    ],
)
def test_a_bad_person_is_refused_and_the_next_ones_read(root: Path, changes: dict[str, Any], reason: str) -> None:
    write(root, [person(1, **changes), person(2), person(3), "broken"])
    bad, *good, broken = read(root)
    assert isinstance(bad, tuple)
    assert reason in bad[1]
    assert all(isinstance(entry, Sample) for entry in good)
    assert len(good) == 2
    assert isinstance(broken, tuple)


def test_a_missing_camera_and_an_image_outside_the_root_are_refused(root: Path) -> None:
    for image, reason in (
        ({key: value for key, value in IMAGE.items() if key != "f"}, "camera is missing"),
        ({**IMAGE, "file_name": "../../a.png"}, "leaves the image root"),
    ):
        write(root, [person(1)], image)
        (entry,) = read(root)
        assert isinstance(entry, tuple)
        assert reason in entry[1]


def test_what_is_missing_or_wrong_is_said(root: Path) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"misses MuCo-3DHP\.json"):
        read(root)
    write(root, [person(1, keypoints_cam=(figure("muco21") + AWAY).tolist())])
    with pytest.raises(UserError, match=r"MuCo-3DHP\.json.* can't be in millimetres.*seem to be in metres"):
        read(root)
    (root / "MuCo-3DHP.json").write_text('{"images": []}')
    with pytest.raises(UserError, match="lacks 'annotations'"):
        read(root)


def test_reads_the_layout_of_3dcrowdnets_pack(root: Path, shared: Path) -> None:
    document = json.loads((shared / "parity/crowdnet/annotations.json").read_text())["MuCo/data/MuCo-3DHP.json"]
    root.mkdir()
    (root / "MuCo-3DHP.json").write_text(json.dumps(document))
    entries = read(root)
    assert len(entries) == len(document["annotations"])
    for entry in entries:
        assert isinstance(entry, Sample), entry
        assert entry.keypoints3d is not None
        assert entry.camera is not None
        seen = entry.keypoints3d[:, :2] / entry.keypoints3d[:, 2:] * entry.camera.focal_length
        assert np.abs(seen + entry.camera.principal_point - entry.keypoints2d).max() < 1
