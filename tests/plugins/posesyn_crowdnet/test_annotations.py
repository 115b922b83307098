"""3DCrowdNet's annotation files with 3D joints: small instances, and joints that are not in their unit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_crowdnet.annotations import PersonOrRejection, read_human36m, read_muco
from posesyn_crowdnet.people import Person, sample_of
from tests.plugins.posesyn_datasets.figures import figure

F, C = np.array([1100.0, 1100.0]), np.array([500.0, 500.0])


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def muco(root: Path, unit: float = 1000.0) -> list[PersonOrRejection]:
    """What is read of one image with one person 4 m before the camera, in millimetres unless ``unit`` differs."""
    joints = figure("muco21") + np.array([0, 0, 4])
    image = {"id": 1, "file_name": "1.jpg", "width": 1000, "height": 1000, "f": F.tolist(), "c": C.tolist()}
    seen = joints[:, :2] / joints[:, 2:] * F + C
    entry = {"id": 2, "image_id": 1, "bbox": [300, 300, 400, 400], "keypoints_cam": (unit * joints).tolist(),
             "keypoints_img": seen.tolist()}  # fmt: skip
    write(root / "MuCo/data/MuCo-3DHP.json", {"images": [image], "annotations": [entry]})
    write(root / "MuCo/data/smpl_param.json", {})
    return list(read_muco(root))


def human36m(root: Path, unit: float = 1000.0) -> list[PersonOrRejection]:
    """Likewise, in a world that is the camera's."""
    joints = figure("h36m17") + np.array([0, 0, 4])
    image = {"id": 1, "file_name": "1.jpg", "width": 1000, "height": 1000, "cam_idx": 1, "action_idx": 2,
             "subaction_idx": 1, "frame_idx": 5}  # fmt: skip
    camera = {"R": np.eye(3).tolist(), "t": [0, 0, 0], "f": F.tolist(), "c": C.tolist()}
    stem = root / "Human36M/annotations/Human36M_subject1"
    entry = {"id": 2, "image_id": 1, "bbox": [300, 300, 400, 400]}
    write(Path(f"{stem}_data.json"), {"images": [image], "annotations": [entry]})
    write(Path(f"{stem}_camera.json"), {"1": camera})
    write(Path(f"{stem}_joint_3d.json"), {"2": {"1": {"5": (unit * joints).tolist()}}})
    write(Path(f"{stem}_smpl_param.json"), {})
    return list(read_human36m(root, [1]))


@pytest.mark.parametrize(("read", "name"), [(muco, "muco21"), (human36m, "h36m17")])
def test_joints_in_metres_and_where_they_are_seen(tmp_path: Path, read: Any, name: str) -> None:
    (person,) = read(tmp_path)
    assert isinstance(person, Person)
    joints = figure(name) + np.array([0, 0, 4])
    assert person.points3d == pytest.approx(joints)
    assert person.points == pytest.approx(joints[:, :2] / joints[:, 2:] * F + C)
    sample = sample_of(person, "a/b")
    assert sample.joint_set == name  # whose pelvis is not SMPL's
    assert sample.keypoints3d == pytest.approx(joints, abs=1e-6)
    assert sample.keypoints2d == pytest.approx(person.points, abs=1e-3)


@pytest.mark.parametrize("read", [muco, human36m])
def test_joints_in_another_unit_are_refused(tmp_path: Path, read: Any) -> None:
    (refused,) = read(tmp_path, unit=1.0)
    assert isinstance(refused, tuple)
    assert "the 3D joints are no person's" in refused[1] and "other units" in refused[1]
