"""3DCrowdNet as an estimator: what is its own, beside what tests/plugins/test_estimators.py asks of all."""

import copy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.engines.precision import in_precision
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.crops import apply_affine, invert_affine
from posesyn_core.inference.predict import exportable
from posesyn_core.values import Detected, Keypoints, LabelledFrame, Sample
from posesyn_crowdnet.config import CrowdNetConfig
from posesyn_crowdnet.crops import View, crop_matrix
from posesyn_crowdnet.estimator import CrowdNet
from posesyn_crowdnet.joints import DETECTED, GRAPH, SUPERSET
from posesyn_crowdnet.losses import WEIGHTS, crowdnet_loss, project_to_heatmap
from tests.tiny import people


@pytest.fixture(scope="module")
def estimator() -> CrowdNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CrowdNet(CrowdNetConfig())


def sample(confidence: float = 1.0) -> Sample:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (160, 120, 3)).astype(np.uint8)
    joints = random.uniform([35, 30], [85, 130], (17, 2))
    return Sample("s", encode_png(picture), (30, 20, 90, 140), "coco17", joints, np.full(17, confidence))


def frame() -> LabelledFrame:
    one = people(1)[0]
    return LabelledFrame(
        one.id, one.image, one.box, one.keypoints2d, one.confidence, one.camera, one.joints3d, one.smpl
    )


def test_the_plugin_module_imports_nothing_heavy() -> None:
    code = "import posesyn_crowdnet.plugin, sys; print(sorted({'torch', 'cv2', 'scipy', 'smplx'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


class Shifted:
    """A 2D estimator that finds all joints ten pixels to the right of the labels."""

    joint_set = "coco17"

    def detect(self, samples: Sequence[Sample]) -> list[Keypoints]:
        return [Keypoints(one.keypoints2d + np.array([10, 0], np.float32), np.ones(17)) for one in samples]


def pose_of(estimator: CrowdNet, one: Sample) -> np.ndarray:
    """The nose that the network gets, in pixels of the image."""
    prepared = estimator.preprocess(one)
    crop = invert_affine(crop_matrix(prepared.context, View(), 120))
    return apply_affine(crop, 4 * prepared.tensors["joints"])[SUPERSET.index("Nose")]


def test_the_2d_pose_may_be_detected_and_labels_are_told(estimator: CrowdNet) -> None:
    one = sample()
    assert estimator.given_labels(one)
    detecting = copy.copy(estimator)
    detecting.config = CrowdNetConfig(keypoints=Shifted())
    assert not detecting.given_labels(one)
    np.testing.assert_allclose(pose_of(detecting, one), one.keypoints2d[0] + [10, 0], atol=1e-3)

    openpose = np.zeros((25, 3))
    openpose[:8] = np.column_stack([np.linspace(50, 70, 8), np.linspace(60, 90, 8), np.full(8, 0.9)])
    shipped = evolve(one, detected=Detected("openpose25", openpose[:, :2], openpose[:, 2]))
    assert not estimator.given_labels(shipped)
    np.testing.assert_allclose(pose_of(detecting, shipped), [50, 60], atol=1e-3)  # what the data set ships comes first


def test_the_2d_pose_is_given_in_heatmap_units_of_the_crop(estimator: CrowdNet) -> None:
    one = sample()
    prepared = estimator.preprocess(one)
    nose, pelvis = SUPERSET.index("Nose"), SUPERSET.index("Pelvis")
    back = apply_affine(invert_affine(crop_matrix(prepared.context, View(), 120)), 4 * prepared.tensors["joints"])
    np.testing.assert_allclose(back[nose], one.keypoints2d[0], atol=1e-3)
    np.testing.assert_allclose(back[pelvis], one.keypoints2d[11:13].mean(0), atol=1e-3)
    used = {SUPERSET[at] for at in np.flatnonzero(prepared.tensors["joints_mask"])}
    assert used == DETECTED


def test_unsure_joints_are_left_out_and_without_any_the_sample_is_refused(estimator: CrowdNet) -> None:
    one = sample()
    sure = np.array([0.06] * 9 + [0.04] * 8)
    mask = estimator.preprocess(evolve(one, confidence=sure)).tensors["joints_mask"]
    used = {SUPERSET[at] for at in np.flatnonzero(mask)}
    # Pelvis and Neck are as sure as the product of their two joints, as published: 0.06 squared is too little
    assert used == {"Nose", "L_Eye", "R_Eye", "L_Ear", "R_Ear", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow"}
    with pytest.raises(SampleError, match="needs 2D joints"):
        estimator.preprocess(sample(confidence=0.0))


def test_what_is_cut_out_is_an_option(estimator: CrowdNet) -> None:
    other = CrowdNet(CrowdNetConfig(crop="box"))
    near = evolve(sample(), keypoints2d=np.random.default_rng(1).uniform(50, 60, (17, 2)))
    by_pose, by_box = (one.preprocess(near).context for one in (estimator, other))
    assert by_pose[2] < 20
    np.testing.assert_allclose(by_box[2], 119 * 1.25, atol=0.1)


def test_the_crops_camera_and_the_full_one_see_the_same(estimator: CrowdNet) -> None:
    """Up to the depth of the body, which the farther camera of a smaller square sees less of."""
    box = np.array([40, 30, 256, 256], np.float32)
    rotmat = np.linalg.qr(np.random.default_rng(0).standard_normal((1, 24, 3, 3)))[0]
    rotmat *= np.linalg.det(rotmat)[..., None, None]
    raw = {"rotmat": rotmat, "shape": np.zeros((1, 10)), "cam": np.array([[0.2, -0.1, 0.4]])}
    raw = {name: values.astype(np.float32) for name, values in raw.items()}
    (estimate,) = estimator.decode(raw, [box])
    smpl = estimate.smpl
    assert smpl is not None
    joints = torch.from_numpy(estimate.joints3d + estimator.body.rest_joints(torch.zeros(1, 10))[0, 0].numpy())
    in_crop = project_to_heatmap(joints[None], torch.from_numpy(raw["cam"]))[0].numpy()
    np.testing.assert_allclose(estimate.joints2d, 4 * in_crop + box[:2], atol=0.05)
    np.testing.assert_allclose(estimate.camera.focal_length, 5000)
    np.testing.assert_allclose(estimate.camera.principal_point, box[:2] + 128)
    half = np.array([40, 30, 128, 128], np.float32)
    assert estimator.decode(raw, [half])[0].smpl.transl[2] == pytest.approx(2 * smpl.transl[2])  # type: ignore[union-attr]


def test_frames_show_the_network_what_a_detector_finds(estimator: CrowdNet) -> None:
    item = estimator.training_inputs(frame(), np.random.default_rng(3))
    shown = {SUPERSET[at] for at in np.flatnonzero(item["joints_mask"])}
    assert shown <= DETECTED
    assert item["orig_joint_trunc"].sum() > len(shown)


def test_errors_are_made_up_unless_switched_off(estimator: CrowdNet) -> None:
    exact = CrowdNet(CrowdNetConfig(synthesise_errors=False))
    disturbed, true = (one.training_inputs(frame(), np.random.default_rng(5)) for one in (estimator, exact))
    np.testing.assert_array_equal(true["joints"], true["orig_joint_img"][:, :2])
    apart = np.linalg.norm(disturbed["joints"] - disturbed["orig_joint_img"][:, :2], axis=1)
    hips = [SUPERSET.index(name) for name in ("L_Hip", "R_Hip", "L_Wrist", "R_Wrist")]
    assert apart[hips].max() > 0.05
    assert apart[SUPERSET.index("Spine")] == 0
    np.testing.assert_array_equal(disturbed["joints_mask"], true["joints_mask"])


def test_a_2d_label_trains_the_2d_terms_alone(estimator: CrowdNet) -> None:
    flat = evolve(frame(), joints3d=None, smpl=None)
    item = estimator.training_inputs(flat, np.random.default_rng(0))
    terms = estimator.training_loss({name: torch.from_numpy(value[None]) for name, value in item.items()})
    assert {name for name, term in terms.items() if term.item() > 0} == {"loss", "body_joint_img", "body_joint_proj"}
    assert terms.keys() - {"loss"} == WEIGHTS.keys()


def test_3d_joints_without_a_pelvis_are_compared_about_the_hips(estimator: CrowdNet) -> None:
    """A prediction that is the truth, but for where the body is, has no 3D error."""
    full = frame()
    assert full.joints3d is not None
    joints = full.joints3d - full.joints3d[[1, 2]].mean(0)
    bare = evolve(full, smpl=None, joints3d=joints, confidence3d=np.arange(24) > 0)
    item = estimator.training_inputs(bare, np.random.default_rng(0))
    batch = {name: torch.from_numpy(value[None]) for name, value in item.items()}
    graph = [SUPERSET.index(name) for name in GRAPH]
    outputs = {
        "joint_img": batch["orig_joint_img"][:, graph] + torch.tensor([0, 0, 3.0]),
        "rotmat": torch.eye(3).expand(1, 24, 3, 3), "shape": torch.zeros(1, 10), "cam": torch.zeros(1, 3),
    }  # fmt: skip
    terms = crowdnet_loss(outputs, batch["orig_joint_cam"] + 0.1, batch, estimator._known)
    assert terms["body_joint_cam"].item() == pytest.approx(0, abs=1e-6)
    assert terms["body_joint_img"].item() == pytest.approx(0, abs=1e-6)
    rooted = {**batch, "is_3D": torch.ones_like(batch["is_3D"])}
    terms = crowdnet_loss(outputs, batch["orig_joint_cam"] + 0.1, rooted, estimator._known)
    assert terms["body_joint_img"].item() > 0.05


def test_joints_that_the_body_lacks_are_not_trained_on(estimator: CrowdNet) -> None:
    """The free body has no head top; a label of it must not move the projection's loss."""
    item = estimator.training_inputs(frame(), np.random.default_rng(0))
    batch = {name: torch.from_numpy(value[None].copy()) for name, value in item.items()}
    before = estimator.training_loss(batch)["body_joint_proj"].item()
    batch["orig_joint_img"][:, -1], batch["orig_joint_trunc"][:, -1] = 50, 1
    assert estimator.training_loss(batch)["body_joint_proj"].item() == pytest.approx(before)


def test_parts_that_need_float32_exist(estimator: CrowdNet) -> None:
    in_precision(exportable("crowdnet", estimator), "bf16")


def test_both_ways_through_a_graph_block_agree(estimator: CrowdNet) -> None:
    """Inference folds each joint's linear layer with its BatchNorm; the layers one by one give the same."""
    block = estimator.network.rotation_net.graph_block[1].graph_block1
    x = torch.randn(4, 15, estimator.network.sizes.graph, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        own = torch.stack([layer(x[:, joint]) for joint, layer in enumerate(block.fcbn_list)], dim=1)
        torch.testing.assert_close(block(x), (block.adjacency @ own).relu(), atol=1e-6, rtol=1e-5)


def test_an_extra_regressor_of_another_body_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "extra.npy", np.zeros((9, 6890)))
    with pytest.raises(UserError, match=r"extra_regressor .*extra\.npy.* has shape \(9, 6890\)"):
        CrowdNet(CrowdNetConfig(extra_regressor=str(tmp_path / "extra.npy")))
    vertices = 6800
    np.save(tmp_path / "fits.npy", np.full((9, vertices), 1 / vertices))
    assert CrowdNet(CrowdNetConfig(extra_regressor=str(tmp_path / "fits.npy")))._known[-1]
