"""The HuMMan reader on a small instance of the official layout; the free body's file stands in for SMPL's."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posesyn_core import Sample, UserError
from posesyn_core.body.model import FREE_BODY
from posesyn_core.files.images import load_image
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.humman import HummanConfig, HummanReader
from tests.plugins.posesyn_datasets.overlays import drawn
from tests.plugins.posesyn_datasets.smpl_worlds import posed

NAME = "p000455_a000986"
K = np.array([[950.0, 0, 960], [0, 960.0, 540], [0, 0, 1]])
TURNS = (0.0, 0.5)
OFFSETS = ((0.0, 0, 0), (-1.2, 0.1, 0.3))


def frame(seed: int) -> dict[str, Any]:
    """An upright person 3 m before Kinect 0: the parameters as an npz holds them."""
    rng = np.random.default_rng(seed)
    orient = (Rotation.from_rotvec(0.2 * rng.standard_normal(3)) * Rotation.from_euler("x", 180, True)).as_rotvec()
    return {
        "betas": rng.standard_normal(10).astype(np.float32),
        "body_pose": (0.2 * rng.standard_normal(69)).astype(np.float32),
        "global_orient": orient.astype(np.float32),
        "transl": np.array([0.1, -0.2, 3], np.float32),
    }


def write(root: Path, photo: bytes, frames: list[dict[str, Any]]) -> None:
    folder = root / NAME
    (folder / "smpl_params").mkdir(parents=True)
    cameras = {}
    for at, (turn, offset) in enumerate(zip(TURNS, OFFSETS, strict=True)):
        rotation = Rotation.from_euler("y", turn).as_matrix()
        for kind in ("color", "depth"):
            cameras[f"kinect_{kind}_{at:03d}"] = {"K": K.tolist(), "R": rotation.tolist(), "T": list(offset)}
        (folder / f"kinect_color/kinect_{at:03d}").mkdir(parents=True)
    (folder / "cameras.json").write_text(json.dumps(cameras))
    for number, parameters in enumerate(frames):
        np.savez(folder / f"smpl_params/{6 * number:06d}.npz", **parameters)
        for at in range(len(TURNS)):
            (folder / f"kinect_color/kinect_{at:03d}/{6 * number:06d}.png").write_bytes(photo)


@pytest.fixture
def smpl(tmp_path: Path) -> str:
    (tmp_path / "smpl").mkdir()
    shutil.copy(FREE_BODY, tmp_path / "smpl/SMPL_NEUTRAL.npz")
    return str(tmp_path / "smpl")


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(HummanReader(HummanConfig(root, **options)).samples())


def test_bodies_in_every_camera(root: Path, photo: bytes, smpl: str) -> None:
    frames = [frame(0), frame(1)]
    write(root, photo, frames)
    samples = read(root, smpl=smpl)
    expected = [(number, at) for number in (0, 1) for at in (0, 1)]
    for sample, (number, at) in zip(samples, expected, strict=True):
        assert isinstance(sample, Sample)
        assert sample.id == f"humman/{NAME}/kinect_{at:03d}/{6 * number:06d}"
        given = frames[number]
        pose = np.concatenate([given["global_orient"], given["body_pose"]]).reshape(1, 24, 3)
        in_world = posed(pose, given["betas"][None], given["transl"][None])[0]
        seen = in_world @ Rotation.from_euler("y", TURNS[at]).as_matrix().T + OFFSETS[at]
        pixels = seen @ K.T
        assert sample.keypoints2d == pytest.approx(pixels[:, :2] / pixels[:, 2:], abs=0.01)
        assert sample.joints3d == pytest.approx(seen - seen[0], abs=1e-5)
        assert sample.smpl is not None
        turned = np.concatenate([sample.smpl.global_orient[None], sample.smpl.body_pose])[None]
        again = posed(turned, sample.smpl.betas[None], sample.smpl.transl[None])[0]
        assert again == pytest.approx(seen, abs=1e-4)
        assert sample.camera is not None
        assert sample.camera.focal_length.tolist() == [950, 960]
        assert load_image(sample.image).shape == (60, 80, 3)
        drawn(sample)


@pytest.mark.parametrize("metres", [0.01, 0.001])
def test_a_translation_in_other_units_is_refused(root: Path, photo: bytes, smpl: str, metres: float) -> None:
    given = frame(0)
    write(root, photo, [{**given, "transl": given["transl"] / metres}, frame(1)])
    bad, good = read(root, smpl=smpl, cameras="kinect_000")
    assert isinstance(good, Sample)
    assert isinstance(bad, tuple)
    assert f"the body is {3 / metres:.0f} m away from the camera: 'transl' or 'T' is not in metres" in bad[1]


def test_frames_and_cameras_are_chosen(root: Path, photo: bytes, smpl: str) -> None:
    write(root, photo, [frame(seed) for seed in range(3)])
    ids = [sample.id for sample in read(root, smpl=smpl, stride=2, cameras="kinect_001") if isinstance(sample, Sample)]
    assert ids == [f"humman/{NAME}/kinect_001/{number:06d}" for number in (0, 12)]


def test_broken_frames_are_refused_and_the_next_one_read(root: Path, photo: bytes, smpl: str) -> None:
    write(root, photo, [{**frame(0), "body_pose": np.zeros(63)}, {**frame(1), "transl": np.array([0, 0, np.nan])},
                        frame(2), frame(3), {**frame(4), "transl": np.array([0, 0, -3.0])}, frame(5)])  # fmt: skip
    (root / NAME / "smpl_params/000012.npz").write_bytes(b"PK")
    (root / NAME / "kinect_color/kinect_000/000018.png").unlink()
    *bad, good = read(root, smpl=smpl, cameras="kinect_000")
    reasons = [
        "'body_pose'.*must be 69, not 63",
        "not finite",
        "no.* zip file",
        "000018.png is missing",
        "not in front",
    ]
    assert isinstance(good, Sample)
    assert len(bad) == len(reasons)
    for entry, reason in zip(bad, reasons, strict=True):
        assert isinstance(entry, tuple)
        with pytest.raises(ValueError, match=reason):
            raise ValueError(entry[1])


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_a_frame_with_code_is_refused(root: Path, photo: bytes, smpl: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, photo, [{**frame(0), "betas": np.array([Code()], object)}, frame(1)])
    bad, *good = read(root, smpl=smpl)
    assert isinstance(bad, tuple)
    assert "pickled objects are refused" in bad[1]
    assert len(good) == 2
    assert capsys.readouterr().out == ""


def test_what_is_missing_is_said(root: Path, photo: bytes, smpl: str) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"no sequence 'p\*_a\*' in .*recon_smpl_params\.zip"):
        read(root)
    write(root, photo, [frame(0)])
    with pytest.raises(UserError, match=r"option 'smpl'.*SMPL_NEUTRAL\.pkl"):
        read(root)
    with pytest.raises(UserError, match=r"no pictures of 'kinect_007'"):
        read(root, smpl=smpl, cameras="kinect_007")
    path = root / NAME / "cameras.json"
    cameras = json.loads(path.read_text())
    del cameras["kinect_color_001"]
    path.write_text(json.dumps(cameras))
    with pytest.raises(UserError, match=r"cameras\.json.*lacks 'kinect_color_001'"):
        read(root, smpl=smpl)
    path.unlink()
    with pytest.raises(UserError, match=r"misses cameras\.json"):
        read(root, smpl=smpl)
