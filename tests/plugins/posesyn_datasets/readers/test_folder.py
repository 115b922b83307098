"""The reader of plain folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.folder import FolderConfig, FolderReader
from tests.plugins.posesyn_datasets.overlays import drawn


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(FolderReader(FolderConfig(root, **options)).samples())


def person(**changes: Any) -> dict[str, Any]:
    return {"image": "beach/001.jpg", "keypoints": [[10 + k, 20 + k, 1] for k in range(14)], **changes}


def write(root: Path, document: Any) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "keypoints.json").write_text(document if isinstance(document, str) else json.dumps(document))


def test_a_full_entry(root: Path, photo: bytes) -> None:
    camera = {"focal_length": [1200, 1210], "principal_point": [40, 30]}
    rows = [[10.5, 20.25, 1], [1, 2, 0.3]] + [[0, 0, 0]] * 12
    write(root, {"joint_set": "lsp14", "people": [person(keypoints=rows, box=[1, 2, 30, 40], camera=camera)]})
    (root / "beach").mkdir()
    (root / "beach/001.jpg").write_bytes(photo)
    (sample,) = read(root, split="mine")
    assert isinstance(sample, Sample)
    assert sample.id == "folder/mine/beach/001.jpg-0"
    assert sample.joint_set == "lsp14"
    assert sample.keypoints2d[:2].tolist() == [[10.5, 20.25], [1, 2]]
    assert sample.confidence[:3] == pytest.approx([1, 0.3, 0])
    assert sample.box.tolist() == [1, 2, 30, 40]
    assert sample.camera is not None
    assert sample.camera.focal_length.tolist() == [1200, 1210]
    assert load_image(sample.image).shape == (60, 80, 3)
    drawn(sample)


def test_without_a_box_it_is_drawn_about_the_labelled_joints(root: Path) -> None:
    rows = [[10, 20, 1], [30, 60, 1], [999, 999, 0]] + [[0, 0, 0]] * 11
    write(root, {"joint_set": "lsp14", "people": [person(keypoints=rows), person()]})
    assert len(FolderReader(FolderConfig(root))) == 2
    first, second = read(root)
    assert isinstance(first, Sample)
    margin = 0.12 * 40
    assert first.box == pytest.approx([10 - margin, 20 - margin, 30 + margin, 60 + margin])
    assert isinstance(second, Sample)
    assert second.id == "folder/all/beach/001.jpg-1"
    assert second.camera is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keypoints": [[1, 1, 1]] * 16}, "14 joints expected"),
        ({"keypoints": [[1, 1]] * 14}, "rows"),
        ({"keypoints": [[1, 1, 0]] * 14}, "no visible joint"),
        ({"keypoints": [[float("nan"), 1, 1]] * 14}, "not a number"),
        ({"keypoints": [[1, 1, -1]] * 14}, "not a number"),
        ({"keypoints": [[1, 1, 1], [1]]}, "malformed"),
        ({"image": "../../etc/passwd"}, "leaves the image root"),
        ({"image": None}, "malformed"),
        ({"box": [5, 5, 5, 9]}, "no area"),
        ({"box": [5, 5, 9]}, "malformed"),
        ({"box": None}, "malformed"),
        ({"camera": {"focal_length": [0, 100], "principal_point": [1, 1]}}, "focal length"),
        ({"camera": {"focal_length": [9, 9], "principal_point": [1, float("inf")]}}, "principal point"),
        ({"camera": {"focal_length": [9, 9]}}, "principal_point"),
        ({"camera": 500}, "malformed"),
    ],
)
def test_a_bad_person_is_refused_and_the_next_one_read(root: Path, changes: dict[str, Any], reason: str) -> None:
    write(root, {"joint_set": "lsp14", "people": [person(**changes), person(), None]})
    bad, good, none = read(root)
    assert isinstance(bad, tuple)
    assert reason in bad[1]
    assert isinstance(good, Sample)
    assert isinstance(none, tuple)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not valid JSON"),
        ([], "no list 'people'"),
        ({"joint_set": "lsp14"}, "no list 'people'"),
        ({"joint_set": "lsp15", "people": []}, "lsp15.*lsp14"),
        ({"joint_set": ["lsp14"], "people": []}, "joint_set"),
        ({"people": []}, "joint_set"),
    ],
)
def test_a_damaged_or_foreign_file_is_named(root: Path, document: Any, message: str) -> None:
    write(root, document)
    with pytest.raises(UserError, match=message) as caught:
        read(root)
    assert "keypoints.json" in str(caught.value)


def test_what_is_missing_is_said(root: Path) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"keypoints\.json.*joint_set"):
        read(root)


def test_labels_survive_the_way_through_the_file(root: Path) -> None:
    rows = np.random.default_rng(0).uniform(1, 500, (17, 3)).astype(np.float32)
    write(root, {"joint_set": "coco17", "people": [person(keypoints=rows.tolist())]})
    (sample,) = read(root)
    assert isinstance(sample, Sample)
    assert np.array_equal(np.column_stack([sample.keypoints2d, sample.confidence]), rows)
