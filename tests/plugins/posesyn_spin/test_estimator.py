"""SPIN as an estimator: the protocol, the geometry of its decoding, its training."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.components import SplitEstimator, TrainableEstimator
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.crops import apply_affine, crop_matrix
from posesyn_core.inference.predict import predict
from posesyn_core.values import Image, LabelledFrame, PoseEstimate, Sample
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin
from posesyn_spin.losses import project_to_crop


@pytest.fixture(scope="module")
def estimator() -> Spin:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Spin(SpinConfig(weights="random"))


def picture(seed: int) -> Image:
    """Soft random colours, 160x120."""
    small = np.random.default_rng(seed).integers(0, 256, (16, 12, 3)).astype(np.uint8)
    return cv2.resize(small, (120, 160), interpolation=cv2.INTER_CUBIC)


def sample(box: tuple[float, float, float, float] = (30, 20, 90, 140), seed: int = 0) -> Sample:
    return Sample(f"s/{seed}", encode_png(picture(seed)), box, "smpl24", np.zeros((24, 2)), np.ones(24))


def outputs(count: int) -> dict[str, np.ndarray]:
    """What a network might have returned: arbitrary rotations, shapes and cameras."""
    random = np.random.default_rng(1)
    rotmat = np.linalg.qr(random.standard_normal((count, 24, 3, 3)))[0]
    rotmat *= np.linalg.det(rotmat)[..., None, None]
    cam = np.column_stack([random.uniform(0.6, 1.1, count), random.uniform(-0.2, 0.2, (count, 2))])
    values = {"rotmat": rotmat, "shape": random.standard_normal((count, 10)), "cam": cam}
    return {name: value.astype(np.float32) for name, value in values.items()}


def test_it_is_a_trainable_estimator(estimator: Spin) -> None:
    assert isinstance(estimator, SplitEstimator)
    assert isinstance(estimator, TrainableEstimator)


def test_the_plugin_module_imports_nothing_heavy() -> None:
    code = "import posesyn_spin.plugin, sys; print(sorted({'torch', 'cv2', 'scipy', 'smplx'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_decoded_joints_agree_with_the_crops_camera(estimator: Spin) -> None:
    """The full-image camera sees in the crop's square what the crop's own camera sees."""
    boxes = [np.array([10, 20, 110, 220], np.float32), np.array([300, 40, 420, 90], np.float32)]
    raw = outputs(2)
    estimates = estimator.decode(raw, boxes)
    joints = estimator.body.pose_joints(torch.from_numpy(raw["rotmat"]), torch.from_numpy(raw["shape"]))
    in_crop = project_to_crop(joints, torch.from_numpy(raw["cam"])).numpy()
    for at, estimate in enumerate(estimates):
        pixels = apply_affine(crop_matrix(boxes[at], 224, 1.2), estimate.joints2d)
        np.testing.assert_allclose(2 * pixels / 224 - 1, in_crop[at], atol=1e-4)


def test_decoded_parts_describe_one_body(estimator: Spin) -> None:
    boxes = [np.array([10, 20, 110, 220], np.float32)] * 3
    for estimate in estimator.decode(outputs(3), boxes):
        smpl = estimate.smpl
        assert smpl is not None
        arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
        joints = estimator.body.joints(*(torch.from_numpy(np.array(array)[None]) for array in arrays))[0].numpy()
        np.testing.assert_allclose(joints - joints[:1], estimate.joints3d, atol=1e-3)
        camera = estimate.camera
        np.testing.assert_allclose(
            project(joints, camera.focal_length, camera.principal_point), estimate.joints2d, atol=0.05
        )
        assert camera.focal_length == pytest.approx(5000 / 224 * 240, rel=1e-5)
        np.testing.assert_allclose(camera.principal_point, [60, 120])


def test_prediction_does_not_depend_on_the_batch(estimator: Spin) -> None:
    samples = [sample(seed=seed) for seed in range(5)]
    together = [result for batch in predict(estimator, [samples], workers=2) for result in batch]
    alone = [result for batch in predict(estimator, [[one] for one in samples], workers=1) for result in batch]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, PoseEstimate)
        assert isinstance(other, PoseEstimate)
        np.testing.assert_allclose(one.joints3d, other.joints3d, atol=1e-5)


def test_moving_picture_and_box_moves_the_estimate(estimator: Spin) -> None:
    """A person elsewhere in the image is the same person: the crop is what counts."""
    still = sample()
    wide = np.zeros((260, 320, 3), np.uint8)
    wide[60:220, 150:270] = picture(0)
    moved = evolve(still, image=encode_png(wide), box=still.box + np.array([150, 60, 150, 60], np.float32))
    ((first, second),) = predict(estimator, [[still, moved]])
    assert isinstance(first, PoseEstimate)
    assert isinstance(second, PoseEstimate)
    np.testing.assert_allclose(first.joints3d, second.joints3d, atol=1e-3)
    np.testing.assert_allclose(first.joints2d + np.array([150, 60]), second.joints2d, atol=0.1)


@pytest.mark.parametrize(
    ("box", "reason"), [((500, 500, 600, 600), "outside"), ((9, 9, 9, 9), "no area"), ((0, 0, np.nan, 9), "finite")]
)
def test_a_bad_box_is_a_bad_sample(estimator: Spin, box: tuple[float, float, float, float], reason: str) -> None:
    with pytest.raises(SampleError, match=reason):
        estimator.preprocess(sample(box))


def test_a_missing_body_file_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"body model .*missing\.npz"):
        Spin(SpinConfig(weights="random", body="missing.npz"))


def frame() -> LabelledFrame:
    whole = sample()
    return LabelledFrame("f", whole.image, whole.box, np.full((24, 2), 70.0), np.ones(24))


def test_a_2d_label_trains_the_2d_term_alone(estimator: Spin) -> None:
    item = estimator.training_inputs(frame(), np.random.default_rng(0))
    terms = estimator.training_loss({name: torch.from_numpy(value[None]) for name, value in item.items()})
    assert terms["keypoints2d"] > 0
    assert [float(terms[name].detach()) for name in ("keypoints3d", "pose", "betas")] == [0, 0, 0]


def test_loss_weights_are_options(estimator: Spin) -> None:
    item = estimator.training_inputs(frame(), np.random.default_rng(0))
    batch = {name: torch.from_numpy(value[None]) for name, value in item.items()}
    heavier = Spin(SpinConfig(weights="random", keypoint_loss_weight=10.0))
    heavier.network.load_state_dict(estimator.network.state_dict())
    light, heavy = estimator.training_loss(batch), heavier.training_loss(batch)
    assert float((heavy["loss"] - light["loss"]).detach()) == pytest.approx(
        60 * 5 * float(light["keypoints2d"].detach()), rel=1e-4
    )


def test_vertices_train_where_they_have_a_weight(estimator: Spin) -> None:
    """They count nothing by default, as published, and are not computed then."""
    item = estimator.training_inputs(frame(), np.random.default_rng(0))
    batch = {name: torch.from_numpy(value[None]) for name, value in item.items()}
    batch |= {"has_smpl": torch.ones(1), "has_shape": torch.ones(1), "betas": torch.ones(1, 10)}
    weighted = Spin(SpinConfig(weights="random", shape_loss_weight=2.0))
    weighted.network.load_state_dict(estimator.network.state_dict())
    plain, found = estimator.training_loss(batch), weighted.training_loss(batch)
    assert "vertices" not in plain
    assert found["vertices"] > 0
    added = float((found["loss"] - plain["loss"]).detach())
    assert added == pytest.approx(60 * 2 * float(found["vertices"].detach()), rel=1e-3)
