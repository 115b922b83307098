"""Official files as they are read: shards, evaluation sets, motion capture; and what is refused."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posesyn_core.errors import UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.files.locating import Pictures
from posesyn_core.values import Sample
from posesyn_hmr2.annotations import PersonOrRejection, read_mocap, read_npz, read_shard
from posesyn_hmr2.joints import PELVIS
from posesyn_hmr2.people import Person
from posesyn_hmr2.reader import Hmr2Reader, Hmr2ReaderConfig

PICTURE = encode_png(np.full((20, 30, 3), 99, np.uint8))


def entry(**changes: Any) -> dict[str, Any]:
    """A person as the official preprocessing writes one."""
    random = np.random.default_rng(0)
    return {
        "keypoints_2d": np.column_stack([random.uniform(0, 20, (44, 2)), np.ones(44)]).astype(np.float32),
        "keypoints_3d": np.column_stack([random.standard_normal((44, 3)), np.ones(44)]).astype(np.float32),
        "center": np.array([15, 10], np.float32),
        "scale": np.array([0.05, 0.08], np.float32),
        "body_pose": random.standard_normal(72).astype(np.float32),
        "betas": random.standard_normal(10).astype(np.float32),
        "has_body_pose": np.array(1.0),
        "has_betas": np.array(1.0),
        "extra_info": {"fitting_loss": np.array({"reprojection_loss": np.float32(12.5)}, dtype=object)},
        **changes,
    }


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def people(tmp_path: Path, *entries: Any, **members: bytes) -> list[PersonOrRejection]:
    content = {"a/0001.png": PICTURE, "a/0001.data.pyd": pickle.dumps(list(entries))}
    extra = {f"a/0001.{name.replace('_', '.')}": data for name, data in members.items()}
    return list(read_shard(shard(tmp_path / "s.tar", {**content, **extra})))


def test_a_shard(tmp_path: Path) -> None:
    first, second = people(tmp_path, entry(), entry(extra_info={}))
    assert isinstance(first, Person)
    assert isinstance(second, Person)
    assert (first.id, second.id) == ("a/0001/0", "a/0001/1")
    np.testing.assert_allclose(first.extent, [10, 16])
    np.testing.assert_array_equal(first.keypoints_3d, entry()["keypoints_3d"])
    assert (first.reprojection_loss, second.reprojection_loss) == (12.5, 0)
    assert load_image(first.image).shape == (20, 30, 3)
    assert first.mask is None


def test_masks_belong_to_detections(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    masks = np.zeros((2, 20, 30), bool)
    masks[1, 3, 4] = True
    np.savez(buffer, masks=masks)
    good, bad = people(
        tmp_path,
        entry(extra_info={"detection_npz_idx": 1}),
        entry(extra_info={"detection_npz_idx": 2}),
        detection_npz=buffer.getvalue(),
    )
    assert isinstance(good, Person)
    assert good.mask is not None
    np.testing.assert_array_equal(good.mask, masks[1])
    assert isinstance(bad, tuple)
    assert "detection_npz_idx 2" in bad[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keypoints_2d": np.zeros((25, 3))}, "keypoints_2d has shape (25, 3), not (44, 3)"),
        ({"betas": np.full(10, np.nan)}, "betas has numbers that are not finite"),
        ({"center": "left"}, "center is missing or no array"),
        ({"scale": None}, "scale"),
    ],
)
def test_a_bad_person_is_refused_and_the_next_one_read(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    bad, good = people(tmp_path, entry(**changes), entry())
    assert isinstance(bad, tuple)
    assert reason in bad[1]
    assert isinstance(good, Person)


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        import os

        return (os.system, ("touch touched",))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    members = {"a.png": PICTURE, "a.data.pyd": pickle.dumps([Payload()]), "b.png": PICTURE}
    members["b.data.pyd"] = pickle.dumps([entry()])
    bad, good = read_shard(shard(tmp_path / "s.tar", members))
    assert isinstance(bad, tuple)
    assert "system" in bad[1]
    assert isinstance(good, Person)
    assert not (tmp_path / "touched").exists()


def test_an_incomplete_image_is_refused(tmp_path: Path) -> None:
    found = list(read_shard(shard(tmp_path / "s.tar", {"a.png": PICTURE, "b.data.pyd": pickle.dumps([entry()])})))
    assert [rejection[0] for rejection in found if isinstance(rejection, tuple)] == ["a", "b"]


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    path = shard(tmp_path / "s.tar", {"a.png": bytes(5000)})
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"s\.tar"):
        list(read_shard(path))
    with pytest.raises(UserError, match="does not exist"):
        list(read_shard(tmp_path / "none.tar"))


@pytest.mark.parametrize("harm", ["header", "cut", "hole"])
def test_a_shard_that_is_damaged_further_on_costs_what_it_lost(tmp_path: Path, harm: str) -> None:
    """Damage at a header, or an end where another image would begin, goes unnoticed by readers of tars."""
    content = {}
    for at in range(3):
        content |= {f"a/{at:04d}.png": PICTURE, f"a/{at:04d}.data.pyd": pickle.dumps([entry()])}
    path = shard(tmp_path / "s.tar", content)
    with tarfile.open(path) as tar:
        second = tar.getmembers()[2].offset
    data = bytearray(path.read_bytes())
    if harm == "cut":
        del data[second:]
    else:
        data[second : second + 1024] = bytes(1024) if harm == "hole" else b"?" * 1024
    path.write_bytes(data)
    for lazily in (False, True):
        person, damage = read_shard(path, lazily=lazily)
        assert isinstance(person, Person)
        assert isinstance(damage, tuple)
        assert damage[0] == "damage"
        assert "the shard ends early or is damaged after 1 images" in damage[1]


def evaluation_set(path: Path, **changes: Any) -> Path:
    arrays = {
        "imgname": np.array(["0.png", "../outside.png"]),
        "center": np.array([[15, 10], [15, 10]]),
        "scale": np.array([16.0, 20.0]),
        "body_keypoints_2d": np.ones((2, 25, 3)),
        "extra_keypoints_3d": np.ones((2, 19, 4)),
        "body_keypoints_3d": np.ones((2, 25, 4)),
        "body_pose": np.zeros((2, 72)),
        "extra_info": np.array([{}, {}], dtype=object),
    }
    np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return path


def test_an_evaluation_set(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(PICTURE)
    good, bad = read_npz(evaluation_set(tmp_path / "e.npz"), Pictures(tmp_path))
    assert isinstance(good, Person)
    np.testing.assert_array_equal(good.extent, [16, 16])
    assert np.flatnonzero(good.keypoints_3d[:, 3] == 0).tolist() == list(range(1, 15))
    assert good.keypoints_2d[:25].all()
    assert not good.keypoints_2d[25:].any()
    assert (good.has_body_pose, good.has_betas) == (True, False)
    assert load_image(good.image).shape == (20, 30, 3)
    assert isinstance(bad, tuple)
    assert "leaves the image root" in bad[1]


def test_another_npz_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"e\.npz.*lacks scale"):
        list(read_npz(evaluation_set(tmp_path / "e.npz", scale=None), Pictures(tmp_path)))
    (tmp_path / "broken.npz").write_bytes(b"PK no")
    with pytest.raises(UserError, match="broken"):
        list(read_npz(tmp_path / "broken.npz", Pictures(tmp_path)))


def test_motion_capture(mocap: Path, tmp_path: Path) -> None:
    pose, betas = read_mocap(mocap)
    with np.load(mocap) as file:
        np.testing.assert_allclose(pose.reshape(5, 69), file["body_pose"][:, 3:], rtol=1e-6)
        np.testing.assert_allclose(betas, file["betas"], rtol=1e-6)
    np.savez(tmp_path / "other.npz", poses=np.zeros((5, 72)))
    with pytest.raises(UserError, match=r"other\.npz.*body_pose \(N, 72\)"):
        read_mocap(tmp_path / "other.npz")


def test_the_reader(tmp_path: Path) -> None:
    people(tmp_path, entry(), entry(betas=np.zeros(3)))
    for path in (tmp_path, tmp_path / "s.tar"):
        good, bad = Hmr2Reader(Hmr2ReaderConfig(str(path))).samples()
        assert isinstance(good, Sample)
        assert good.id == "hmr2/s/a/0001/0"
        np.testing.assert_allclose(good.box, [10, 2, 20, 18])
        labelled = entry()
        np.testing.assert_allclose(good.keypoints2d[16], labelled["keypoints_2d"][5, :2])
        assert good.keypoints3d is not None
        expected = labelled["keypoints_3d"][5, :3] - labelled["keypoints_3d"][PELVIS, :3]
        np.testing.assert_allclose(good.keypoints3d[16], expected, rtol=1e-6)
        assert np.isnan(good.keypoints3d[3]).all()  # SMPL's spine is none of the 44
        assert good.smpl is not None
        np.testing.assert_allclose(good.smpl.global_orient, labelled["body_pose"][:3])
        assert isinstance(bad, tuple)
    with pytest.raises(UserError, match=r"neither a \.tar or \.npz"):
        list(Hmr2Reader(Hmr2ReaderConfig(str(tmp_path / "x.json"))).samples())
