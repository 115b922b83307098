"""Training a field: the studio, the official data file, resuming, what is measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from posesyn_anerf.cameras import to_extrinsic
from posesyn_anerf.commands import anerf
from posesyn_anerf.config import TrainingOptions
from posesyn_anerf.measuring import measure, measured_reach, psnr
from posesyn_anerf.pictures import Pictures, read_h5
from posesyn_anerf.reach import WIDEST, near_bones
from posesyn_anerf.rendering import renderer_of
from posesyn_anerf.schedule import temperature
from posesyn_anerf.studio import UNIT, Motions, draw_pictures
from posesyn_anerf.training import held_out_poses, split, train
from posesyn_anerf.weights import Person, load_field
from posesyn_core import UserError
from posesyn_core.body.model import load_body

POSES, SIZE = 5, 32
TINY = {"rays": 48, "images": 6, "width": 8, "depth": 4, "coarse": 12, "fine": 4, "save_every": 2, "held_out": 0.2}


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody who stands with their arms at many heights."""
    rest = load_body().rest_joints(torch.zeros(1, 10))[0, :22].numpy()
    frames = np.repeat(rest[None], 40, axis=0)
    for side in ([18, 20], [19, 21]):
        frames[:, side, 1] += np.linspace(-0.1, 0.1, 40)[:, None]
    path = tmp_path_factory.mktemp("motions") / "motions.npz"
    np.savez(path, joints=frames.astype(np.float32))
    return path


@pytest.fixture(scope="module")
def pictures(motions: Path) -> Pictures:
    return draw_pictures(Motions(motions, POSES), SIZE, np.zeros(10, np.float32), load_body())


def person(pictures: Pictures) -> Person:
    return Person(np.asarray(pictures.rest_pose, np.float32), UNIT, np.zeros(10, np.float32), "free")


def joints_of(pictures: Pictures, pose: int) -> np.ndarray:
    return np.linalg.inv(pictures.skts[pose])[:, :3, 3]


def test_the_studios_skeletons_are_inside_their_pictures(pictures: Pictures) -> None:
    assert pictures.images.shape == (9 * POSES, SIZE, SIZE, 3)
    for at in range(0, 9 * POSES, 4):
        extrinsic = to_extrinsic(pictures.c2w[at])
        seen = joints_of(pictures, pictures.pose[at]) @ extrinsic[:3, :3].T + extrinsic[:3, 3]
        x, y = (seen[:, :2] / seen[:, 2:] * pictures.focal[at] + pictures.centre[at]).round().astype(int).T
        assert (pictures.masks[at][y, x] > 0).mean() > 0.9
        assert (pictures.images[at][pictures.masks[at] == 0] == 255).all()
        assert pictures.sampling[at][pictures.masks[at] > 0].all()


def test_the_studios_unit_is_not_the_metre(pictures: Pictures) -> None:
    thigh = np.linalg.norm(joints_of(pictures, 0)[4] - joints_of(pictures, 0)[1])
    rest = load_body().rest_joints(torch.zeros(1, 10))[0].numpy()
    assert thigh == pytest.approx(UNIT * np.linalg.norm(rest[4] - rest[1]), rel=1e-4)


def test_cameras_between_are_others(motions: Path, pictures: Pictures) -> None:
    between = draw_pictures(Motions(motions, POSES), SIZE, np.zeros(10, np.float32), load_body(), between=True)
    np.testing.assert_allclose(between.skts, pictures.skts)
    apart = np.linalg.norm(between.c2w[::POSES, None, :3, 3] - pictures.c2w[None, ::POSES, :3, 3], axis=-1)
    assert apart.min() > 1


def test_all_of_a_person_is_within_reach_of_the_bones(motions: Path) -> None:
    body = load_body()
    angles = 0.3 * torch.randn(1, 23, 3, generator=torch.Generator().manual_seed(1))
    posed = body(torch.zeros(1, 3), angles, torch.zeros(1, 10))
    assert near_bones(posed.vertices, posed.joints3d, WIDEST).all()
    assert not near_bones(posed.vertices + 2, posed.joints3d, WIDEST).any()


@pytest.mark.parametrize(
    "options",
    [
        {"single": True, "skip": True, "noise": 0.0, "random_background": True},
        {"codes": 3, "loss": "L1", "refine": 2},
    ],
)
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    pictures: Pictures, tmp_path: Path, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingOptions(**{**TINY, **options, "steps": 6})  # type: ignore[arg-type]
    lines: list[str] = []
    train(pictures, tmp_path / "whole.safetensors", settings, person(pictures), lines.append)
    assert [line.split(":")[0] for line in lines] == ["step 2", "step 4", "step 6"]

    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        if line.startswith("step 4"):
            raise Killed

    with pytest.raises(Killed):  # at step 4, whose checkpoint is not written yet
        train(pictures, tmp_path / "parts.safetensors", settings, person(pictures), kill)
    train(pictures, tmp_path / "parts.safetensors", settings, person(pictures), lines.append)
    whole, parts = (load_field(str(tmp_path / f"{name}.safetensors")) for name in ("whole", "parts"))
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, parts.field.state_dict()[name]), name
    assert whole.person.coarse == TINY["coarse"] and whole.person.reach is not None
    assert float(whole.field.embed.tau) == pytest.approx(temperature(6))


def test_a_checkpoint_of_other_options_is_refused(pictures: Pictures, tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    train(pictures, target, TrainingOptions(**TINY, steps=2), person(pictures), lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is of a training with other options"):
        train(pictures, target, TrainingOptions(**TINY, steps=2, rate=1e-3), person(pictures), lambda _: None)  # type: ignore[arg-type]


def test_held_out_poses_are_not_seen(pictures: Pictures) -> None:
    kept, shown = split(pictures, TrainingOptions(held_out=0.4))
    assert len(kept) == 2 and not np.isin(pictures.pose[shown], kept).any()
    assert np.array_equal(kept, held_out_poses(POSES, 0.4, 0))


def write_h5(path: Path, pictures: Pictures, *left_out: str) -> None:
    """The official layout."""
    h5py = pytest.importorskip("h5py")
    count, height, width, _ = pictures.images.shape
    arrays = {
        "img_shape": np.array([count, height, width, 3]),
        "imgs": pictures.images.reshape(count, -1, 3),
        "masks": (pictures.masks > 0).reshape(count, -1, 1),
        "sampling_masks": pictures.sampling.reshape(count, -1, 1),
        "bkgds": pictures.backgrounds.reshape(1, -1, 3),
        "bkgd_idxs": pictures.background,
        "skts": pictures.skts,
        "cyls": pictures.cylinders,
        "rest_pose": pictures.rest_pose,
        "betas": np.zeros((1, 10)),
        "c2ws": pictures.c2w,
        "focals": pictures.focal[:, 0],
        "centers": pictures.centre,
        "ext_scale": np.array(0.001),
    }
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if name not in left_out:
                file[name] = values


def test_the_official_data_file_is_read(pictures: Pictures, tmp_path: Path) -> None:
    write_h5(tmp_path / "data.h5", pictures)
    found = read_h5(tmp_path / "data.h5")
    same = ("images", "sampling", "backgrounds", "background", "pose", "c2w", "focal", "centre", "skts", "cylinders")
    for name in same:
        np.testing.assert_array_equal(getattr(found, name), getattr(pictures, name), err_msg=name)
    np.testing.assert_array_equal(found.masks > 0, pictures.masks > 0)


def test_a_data_file_says_what_it_lacks(pictures: Pictures, tmp_path: Path) -> None:
    write_h5(tmp_path / "data.h5", pictures, "skts", "c2ws")
    with pytest.raises(UserError, match=r"data\.h5' lacks skts, c2ws"):
        read_h5(tmp_path / "data.h5")
    (tmp_path / "broken.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"broken\.h5"):
        read_h5(tmp_path / "broken.h5")


def test_the_commands_train_and_measure(motions: Path, tmp_path: Path) -> None:
    out, sheet = tmp_path / "x.safetensors", tmp_path / "sheet.png"
    studio = ["--motions", str(motions), "--poses", "4", "--size", "24", "--held-out", "0.5"]
    small = [
        "--steps",
        "2",
        "--rays",
        "32",
        "--images",
        "4",
        "--width",
        "8",
        "--depth",
        "4",
        "--coarse",
        "12",
        "--fine",
        "4",
    ]
    trained = CliRunner().invoke(anerf, ["train", *studio, *small, "--out", str(out), "--half"], catch_exceptions=False)
    assert "36 pictures of 4 poses" in trained.output and "step 2: loss" in trained.output
    told = (
        CliRunner()
        .invoke(
            anerf,
            ["measure", *studio, "--weights", str(out), "--limit", "3", "--sheet", str(sheet)],
            catch_exceptions=False,
        )
        .output
    )
    assert "the training's cameras: PSNR" in told and "other cameras: PSNR" in told
    assert "(3 pictures of 2 held-out poses)" in told and sheet.exists()
    with pytest.raises(UserError, match="name either --data"):
        CliRunner().invoke(anerf, ["train", "--out", str(out)], catch_exceptions=False)


def test_what_is_measured(pictures: Pictures) -> None:
    assert psnr(np.full(9, 0.1)) == pytest.approx(20)
    assert temperature(10**9) == pytest.approx(2000)
    starter = load_field("starter")
    found, pairs = measure(renderer_of(starter), pictures, np.arange(POSES), 3)
    assert found.pictures == 3 and found.person > 15 and found.whole > found.person
    assert pairs[0][1].shape == pairs[0][0].shape
    reach = measured_reach(starter.field, pictures.skts, UNIT)
    assert (reach > 0).all() and (reach <= WIDEST.numpy() * UNIT + 1e-6).all() and reach[20] < reach[3]


def test_the_starters_person_is_good_on_poses_that_it_was_not_trained_on(shared: Path) -> None:
    """As the weights' README says, but smaller: other poses of the same motions, other cameras."""
    source = shared / "data" / "motions" / "val.npz"
    drawn = draw_pictures(Motions(source, 4, seed=1), 64, np.zeros(10, np.float32), load_body(), between=True)
    found, _ = measure(renderer_of(load_field("starter")), drawn, np.arange(4), 6)
    assert found.whole > 24 and found.person > 18
