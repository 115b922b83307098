"""Human3.6M and MPI-INF-3DHP: small instances of the npz that both are shared in, and real frames of each."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.cameras import project
from posesyn_core.training.protocols import H36M_14
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.human36m import Human36mConfig, Human36mReader
from posesyn_datasets.readers.mpi_inf_3dhp import MpiInf3dhpConfig, MpiInf3dhpReader
from tests.plugins.posesyn_datasets.figures import figure
from tests.plugins.posesyn_datasets.overlays import drawn

F, C = np.array([[1145.0], [1143.0]]), np.array([[512.0], [515.0]])
TEST = [f"S9/S9_Directions_1.{camera}/S9_Directions_1.{camera}_{frame:06d}.jpg"
        for camera in ("54138969", "60457274") for frame in (1, 2, 6)]  # fmt: skip


def h36m(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(Human36mReader(Human36mConfig(root, **options)).samples())


def rows(names: list[str]) -> dict[str, Any]:
    """People 5 m before the camera, as the converter writes them."""
    pose = np.stack([figure("h36m17", at / 3) + np.array([0, 0, 5]) for at in range(len(names))])
    pixels = pose[..., :2] / pose[..., 2:] * F.ravel() + C.ravel()
    ones = np.ones((*pose.shape[:2], 1))
    return {
        "imgname": np.array(names),
        "center": pixels.mean(1),
        "scale": np.ones(len(names)),
        "part": np.concatenate([pixels, ones], -1),
        "S": np.concatenate([pose, ones], -1),
    }


def write(root: Path, arrays: dict[str, Any], cameras: Any = None) -> None:
    (root / "annotation_body3d/fps50").mkdir(parents=True, exist_ok=True)
    np.savez(root / "annotation_body3d/fps50/h36m_test.npz", **arrays)
    made = {("S9", serial): {"R": np.eye(3), "T": np.zeros((3, 1)), "f": F, "c": C} for serial in
            ("54138969", "60457274")}  # fmt: skip
    (root / "annotation_body3d/cameras.pkl").write_bytes(pickle.dumps(made if cameras is None else cameras))


def test_protocol_2_is_the_default(root: Path) -> None:
    arrays = rows(TEST)
    write(root, arrays)
    samples = [sample for sample in h36m(root) if isinstance(sample, Sample)]
    stem = "human36m/test/S9/S9_Directions_1.60457274/S9_Directions_1.60457274"
    assert [sample.id for sample in samples] == [f"{stem}_000001", f"{stem}_000006"]
    assert len(h36m(root, views="all", stride=1)) == 6
    for sample, at in zip(samples, (3, 5), strict=True):
        assert sample.joint_set == "h36m17"
        assert sample.keypoints3d == pytest.approx(arrays["S"][at, :, :3], abs=1e-6)
        assert sample.keypoints2d == pytest.approx(arrays["part"][at, :, :2], abs=1e-3)
        assert sample.camera is not None
        assert sample.camera.focal_length.tolist() == [1145, 1143]
        drawn(sample)
    protocol = Human36mReader(Human36mConfig(root)).protocol
    assert (protocol.joints, protocol.root) == (H36M_14, ("pelvis",))


def test_a_broken_row_is_refused_and_the_next_one_read(root: Path) -> None:
    arrays = rows([name.replace("S9", "S11") if at == 0 else name for at, name in enumerate(TEST)])
    arrays["S"][1, :, :3] *= 1000
    arrays["S"][2] = 0
    arrays["part"][3, :, 2] = 0
    arrays["imgname"][4] = "../../odd.jpg"
    arrays["S"][5, 3] = 0
    arrays["S"][5, 4, 3] = 0  # outside the picture, but known
    write(root, arrays)
    *broken, good = h36m(root, views="all", stride=1)
    reasons = ["the camera ('S11', '54138969') is missing", "no person's", "no joint has a place", "no visible joint",
               "the camera ('', '') is missing"]  # fmt: skip
    for entry, reason in zip(broken, reasons, strict=True):
        assert isinstance(entry, tuple)
        assert reason in entry[1]
    assert isinstance(good, Sample)
    assert good.keypoints3d is not None
    assert np.flatnonzero(np.isnan(good.keypoints3d[:, 0])).tolist() == [3]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a: a.pop("S"), "lacks 'S'"),
        (lambda a: a.update(part=a["part"][:, :16]), "'part' .* must be 6 x 17 x 3, not 6 x 16 x 3"),
        (lambda a: a.update(S=a["S"] * 1000), "can't be in metres.*seem to be in millimetres"),
        (lambda a: a.update(imgname=a["imgname"].astype(object)), "pickled objects are refused"),
    ],
)
def test_a_damaged_file_is_named(root: Path, change: Any, complaint: str) -> None:
    arrays = rows(TEST)
    change(arrays)
    write(root, arrays)
    with pytest.raises(UserError, match=complaint) as caught:
        h36m(root)
    assert "h36m_test.npz" in str(caught.value)


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_cameras_with_code_are_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, rows(TEST), {("S9", "60457274"): Code()})
    with pytest.raises(UserError, match=r"cameras\.pkl.*print.*neither data nor"):
        h36m(root)
    (root / "annotations").mkdir()
    (root / "annotations/cameras_test.pkl").write_bytes(pickle.dumps({"TS1": Code()}))
    np.savez(root / "annotations/mpi_inf_3dhp_test_valid.npz", **rows(TEST))
    with pytest.raises(UserError, match=r"cameras_test\.pkl.*print.*neither data nor"):
        list(MpiInf3dhpReader(MpiInf3dhpConfig(root)).samples())
    assert capsys.readouterr().out == ""


def test_a_camera_without_numbers_refuses_its_people(root: Path) -> None:
    write(root, rows(TEST), {("S9", serial): {"f": None, "c": C} for serial in ("54138969", "60457274")})
    entries = h36m(root)
    assert len(entries) == 2
    assert all(isinstance(entry, tuple) and "camera" in entry[1] for entry in entries)


def test_what_is_missing_is_said(root: Path) -> None:
    root.mkdir()
    with pytest.raises(
        UserError, match=r"misses annotation_body3d/fps50/h36m_test\.npz, annotation_body3d/cameras\.pkl"
    ):
        h36m(root)
    with pytest.raises(UserError, match=r"misses annotations/mpi_inf_3dhp_train\.npz, annotations/cameras_train\.pkl"):
        list(MpiInf3dhpReader(MpiInf3dhpConfig(root, split="train")).samples())
    write(root, rows(TEST), {})
    with pytest.raises(UserError, match=r"cameras\.pkl' is empty"):
        h36m(root)


def consistent(samples: list[SampleOrRejection], joint_set: str, count: int) -> None:
    """Real truth and labels agree: the camera sees the 3D joints where the 2D labels are, but for its distortion."""
    assert len(samples) == count
    for sample in samples:
        assert isinstance(sample, Sample)
        assert sample.joint_set == joint_set
        assert sample.keypoints3d is not None
        assert sample.camera is not None
        assert np.isfinite(sample.keypoints3d).all()
        seen = project(sample.keypoints3d, sample.camera.focal_length, sample.camera.principal_point)
        assert np.abs(seen - sample.keypoints2d)[sample.confidence > 0].max() < 4
        height, width = load_image(sample.image).shape[:2]
        assert (sample.keypoints2d < (width, height)).all()


def test_real_frames_of_human36m(shared: Path) -> None:
    folder = shared / "data/images/h36m"
    found = h36m(folder, split="train", annotations="test_h36m_body3d.npz", cameras="cameras.pkl")
    consistent(found, "h36m17", 4)


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_frames_of_mpi_inf_3dhp(shared: Path, split: Any) -> None:
    config = MpiInf3dhpConfig(
        shared / "data/images/mpi_inf_3dhp", split, f"test_3dhp_{split}.npz", f"cameras_{split}.pkl"
    )
    reader = MpiInf3dhpReader(config)
    assert reader.protocol.metrics == ("pck", "auc", "mpjpe", "pa_mpjpe")
    assert len(reader.protocol.joints) == 17
    found = list(reader.samples())
    consistent(found, "mpi3dhp17", 2)
    for sample in found:
        assert isinstance(sample, Sample)
        assert sample.keypoints3d is not None
        assert sample.keypoints3d[14] == pytest.approx(sample.keypoints3d[[8, 11]].mean(0), abs=0.01)  # mid-hips
