"""The reader of the Panoptic Studio on a small sequence in its layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.skeletons import PANOPTIC19
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.panoptic import PanopticConfig, PanopticReader
from tests.plugins.posesyn_datasets.figures import figure
from tests.plugins.posesyn_datasets.overlays import drawn

NAME = "171204_pose1"
K = [[1400.0, 0, 950.0], [0, 1390.0, 540.0], [0, 0, 1]]
LENS = [-0.28, 0.17, 0.001, -0.0004, 0.03]
TURNS = {"00_00": 0.0, "00_05": 0.6}
"""Every HD camera's turn about the vertical through the middle of the studio."""


def person(x: float = 0.0, identity: int = 0, confidence: float = 0.6) -> dict[str, Any]:
    """A body in the world, centimetres, y down as in the studio."""
    joints = 100 * figure("panoptic19", yaw=0.4) + (x, -95, 0)
    rows = np.column_stack([joints, np.full(19, confidence)])
    return {"id": identity, "joints19": rows.ravel().tolist()}


def write(root: Path, photo: bytes, frames: list[Any], *, lens: list[float] = LENS) -> None:
    folder = root / NAME
    (folder / "hdPose3d_stage1_coco19").mkdir(parents=True)
    cameras = [{"name": "01_01", "type": "vga", "resolution": [640, 480], "panel": 1, "node": 1, "K": K,
                "distCoef": LENS, "R": np.eye(3).tolist(), "t": [[0], [0], [250]]}]  # fmt: skip
    for name, turn in TURNS.items():
        rotation = Rotation.from_euler("y", turn).as_matrix()
        cameras.append({"name": name, "type": "hd", "resolution": [1920, 1080], "panel": 0, "node": int(name[-2:]),
                        "K": K, "distCoef": lens, "R": rotation.tolist(), "t": [[0], [95], [300]]})  # fmt: skip
        (folder / "hdImgs" / name).mkdir(parents=True)
    calibration = {"calibDataSource": "160906_calib_norm", "cameras": cameras}
    (folder / f"calibration_{NAME}.json").write_text(json.dumps(calibration))
    for number, bodies in enumerate(frames):
        scene = {"version": 0.7, "univTime": 53541.542, "fpsType": "hd_29_97", "bodies": bodies}
        path = folder / f"hdPose3d_stage1_coco19/body3DScene_{number:08d}.json"
        path.write_text(bodies if isinstance(bodies, str) else json.dumps(scene))
        for name in TURNS:
            (folder / f"hdImgs/{name}/{name}_{number:08d}.jpg").write_bytes(photo)


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(PanopticReader(PanopticConfig(root, **{"stride": 1, **options})).samples())


def distorted(points: NDArray[Any]) -> NDArray[Any]:
    """Pixels (J, 2) of points in the camera frame through Brown's lens, written out."""
    x, y = (points[:, :2] / points[:, 2:]).T
    k1, k2, p1, p2, k3 = LENS
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    v = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    return np.stack([1400 * u + 950, 1390 * v + 540], -1)


def test_people_in_every_view(root: Path, photo: bytes) -> None:
    write(root, photo, [[person()], []])
    samples = read(root)
    assert len(samples) == 2
    for sample, (name, turn) in zip(samples, TURNS.items(), strict=True):
        assert isinstance(sample, Sample)
        assert sample.id == f"panoptic/{NAME}/{name}/00000000-0"
        centred = figure("panoptic19", yaw=0.4)
        seen = centred @ Rotation.from_euler("y", turn).as_matrix().T + (0, 0, 3)
        assert sample.keypoints3d == pytest.approx(seen, abs=1e-5)
        assert sample.keypoints2d == pytest.approx(distorted(seen), abs=1e-2)
        assert sample.confidence.tolist() == [1] * 19
        assert sample.joint_set == "panoptic19"
        assert sample.camera is not None
        assert sample.camera.focal_length.tolist() == [1400, 1390]
        drawn(sample, apart=40)
        assert sample.camera.principal_point.tolist() == [950, 540]
        assert load_image(sample.image).shape == (60, 80, 3)
        low, high = sample.box[:2], sample.box[2:]
        assert ((low < sample.keypoints2d) & (sample.keypoints2d < high)).all()
    assert PanopticReader(PanopticConfig(root)).protocol.metrics == ("mpjpe", "pa_mpjpe")


def test_frames_and_cameras_are_chosen(root: Path, photo: bytes) -> None:
    write(root, photo, [[person()]] * 5)
    ids = [sample.id for sample in read(root, stride=2, cameras="00_05") if isinstance(sample, Sample)]
    assert ids == [f"panoptic/{NAME}/00_05/{frame:08d}-0" for frame in (0, 2, 4)]


def test_unsure_and_unseen_joints_are_not_labelled(root: Path, photo: bytes) -> None:
    body = person(x=150)
    rows = np.array(body["joints19"]).reshape(19, 4)
    rows[1, 3] = 0.05
    rows[5] = -1
    write(root, photo, [[{"id": 3, "joints19": rows.ravel().tolist()}]])
    sample, *_ = read(root, cameras="00_00")
    assert isinstance(sample, Sample)
    assert sample.keypoints3d is not None
    assert np.flatnonzero(np.isnan(sample.keypoints3d).any(1)).tolist() == [1, 5]
    outside = sample.keypoints3d[:, 0] / sample.keypoints3d[:, 2] * 1400 + 950 > 2000  # even without the lens's pull
    assert not sample.confidence[[1, 5]].any()
    assert not sample.confidence[outside].any()
    assert sample.confidence[PANOPTIC19.joints.index("left_hip")] == 1


def test_broken_people_and_frames_are_refused(root: Path, photo: bytes) -> None:
    tall = person()
    tall["joints19"] = (20 * np.array(tall["joints19"])).tolist()
    short = {"id": 4, "joints19": [1.0] * 60}
    behind = person()
    behind["joints19"] = (np.array(behind["joints19"]).reshape(19, 4) - (0, 0, 900, 0)).ravel().tolist()
    people = [person(), tall, short, behind, person(x=2000), person(confidence=0), None, {"id": 9}]
    write(root, photo, [people, "{", [person()]])
    (root / NAME / "hdImgs/00_00/00_00_00000002.jpg").unlink()
    good, *bad = read(root, cameras="00_00")
    assert isinstance(good, Sample)
    reasons = [
        "no person's", "19 joints of 4 numbers", "not in front", "no visible joint", "no visible joint",
        "an object expected", "'joints19' is missing", "not valid JSON", "picture 00_00_00000002.jpg is missing",
    ]  # fmt: skip
    assert len(bad) == len(reasons)
    for entry, reason in zip(bad, reasons, strict=True):
        assert isinstance(entry, tuple)
        assert reason in entry[1]


def test_other_units_are_noticed(root: Path, photo: bytes) -> None:
    body = person()
    body["joints19"] = (np.array(body["joints19"]).reshape(19, 4) * (10, 10, 10, 1)).ravel().tolist()
    write(root, photo, [[body]])
    with pytest.raises(UserError, match=r"coco19.*can't be in centimetres.*in millimetres"):
        read(root)


def test_what_is_missing_is_said(root: Path, photo: bytes) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"no sequence '17\*_pose\*' in .*getData\.sh"):
        read(root)
    write(root, photo, [[person()]])
    with pytest.raises(UserError, match=r"no pictures of the cameras '00_07'"):
        read(root, cameras="00_07")
    path = root / NAME / f"calibration_{NAME}.json"
    calibration = json.loads(path.read_text())
    calibration["cameras"].pop()
    path.write_text(json.dumps(calibration))
    with pytest.raises(UserError, match=r"camera of 00_05 is missing in .*calibration_171204_pose1\.json"):
        read(root)
    del calibration["cameras"][0]["K"]
    path.write_text(json.dumps(calibration))
    with pytest.raises(UserError, match=r"calibration_171204_pose1\.json.*lacks 'K'"):
        read(root)
    path.unlink()
    with pytest.raises(UserError, match=r"misses calibration_171204_pose1\.json"):
        read(root)
