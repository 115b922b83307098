"""SPIN's annotation files: what is read, and that one can train on it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import LabelledFrame
from posesyn_datasets.writers.spin import SpinWriter, SpinWriterConfig
from posesyn_spin.annotations import read_people
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin
from tests import tiny

LEFT_ANKLE, RIGHT_WRIST, LSP_RIGHT_WRIST, LSP_LEFT_ANKLE = 7, 21, 6, 5


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "imgname": np.array(["a.png", "sub/b.png", "a.png"]),
        "center": random.uniform(30, 60, (3, 2)),
        "scale": random.uniform(0.2, 0.4, 3),
        "part": random.uniform(0, 60, (3, 24, 3)),
        "S": np.abs(random.standard_normal((3, 24, 4))),
        "pose": random.standard_normal((3, 72)),
        "shape": random.standard_normal((3, 10)),
        "has_smpl": np.array([1, 0, 1], np.uint8),
    }


def written(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(folder / "demo.npz", **arrays)
    return folder / "demo.npz"


def test_labels_are_in_smpls_order_and_the_rest_is_unknown(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    arrays["part"][:, LSP_LEFT_ANKLE, 2] = 0
    first, second, _ = read_people(written(tmp_path, arrays), tmp_path)
    assert first.id == "demo/0"
    assert second.image == tmp_path / "sub/b.png"
    assert first.side == pytest.approx(200 * arrays["scale"][0])
    np.testing.assert_allclose(first.keypoints2d[RIGHT_WRIST], arrays["part"][0, LSP_RIGHT_WRIST])
    assert not first.keypoints2d[LEFT_ANKLE].any()
    known = np.flatnonzero(first.keypoints2d[:, 2])
    limbs = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    assert {SMPL24.joints[at].partition("_")[2] for at in known} <= set(limbs)
    np.testing.assert_allclose(first.joints3d[RIGHT_WRIST], arrays["S"][0, LSP_RIGHT_WRIST])
    assert first.smpl is not None
    np.testing.assert_allclose(first.smpl.body_pose[22], arrays["pose"][0, 69:], atol=1e-6)
    np.testing.assert_allclose(first.smpl.betas, arrays["shape"][0], atol=1e-6)
    assert second.smpl is None


def test_without_labels_of_a_kind_nothing_is_known(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    bare = {name: arrays[name] for name in ("imgname", "center", "scale")}
    person = read_people(written(tmp_path, bare), tmp_path)[0]
    assert not person.keypoints2d.any()
    assert not person.joints3d.any()
    assert person.smpl is None
    del arrays["has_smpl"]
    assert all(person.smpl is not None for person in read_people(written(tmp_path, arrays), tmp_path))


@pytest.mark.parametrize("final", [False, True])
def test_fits_stand_in_where_the_file_has_no_body(tmp_path: Path, arrays: dict[str, np.ndarray], final: bool) -> None:
    table = np.random.default_rng(1).standard_normal((3, 82))
    fits = tmp_path / ("fits.npz" if final else "fits.npy")
    if final:
        np.savez(fits, pose=table[:, :72], betas=table[:, 72:], valid_fit=np.array([1, 1, 0]))
    else:
        np.save(fits, table)
    first, second, third = read_people(written(tmp_path, arrays), tmp_path, fits)
    for person, row in ((first, arrays["pose"][0]), (second, table[1]), (third, arrays["pose"][2])):
        assert person.smpl is not None
        np.testing.assert_allclose(person.smpl.global_orient, row[:3], atol=1e-6)
    arrays["has_smpl"][:] = 0
    found = read_people(written(tmp_path, arrays), tmp_path, fits)
    assert (found[2].smpl is None) == final


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"center": None}, "has no array 'center'"),
        ({"part": np.zeros((3, 17, 3))}, r"'part' has the shape \(3, 17, 3\), not \(3, 24, 3\)"),
        ({"scale": np.zeros(2)}, r"'scale' has the shape \(2,\)"),
        ({"imgname": np.array(["../../etc/passwd", "b", "c"])}, "leaves the image root"),
        ({"gender": np.array([{}], object)}, "pickled objects are refused"),
    ],
)
def test_a_malformed_file_is_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], change: dict[str, np.ndarray | None], message: str
) -> None:
    changed = {name: values for name, values in {**arrays, **change}.items() if values is not None}
    with pytest.raises(UserError, match=message) as raised:
        read_people(written(tmp_path, changed), tmp_path)
    assert "demo.npz" in str(raised.value)


def test_wrong_fits_are_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.save(tmp_path / "fits.npy", np.zeros((2, 82)))
    with pytest.raises(UserError, match=r"fits\.npy.* has the shape \(2, 82\)"):
        read_people(written(tmp_path, arrays), tmp_path, tmp_path / "fits.npy")
    with pytest.raises(UserError, match=r"none\.npy"):
        read_people(written(tmp_path, arrays), tmp_path, tmp_path / "none.npy")


def test_real_annotations_train(shared: Path) -> None:
    """Human3.6M's people in SPIN's format, as mmpose's tests have them."""
    folder = shared / "data" / "images" / "h36m"
    listed = read_people(folder / "test_h36m.npz", folder)
    people = [evolve(one, image=next(folder.rglob(Path(one.image).name))) for one in listed]  # they lie deeper
    estimator = Spin(SpinConfig(weights="random"))
    items = [estimator.training_inputs(person, np.random.default_rng(0)) for person in people]
    batch = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}
    terms = estimator.training_loss(batch)
    assert all(float(terms[name].detach()) > 0 for name in ("keypoints2d", "keypoints3d", "pose", "betas"))
    assert torch.isfinite(terms["loss"])


def test_what_our_writer_writes_is_read_as_the_frame_itself(tmp_path: Path) -> None:
    frames = [
        LabelledFrame(one.id, one.image, one.box, one.keypoints2d, one.confidence, joints3d=one.joints3d, smpl=one.smpl)
        for one in tiny.people(2)
    ]
    SpinWriter(SpinWriterConfig()).write(frames, tmp_path)
    estimator = Spin(SpinConfig(weights="random"))
    for frame, person in zip(frames, read_people(tmp_path / "frames.npz", tmp_path), strict=True):
        ours, theirs = (estimator.training_inputs(one, np.random.default_rng(3)) for one in (frame, person))
        limbs = theirs["keypoints2d"][:, 2] > 0
        assert limbs.sum() == 12
        np.testing.assert_allclose(theirs["images"], ours["images"], atol=0.05)  # the writer may encode again
        for name in ("keypoints2d", "rotmat", "betas", "has_smpl"):
            kept = limbs if name == "keypoints2d" else ...
            np.testing.assert_allclose(theirs[name][kept], ours[name][kept], atol=1e-4)
        joints, truth = (item["joints3d"][limbs, :3] for item in (theirs, ours))
        np.testing.assert_allclose(joints - joints[:1], truth - truth[:1], atol=1e-5)


def test_a_missing_picture_rejects_its_person(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.full((80, 80, 3), 99, np.uint8)))
    people = read_people(written(tmp_path, arrays), tmp_path)
    estimator = Spin(SpinConfig(weights="random"))
    assert estimator.training_inputs(people[0], np.random.default_rng(0))["images"].shape == (3, 96, 96)
    with pytest.raises(SampleError, match=r"b\.png"):
        estimator.training_inputs(people[1], np.random.default_rng(0))
