"""Poses without pictures: official files, broken ones, and motions before virtual cameras."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_core.values import Sample
from posesyn_poseaug.camera import project
from posesyn_poseaug.config import H36mPosesConfig, MocapConfig, PosesConfig
from posesyn_poseaug.formats import H36M_ROWS, read_h36m, read_test_set
from posesyn_poseaug.mocap import MocapReader
from posesyn_poseaug.poses import PoseSet, read_templates, templates_of
from posesyn_poseaug.readers import H36mPoses, Poses
from posesyn_poseaug.screen import see
from posesyn_poseaug.skeleton import bones_of, lengths_of
from tests.plugins.posesyn_poseaug.motions import write_motions
from tests.plugins.posesyn_poseaug.people import poses


def plain_set(**changes: object) -> PoseSet:
    given = torch.from_numpy(poses(6))
    cameras = torch.zeros(6, 9)
    cameras[:, :2] = 2.29
    values = {"poses": given, "keypoints": project(given, cameras), "cameras": cameras, "name": "mine", **changes}
    return PoseSet(**values)  # type: ignore[arg-type]


def test_a_root_at_no_depth_is_told() -> None:
    broken = torch.from_numpy(poses(6))
    broken[4] -= broken[4, :1].clone()
    with pytest.raises(UserError, match="mine: the root of pose 4 is at depth 0 m, not before the camera"):
        plain_set(poses=broken)


def test_numbers_that_are_none_are_told() -> None:
    broken = torch.from_numpy(poses(6))
    broken[2, 3] = torch.nan
    with pytest.raises(UserError, match="mine: poses 2 holds a number that is not finite"):
        plain_set(poses=broken)


def test_a_bone_without_length_is_told() -> None:
    broken = torch.from_numpy(poses(6))
    broken[1, 5] = broken[1, 4]
    with pytest.raises(UserError, match=r"pose 1 has a bone without length \(of joint 5\)"):
        plain_set(poses=broken)


def test_a_set_without_cameras_can_be_measured_on_alone() -> None:
    with pytest.raises(UserError, match="mine has no cameras, so it can be tested on but not augmented"):
        plain_set(cameras=None).known_cameras  # noqa: B018


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (np.full((5, 15), np.nan), "has nan in row 0, bone 0: lengths are positive"),
        (np.where(np.arange(75).reshape(5, 15) == 37, 0, 0.3), "has 0.0 in row 2, bone 7"),
        (np.full((5, 15), 300.0), "a bone of 300: lengths are in metres"),
        (np.full((5, 16), 0.3), r"must have shape \(S, 15\), not \(5, 16\)"),
    ],
)
def test_broken_templates_are_told(table: np.ndarray, complaint: str, tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", table)
    with pytest.raises(UserError, match=complaint):
        read_templates(tmp_path / "t.npy")


def test_templates_are_those_of_the_subjects() -> None:
    found = plain_set(subjects=("S1", "S1", "S1", "S5", "S5", "S5"))
    table = templates_of(found)
    assert table.shape == (2, 15)
    assert torch.equal(table[:, 0], table[:, 3])  # both hips alike
    assert len(found.of_subjects(("S5",))) == 3
    with pytest.raises(UserError, match="has no poses of S9; its subjects are S1, S5"):
        found.of_subjects(("S9",))


def test_broken_rows_of_a_test_set_are_refused(tmp_path: Path) -> None:
    solid = poses(4).astype(np.float64)
    flat = np.random.default_rng(0).uniform(-0.3, 0.3, (4, 16, 2))
    solid[2, 1] = np.nan
    np.savez(tmp_path / "test_3dhp.npz", pose3d=solid, pose2d=flat)
    reader = Poses(PosesConfig(tmp_path / "test_3dhp.npz"))
    entries = list(reader.samples())
    assert entries[2] == ("test_3dhp/000002", "its joints hold a number that is not finite")
    assert [type(entry) for entry in entries] == [Sample, Sample, tuple, Sample]
    with pytest.warns(PoseSynWarning, match="1 poses or recordings of test_3dhp can't be used"):
        assert len(reader.poses()) == 3
    sample = entries[3]
    assert isinstance(sample, Sample)
    seen = see(sample.keypoints2d, sample.confidence > 0, sample.joint_set, "h36m16", sample.image, sample.camera)
    np.testing.assert_allclose(seen.screen, flat[3], atol=1e-6)


def test_rows_that_no_lifter_can_take_are_refused(tmp_path: Path) -> None:
    solid = poses(4).astype(np.float64)
    solid[1, 5] = solid[1, 4]
    solid[3] = 1e300
    np.savez(tmp_path / "t.npz", pose3d=solid, pose2d=np.zeros((4, 16, 2)))
    entries = list(Poses(PosesConfig(tmp_path / "t.npz")).samples())
    assert entries[1] == ("t/000001", "it has a bone without length")
    assert entries[3] == ("t/000003", "its joints hold a number that is not finite")


def write_h36m(root: Path, **changes: object) -> H36mPosesConfig:
    """Two recordings of S9, of two frames each; ``changes`` of the actions in the file of 2D joints, None = none."""
    solid, flat = np.zeros((2, 32, 3), np.float32), np.full((2, 16, 2), 400, np.float32)
    solid[:, list(H36M_ROWS)] = poses(2)
    films = {action: [flat] * 4 for action in ("Eating", "Walking 1")} | changes
    films = {action: film for action, film in films.items() if film is not None}
    np.savez(root / "data_3d_h36m.npz", positions_3d=np.array({"S9": {"Eating": solid, "Walking 1": solid}}, object))
    np.savez(root / "data_2d_h36m_gt.npz", positions_2d=np.array({"S9": films}, object))
    return H36mPosesConfig(root, keypoints="gt", subjects=("S9",))


@pytest.mark.parametrize(
    ("film", "names", "reason"),
    [
        (None, ["Eating"], "it has 2D joints of 0 cameras, not of 4"),
        ([np.zeros((2, 16, 2))] * 3, ["Eating"], "it has 2D joints of 3 cameras, not of 4"),
        ("nothing", ["Eating"], "it has 2D joints of 7 cameras, not of 4"),
        (
            [np.zeros((2, 16, 2))] * 3 + [np.zeros((1, 16, 2))],
            ["Eating.60457274"],
            "it has 1 frames in 2D, but 2 in 3D",
        ),
        ([np.zeros((2, 15, 2))] + [np.zeros((2, 16, 2))] * 3, ["Eating.54138969"], "must be (F, 16 or 17, 2)"),
    ],
)
def test_a_broken_recording_of_human36m_costs_itself(
    film: object, names: list[str], reason: str, tmp_path: Path
) -> None:
    reader = H36mPoses(write_h36m(tmp_path, Eating=film))
    entries = list(reader.samples())
    refused = [entry for entry in entries if not isinstance(entry, Sample)]
    assert [name for name, _ in refused] == [f"h36m/gt/S9/{name}" for name in names]
    assert reason in refused[0][1]
    assert len(entries) - len(refused) == (8 if names == ["Eating"] else 14)
    with pytest.warns(PoseSynWarning, match="can't be used and are left out"):
        assert len(reader.poses()) == len(entries) - len(refused)


def test_files_of_another_kind_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", joints=np.zeros((2, 3)))
    with pytest.raises(UserError, match="neither PoseAug's form"):
        read_test_set(tmp_path / "other.npz")
    with pytest.raises(UserError, match="positions_3d"):
        read_h36m(tmp_path / "other.npz", tmp_path / "other.npz", ("S1",))


# Motions before virtual cameras


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_motions(tmp_path_factory.mktemp("motions") / "motions.npz")


@pytest.mark.parametrize("views", ["lab", "wild"])
def test_people_are_seen_whole_and_upright(motions: Path, views: str) -> None:
    found = MocapReader(MocapConfig(str(motions), views=views, cameras=3)).poses()  # type: ignore[arg-type]
    assert len(found) == 6 * 20 * 3
    assert (found.poses[..., 2] > 0.5).all()
    assert (found.keypoints.abs() <= 1).float().mean() > 0.99
    np.testing.assert_allclose(project(found.poses, found.known_cameras), found.keypoints, atol=1e-6)
    upright = (found.poses[:, 9, 1] < found.poses[:, 3, 1]).float().mean()
    assert upright > 0.95
    left, right = found.poses[:, 4], found.poses[:, 1]
    assert (left - right).norm(dim=-1).median() > 0.1


def test_a_studio_has_a_few_actors_and_views(motions: Path) -> None:
    """And the wild anybody, from anywhere: the spread of what lifters see is larger."""
    lab, wild = (
        MocapReader(MocapConfig(str(motions), domain="lab", views=views, cameras=4)).poses()  # type: ignore[arg-type]
        for views in ("lab", "wild")
    )
    assert {subject[0] for subject in lab.subjects} == {"A"}
    heights = [lengths_of(bones_of(each.poses)).sum((1, 2)).std() for each in (lab, wild)]
    depths = [each.poses[:, 0, 2].std() for each in (lab, wild)]
    assert depths[1] > 2 * depths[0]
    assert heights[1] > 0


def test_the_same_seed_draws_the_same(motions: Path) -> None:
    config = MocapConfig(str(motions), views="wild", seed=4)
    first, again, other = (MocapReader(c).poses() for c in (config, config, evolve(config, seed=5)))
    assert torch.equal(first.poses, again.poses)
    assert not torch.equal(first.poses, other.poses)


def test_samples_are_the_arrays(motions: Path) -> None:
    reader = MocapReader(MocapConfig(str(motions), domain="wild", views="wild", cameras=2, stride=5))
    found, samples = reader.poses(), list(reader.samples())
    assert len({sample.id for sample in samples if isinstance(sample, Sample)}) == len(samples) == len(found)
    for at in (0, 7):
        sample = samples[at]
        assert isinstance(sample, Sample)
        seen = see(sample.keypoints2d, sample.confidence > 0, sample.joint_set, "smpl16", sample.image, sample.camera)
        np.testing.assert_allclose(seen.screen, found.keypoints[at], atol=1e-5)


def test_a_motion_that_can_not_be_used_costs_itself(tmp_path: Path) -> None:
    with np.load(write_motions(tmp_path / "good.npz", segments=2)) as file:
        joints = file["joints"].copy()
        joints[5, 3, 1] = np.nan
        np.savez(tmp_path / "m.npz", **{**file, "joints": joints})
    reader = MocapReader(MocapConfig(str(tmp_path / "m.npz"), cameras=2))
    refused, *samples = reader.samples()
    assert isinstance(refused, tuple)
    assert refused[0] == "mocap/all-lab/clip0_s00"
    assert "not finite" in refused[1]
    assert len(samples) == 40
    with pytest.warns(PoseSynWarning, match="1 motions of mocap/all-lab are left out"):
        assert len(reader.poses()) == 40


def test_no_such_motions(motions: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", joints=np.zeros((1, 22, 3)))
    with pytest.raises(UserError, match="lacks offsets, names, clip, domain"):
        MocapReader(MocapConfig(str(tmp_path / "m.npz"))).poses()
    with pytest.raises(UserError, match="nowhere"):
        MocapReader(MocapConfig("nowhere.npz")).poses()


@pytest.mark.parametrize(
    "changed",
    [{"joints": np.zeros((9, 21, 3), np.float32)}, {"offsets": np.array([0, 500])}, {"offsets": np.array([3, 2])},
     {"names": np.array("one")}, {"domain": np.array(["lab", "wild"])}],
)  # fmt: skip
def test_motions_that_do_not_fit_together_are_told(changed: dict[str, np.ndarray], tmp_path: Path) -> None:
    with np.load(write_motions(tmp_path / "good.npz", segments=1)) as file:
        np.savez(tmp_path / "m.npz", **{**file, **changed})
    with pytest.raises(UserError, match=r"m\.npz' must have joints \(F, 22, 3\)"):
        MocapReader(MocapConfig(str(tmp_path / "m.npz"))).poses()


def test_a_test_set_of_something_else_than_numbers_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", pose3d=np.full((2, 16, 3), "x"), pose2d=np.zeros((2, 16, 2)))
    with pytest.raises(UserError, match=r"'pose3d' in .* holds <U1, expected numbers"):
        read_test_set(tmp_path / "t.npz")
