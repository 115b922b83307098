"""Bodies fitted in the loop: they approach the labels, and become labels only where they do."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core.body.model import Body, load_body
from posesyn_core.errors import UserError
from posesyn_core.geometry.cameras import crop_translation, project
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin
from posesyn_spin.losses import CROP, FOCAL_LENGTH
from posesyn_spin.smplify import MixturePrior, estimated_place, fit


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture
def prior_file(tmp_path: Path) -> Path:
    """A mixture of two wide Gaussians in the layout of SMPLify's file."""
    means = np.stack([np.zeros(69), np.full(69, 0.5)])
    content = {"means": means, "covars": np.stack([np.eye(69), 4 * np.eye(69)]), "weights": np.array([0.75, 0.25])}
    path = tmp_path / "gmm.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    return path


def test_the_prior_is_the_nearest_gaussian(prior_file: Path) -> None:
    prior = MixturePrior(prior_file)
    at_first, at_second = prior(torch.zeros(1, 69)), prior(torch.full((1, 69), 20.5))
    constant = 34.5 * np.log(2 * np.pi)
    assert float(at_first) == pytest.approx(constant - np.log(0.75), rel=1e-5)
    wide = 0.5 * 69 * 400 / 4 + 69 * np.log(2)
    assert float(at_second) == pytest.approx(wide + constant - np.log(0.25), rel=1e-5)


def truth(body: Body) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A posed body (rotations, place) and where its joints are in the crop."""
    pose = 0.25 * torch.randn(2, 24, 3, generator=torch.Generator().manual_seed(1))
    pose[:, 0] = torch.tensor([np.pi, 0, 0])
    rotmat = axis_angle_to_matrix(pose)
    transl = crop_translation(torch.tensor([[0.9, 0.0, 0.1]]).expand(2, 3), FOCAL_LENGTH, CROP)
    joints = body.pose_joints(rotmat, torch.zeros(2, 10), transl)
    pixels = project(joints, torch.full((2, 2), FOCAL_LENGTH), torch.zeros(2, 2))
    return rotmat, transl, torch.cat([pixels, torch.ones(2, 24, 1)], -1)


def test_a_fit_comes_nearer_to_the_labels(body: Body, prior_file: Path) -> None:
    """In the picture, that is: its depth is the prior's guess."""
    rotmat, transl, keypoints = truth(body)
    upright = torch.zeros(2, 24, 3)
    upright[:, 0] = torch.tensor([np.pi, 0.3, 0.0])
    start = axis_angle_to_matrix(upright)
    moved = transl + torch.tensor([0.15, -0.1, 0.0])
    outputs = {"rotmat": start, "shape": torch.zeros(2, 10)}
    found = fit(body, MixturePrior(prior_file), outputs, moved, keypoints, FOCAL_LENGTH, iterations=60)
    assert found.valid.all()
    wanted, before, after = (
        body.pose_joints(rotations, betas)[..., :2]
        for rotations, betas in ((rotmat, torch.zeros(2, 10)), (start, torch.zeros(2, 10)), (found.rotmat, found.betas))
    )
    limbs = [4, 5, 7, 8, 18, 19, 20, 21]
    away = [(joints - wanted)[:, limbs].norm(dim=-1).mean() for joints in (before, after)]
    assert away[1] < 0.5 * away[0]


def test_a_camera_that_is_far_off_is_found_again(body: Body, prior_file: Path) -> None:
    """A hundred steps of a centimetre would not lead back from metres away."""
    rotmat, transl, keypoints = truth(body)
    outputs = {"rotmat": rotmat, "shape": torch.zeros(2, 10)}
    away = transl + torch.tensor([3.0, -2.0, 30.0])
    found = fit(body, MixturePrior(prior_file), outputs, away, keypoints, FOCAL_LENGTH, iterations=20)
    assert found.valid.all()
    assert (found.rotmat - rotmat).abs().mean() < 0.1
    place = estimated_place(body.pose_joints(rotmat, torch.zeros(2, 10)), keypoints, FOCAL_LENGTH)
    torch.testing.assert_close(place, transl, rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_or_has_no_label_is_no_label(body: Body, prior_file: Path) -> None:
    rotmat, transl, keypoints = truth(body)
    keypoints[0, :, :2] = 300 * torch.randn(24, 2, generator=torch.Generator().manual_seed(0))
    keypoints[1, :, 2] = 0
    outputs = {"rotmat": rotmat, "shape": torch.full((2, 10), 4.0)}
    found = fit(body, MixturePrior(prior_file), outputs, transl, keypoints, FOCAL_LENGTH, iterations=3)
    assert found.valid.tolist() == [False, False]
    assert not found.betas.any()  # wild shapes become the mean one


def test_frames_with_2d_labels_alone_then_train_pose_and_shape(prior_file: Path, body: Body) -> None:
    _, _, keypoints = truth(body)
    random = torch.Generator().manual_seed(0)
    batch = {
        "images": torch.randn(2, 3, 96, 96, generator=random),
        "keypoints2d": keypoints / torch.tensor([CROP / 2, CROP / 2, 1]),
        "joints3d": torch.zeros(2, 24, 4),
        "rotmat": torch.eye(3).repeat(2, 24, 1, 1),
        "betas": torch.zeros(2, 10),
        "has_smpl": torch.tensor([0.0, 1.0]),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = Spin(SpinConfig(weights="random")).training_loss(batch)
        torch.manual_seed(0)
        fitted = Spin(SpinConfig(weights="random", pose_prior=str(prior_file))).training_loss(batch)
    assert float(fitted["keypoints2d"].detach()) == pytest.approx(float(plain["keypoints2d"].detach()), rel=1e-5)
    assert float(fitted["pose"].detach()) != pytest.approx(float(plain["pose"].detach()), rel=1e-3)
    fitted["loss"].backward()
    assert batch["has_smpl"].tolist() == [0, 1]  # the caller's batch stays as it was


@pytest.mark.parametrize(
    "content", [[1], {"means": np.zeros((8, 63)), "covars": np.zeros((8, 63, 63)), "weights": np.ones(8)}]
)
def test_a_file_without_such_a_mixture_is_named(tmp_path: Path, content: object) -> None:
    (tmp_path / "other.pkl").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(UserError, match=r"pose prior .*other\.pkl"):
        Spin(SpinConfig(weights="random", pose_prior=str(tmp_path / "other.pkl")))
    with pytest.raises(UserError, match=r"none\.pkl"):
        Spin(SpinConfig(weights="random", pose_prior=str(tmp_path / "none.pkl")))
