"""The EMDB reader on a small instance of the official layout; the free body's file stands in for SMPL's."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.body.model import FREE_BODY
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.emdb import EmdbConfig, EmdbReader
from tests.plugins.posesyn_datasets.overlays import drawn
from tests.plugins.posesyn_datasets.smpl_worlds import K, posed, world

NAME = "09_outdoor_walk"


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(EmdbReader(EmdbConfig(root, **options)).samples())


def sequence(frames: int = 4, seed: int = 0) -> dict[str, Any]:
    """A sequence with the keys, types and nesting of the official pickles."""
    person = world(frames, seed)
    seen = np.einsum("nij,nkj->nki", person["extrinsics"][:, :3, :3], person["joints"])
    pixels = (seen + person["extrinsics"][:, None, :3, 3]) @ K.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    boxes = np.concatenate([pixels.min(1) - 20, pixels.max(1) + 20], -1)
    return {
        "gender": "female",
        "name": f"P0_{NAME}",
        "emdb1": True,
        "emdb2": False,
        "n_frames": frames,
        "good_frames_mask": np.ones(frames, bool),
        "camera": {"intrinsics": K, "extrinsics": person["extrinsics"], "width": 1080, "height": 1920},
        "smpl": {
            "poses_root": person["pose"][:, 0],
            "poses_body": person["pose"][:, 1:].reshape(frames, 69),
            "trans": person["transl"],
            "betas": person["betas"],
        },
        "kp2d": pixels,
        "bboxes": {"bboxes": boxes, "invalid_idxs": np.array([], np.int64)},
    }


def write(root: Path, data: Any, subject: str = "P0", name: str = NAME) -> Path:
    path = root / subject / name / f"{subject}_{name}_data.pkl"
    (path.parent / "images").mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data))
    return path


@pytest.fixture
def smpl(tmp_path: Path) -> str:
    """A folder with a body file for every gender."""
    (tmp_path / "smpl").mkdir()
    for gender in ("FEMALE", "MALE", "NEUTRAL"):
        shutil.copy(FREE_BODY, tmp_path / f"smpl/SMPL_{gender}.npz")
    return str(tmp_path / "smpl")


def test_bodies_in_the_camera(root: Path, smpl: str) -> None:
    data = sequence()
    write(root, data)
    samples = [sample for sample in read(root, smpl=smpl) if isinstance(sample, Sample)]
    assert [sample.id for sample in samples] == [f"emdb/emdb1/P0_{NAME}/{at:05d}" for at in range(4)]
    for at, sample in enumerate(samples):
        assert sample.keypoints2d == pytest.approx(data["kp2d"][at], abs=0.05)
        assert sample.box == pytest.approx(data["bboxes"]["bboxes"][at], abs=1e-3)
        drawn(sample)
        assert sample.image == (root / f"P0/{NAME}/images/{at:05d}.jpg").resolve()
        assert sample.smpl is not None
        assert sample.joints3d is not None
        assert sample.smpl.gender == "female"
        pose = np.concatenate([sample.smpl.global_orient[None], sample.smpl.body_pose])
        again = posed(pose[None], sample.smpl.betas[None], sample.smpl.transl[None])[0]
        assert again - again[0] == pytest.approx(sample.joints3d, abs=1e-4)
        pixels = again @ K.T
        assert pixels[:, :2] / pixels[:, 2:] == pytest.approx(data["kp2d"][at], abs=0.1)


def test_without_smpl_there_are_2d_labels(root: Path) -> None:
    data = sequence(2)
    write(root, data)
    for at, sample in enumerate(read(root)):
        assert isinstance(sample, Sample)
        assert sample.keypoints2d == pytest.approx(data["kp2d"][at], abs=1e-3)
        assert sample.joints3d is None
        assert sample.smpl is None
        assert sample.camera is not None


def test_subsets_good_frames_and_strides(root: Path) -> None:
    first, second = sequence(4), sequence(2, seed=1)
    first["good_frames_mask"][1] = False
    second.update(emdb1=False, emdb2=True)
    write(root, first)
    write(root, second, "P3", "30_hike")

    def ids(**options: Any) -> list[str]:
        return [entry.id.removeprefix("emdb/") for entry in read(root, **options) if isinstance(entry, Sample)]

    assert ids() == [f"emdb1/P0_{NAME}/0000{at}" for at in (0, 2, 3)]
    assert ids(stride=2) == [f"emdb1/P0_{NAME}/0000{at}" for at in (0, 2)]
    assert ids(subset="emdb2") == ["emdb2/P3_30_hike/00000", "emdb2/P3_30_hike/00001"]
    assert len(ids(subset="all")) == 5


def test_a_broken_frame_is_refused_and_the_next_one_read(root: Path, smpl: str) -> None:
    data = sequence(6)
    data["smpl"]["poses_body"][0, 7] = np.nan
    data["bboxes"]["bboxes"][1] = 5000, 0, 5100, 100
    data["bboxes"]["invalid_idxs"] = np.array([2])
    data["camera"]["extrinsics"][3, 2, 3] -= 50
    data["camera"]["extrinsics"][4, :3, 3] *= 1000
    write(root, data)
    *broken, good = read(root, smpl=smpl)
    reasons = ["not finite", "outside the image", "box as invalid", "in front", "from its 2D labels"]
    for entry, reason in zip(broken, reasons, strict=True):
        assert isinstance(entry, tuple)
        assert reason in entry[1]
    assert isinstance(good, Sample)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.pop("kp2d"), "lacks 'kp2d'"),
        (lambda d: d["camera"].pop("intrinsics"), "lacks 'intrinsics'"),
        (lambda d: d["camera"].update(intrinsics=np.zeros((2, 2))), "camera in .* is missing"),
        (lambda d: d.update(kp2d=d["kp2d"][:, :17]), "'kp2d' .* must be any x 24 x 2, not 4 x 17 x 2"),
        (lambda d: d["smpl"].update(betas=np.zeros(16)), "'betas' .* must be 10, not 16"),
    ],
)
def test_a_damaged_sequence_is_named(root: Path, change: Any, complaint: str) -> None:
    data = sequence()
    change(data)
    write(root, data)
    with pytest.raises(UserError, match=complaint) as caught:
        read(root)
    assert f"P0_{NAME}_data.pkl" in str(caught.value)


def test_bodies_in_millimetres_are_noticed(root: Path, smpl: str) -> None:
    data = sequence()
    data["smpl"]["trans"] *= 1000
    write(root, data)
    assert all(isinstance(entry, tuple) for entry in read(root, smpl=smpl))


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_a_pickle_with_code_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {**sequence(), "name": Code()})
    with pytest.raises(UserError, match=rf"P0_{NAME}_data\.pkl.*print.*neither data nor"):
        read(root)
    assert capsys.readouterr().out == ""


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"no sequences .*emdb\.ait\.ethz\.ch"):
        read(root)
    write(root, {**sequence(), "emdb1": False})
    with pytest.raises(UserError, match=r"no sequence .* belongs to emdb1"):
        read(root)
    with pytest.raises(UserError, match=r"has no SMPL_FEMALE\.pkl.*smpl\.is\.tue"):
        read(root, subset="all", smpl=str(tmp_path))


def test_the_protocol_is_the_official_one() -> None:
    protocol = EmdbReader(EmdbConfig(Path())).protocol
    assert protocol.joints == SMPL24.joints
    assert protocol.root == ("left_hip", "right_hip")
