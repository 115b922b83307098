"""2D detections in place of labelled keypoints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core.errors import SampleError, UserError
from posesyn_core.values import Sample
from posesyn_crowdnet.detections import Detections
from posesyn_crowdnet.joints import COCO

PERSON = np.column_stack([np.random.default_rng(0).uniform([30, 20], [90, 140], (17, 2)), np.full(17, 0.9)])


def detections(tmp_path: Path, content: Any) -> Detections:
    (tmp_path / "found.json").write_text(json.dumps(content))
    return Detections(tmp_path / "found.json")


def sample(labelled: bool = True) -> Sample:
    joints = PERSON[:, :2] + 1
    return Sample("set/1", Path("a/1.jpg"), (30, 20, 90, 140), "coco17", joints, np.full(17, float(labelled)))


def test_by_sample_id(tmp_path: Path) -> None:
    wide = [[*row, 7.0] for row in PERSON.tolist()]  # columns after the third are not looked at
    joints, names = detections(tmp_path, {"set/1": wide}).joints(sample())
    np.testing.assert_allclose(joints[:17], PERSON)
    assert names == (*COCO, "Pelvis", "Neck")
    np.testing.assert_allclose(joints[17, :2], PERSON[[11, 12], :2].mean(0))
    assert joints[17, 2] == pytest.approx(0.81)


@pytest.mark.parametrize(("rows", "neck"), [(18, 1), (25, 1)])
def test_openposes_orders(tmp_path: Path, rows: int, neck: int) -> None:
    person = np.arange(rows * 3).reshape(rows, 3).tolist()
    joints, names = detections(tmp_path, {"set/1": person}).joints(sample())
    assert (names[neck], names[4]) == ("Neck", "R_Wrist")
    assert names.count("Pelvis") == 1
    np.testing.assert_allclose(joints[neck], person[neck])


@pytest.mark.parametrize("labelled", [True, False])
def test_the_samples_person_is_found_among_all_of_the_image(tmp_path: Path, labelled: bool) -> None:
    """By the labelled joints, and by the box where there are none."""
    other = PERSON + np.array([100, 0, 0])
    joints, _ = detections(tmp_path, {"1.jpg": [other.tolist(), PERSON.tolist()]}).joints(sample(labelled))
    np.testing.assert_allclose(joints[:17], PERSON)
    with pytest.raises(SampleError, match="none of the detected people"):
        detections(tmp_path, {"1.jpg": [other.tolist()]}).joints(sample(labelled))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "nothing of sample 'set/1'"),
        ({"1.jpg": []}, "found nobody"),
        ({"set/1": PERSON[:5].tolist()}, r"17, 18 or 25 rows .* not shape \(5, 3\)"),
        ({"set/1": [[1, "x", 2]] * 17}, "no list of rows"),
        ({"set/1": 3}, "no list of rows"),
        ({"set/1": [[1, float("nan"), 2]] * 17}, "17, 18 or 25 rows"),
    ],
)
def test_what_can_not_be_used_rejects_the_sample(tmp_path: Path, content: Any, reason: str) -> None:
    with pytest.raises(SampleError, match=reason):
        detections(tmp_path, content).joints(sample())


def test_a_file_that_is_none_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found\.json"):
        detections(tmp_path, [1, 2])
    (tmp_path / "cut.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"cut\.json.*is it complete"):
        Detections(tmp_path / "cut.json")
    with pytest.raises(UserError, match=r"missing\.json"):
        Detections(tmp_path / "missing.json")
