"""The 3DPW reader on a small instance of the official layout, and against SPIN's recorded conversion."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.geometry import skeletons
from posesyn_core.training.protocols import H36M_14
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.pw3d import Pw3dConfig, Pw3dReader
from tests.plugins.posesyn_datasets.overlays import drawn
from tests.plugins.posesyn_datasets.smpl_worlds import K, posed, world

NAME = "downtown_walk_00"


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(Pw3dReader(Pw3dConfig(root, **options)).samples())


def sequence(frames: int = 3, actors: int = 2) -> dict[str, Any]:
    """A sequence with the keys, types and nesting of the official pickles."""
    people = [world(frames, seed) for seed in range(actors)]
    return {
        "sequence": NAME,
        "img_frame_ids": np.arange(0, 2 * frames, 2),
        "genders": ["m", "f"][:actors],
        "poses": [person["pose"].reshape(frames, 72) for person in people],
        "trans": [person["transl"] for person in people],
        "betas": [np.append(person["betas"], np.zeros(290)) for person in people],
        "jointPositions": [person["joints"].reshape(frames, 72) for person in people],
        "poses2D": [
            np.tile(np.stack([np.linspace(400, 500, 18), np.linspace(300, 700, 18), np.ones(18)]), (frames, 1, 1))
        ]
        * actors,
        "campose_valid": [np.ones(frames, np.int64) for _ in people],
        "cam_poses": people[0]["extrinsics"],
        "cam_intrinsics": K,
    }


def write(root: Path, data: Any, split: str = "test") -> Path:
    path = root / f"sequenceFiles/{split}/{NAME}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "imageFiles" / NAME).mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data, protocol=2))
    return path


def test_bodies_in_the_camera(root: Path) -> None:
    data = sequence()
    write(root, data)
    samples = [sample for sample in read(root) if isinstance(sample, Sample)]
    assert [sample.id for sample in samples] == [f"3dpw/test/{NAME}/{at:05d}-{p}" for p in (0, 1) for at in range(3)]
    for number, sample in enumerate(samples):
        actor, at = divmod(number, 3)
        extrinsic = data["cam_poses"][at]
        true = data["jointPositions"][actor][at].reshape(24, 3) @ extrinsic[:3, :3].T + extrinsic[:3, 3]
        assert sample.joints3d == pytest.approx(true - true[0], abs=1e-5)
        homogeneous = true @ K.T
        assert sample.keypoints2d == pytest.approx(homogeneous[:, :2] / homogeneous[:, 2:], abs=1e-2)
        smpl = sample.smpl
        assert smpl is not None
        assert smpl.gender == ("male", "female")[actor]
        pose = np.concatenate([smpl.global_orient[None], smpl.body_pose])
        assert posed(pose[None], smpl.betas[None], smpl.transl[None])[0] == pytest.approx(true, abs=1e-4)
        assert sample.image == (root / f"imageFiles/{NAME}/image_{at:05d}.jpg").resolve()
        assert sample.camera is not None
        assert sample.camera.focal_length.tolist() == [1960, 1950]
        drawn(sample)


def test_frames_without_camera_are_left_out_and_strides_count_frames(root: Path) -> None:
    data = sequence(5, 1)
    data["campose_valid"][0][2] = 0
    write(root, data)
    assert [entry.id[-7:] for entry in read(root) if isinstance(entry, Sample)] == [
        f"{at:05d}-0" for at in (0, 1, 3, 4)
    ]
    assert [entry.id[-7:] for entry in read(root, stride=2) if isinstance(entry, Sample)] == ["00000-0", "00004-0"]


def test_a_broken_frame_is_refused_and_the_next_one_read(root: Path) -> None:
    data = sequence(5, 1)
    data["poses"][0][0, 5] = np.nan
    data["cam_poses"][1][2, 3] = -9
    data["jointPositions"][0][2] *= 1000
    data["poses2D"][0][3] = 0
    write(root, data)
    entries = read(root, box="detected")
    reasons = [entry[1] for entry in entries if isinstance(entry, tuple)]
    for reason, expected in zip(
        reasons, ["not finite", "not in front", "no person's", "OpenPose found no"], strict=True
    ):
        assert expected in reason
    assert isinstance(entries[-1], Sample)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.pop("cam_poses"), "lacks 'cam_poses'; expected a sequence of 3DPW"),
        (lambda d: d.update(cam_intrinsics=None), "the camera in .* is missing"),
        (lambda d: d.update(jointPositions=[1000 * d["jointPositions"][0]]), "can't be in metres.*millimetres"),
        (lambda d: d.update(jointPositions=[d["jointPositions"][0][:, :48]]), "'jointPositions' .* must be 3 x 72"),
        (lambda d: d.update(poses=[d["poses"][0][:, :66]]), "'poses' .* must be 3 x 72, not 3 x 66"),
        (lambda d: d.update(genders=["x"]), "actor 0 .* gender 'x'"),
        (lambda d: d.update(betas=[]), "actor 0 in every list"),
    ],
)
def test_a_damaged_sequence_is_named(root: Path, change: Any, complaint: str) -> None:
    data = sequence(3, 1)
    change(data)
    write(root, data)
    with pytest.raises(UserError, match=complaint) as caught:
        read(root)
    assert f"{NAME}.pkl" in str(caught.value)


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_a_pickle_with_code_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {**sequence(), "texture_maps": Code()})
    with pytest.raises(UserError, match=rf"{NAME}\.pkl.*print.*neither data nor"):
        read(root)
    assert capsys.readouterr().out == ""


def test_what_is_missing_is_said(root: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        read(root)
    (root / "imageFiles").mkdir(parents=True)
    with pytest.raises(UserError, match=r"misses sequenceFiles/train in .*virtualhumans"):
        read(root, split="train")
    (root / "sequenceFiles/train").mkdir(parents=True)
    with pytest.raises(UserError, match="no sequences"):
        read(root, split="train")


def test_the_protocol_is_the_official_one() -> None:
    protocol = Pw3dReader(Pw3dConfig(Path())).protocol
    assert protocol.joints == H36M_14
    assert protocol.regressed
    assert protocol.root == ("pelvis",)


def test_agrees_with_spins_conversion(root: Path, shared: Path) -> None:
    """Poses, shapes, frames and boxes of SPIN's ``3dpw_test.npz``, made by its script from the same pickle."""
    with np.load(shared / "parity/spin/io.npz") as pack:
        given = {key.removeprefix("in/pw3d_"): pack[key] for key in pack if key.startswith("in/pw3d_")}
        made = {key.removeprefix("out/pw3d_out_"): pack[key] for key in pack if key.startswith("out/pw3d_out_")}
    people, frames = given["poses"].shape[:2]
    transl = np.tile([0.0, 0, 0], (frames, 1))
    betas = [np.tile(b[:10], (frames, 1)) for b in given["betas"]]
    extrinsics = given["cam_poses"].copy()
    extrinsics[:, :3, 3] = 0, 0, 4  # the recording has random ones: our reader wants people before the camera
    data = {
        **sequence(frames, people),
        "poses": list(given["poses"]),
        "trans": [transl] * people,
        "betas": list(given["betas"]),
        "jointPositions": [
            posed(p.reshape(frames, 24, 3), b, transl).reshape(frames, 72)
            for p, b in zip(given["poses"], betas, strict=True)
        ],
        "poses2D": list(given["poses2d"]),
        "cam_poses": extrinsics,
        "campose_valid": list(given["campose_valid"]),
    }
    write(root, data)
    samples = [sample for sample in read(root, box="detected") if isinstance(sample, Sample)]
    assert [Path(str(s.image)).name for s in samples] == [Path(name).name for name in made["imgname"]]
    for sample, row in zip(samples, range(len(samples)), strict=True):
        assert sample.smpl is not None
        pose = np.concatenate([sample.smpl.global_orient, sample.smpl.body_pose.ravel()])
        assert pose == pytest.approx(made["pose"][row], abs=1e-5)
        assert sample.smpl.betas == pytest.approx(made["shape"][row], abs=1e-6)
        assert sample.smpl.gender[0] == made["gender"][row]
        corners = sample.box.reshape(2, 2)
        assert corners.mean(0) == pytest.approx(made["center"][row], abs=1e-3)
        assert 1.2 * (corners[1] - corners[0]).max() / 200 == pytest.approx(made["scale"][row], abs=1e-5)


def test_openposes_joints_are_handed_over(root: Path) -> None:
    data = sequence(frames=2, actors=1)
    data["poses2D"][0] = data["poses2D"][0].copy()
    data["poses2D"][0][1] = 0  # nobody found
    write(root, data)
    found, missed = [sample for sample in read(root) if isinstance(sample, Sample)]
    assert missed.detected is None and found.detected is not None
    names = skeletons.joint_set(found.detected.joint_set).joints
    known = [name for name, confidence in zip(names, found.detected.confidence, strict=True) if confidence]
    assert len(known) == 18 and known[0] == "nose" and known[-1] == "left_ear"
    assert found.detected.keypoints2d[names.index("right_hip")] == pytest.approx(data["poses2D"][0][0, :2, 8], rel=1e-6)
