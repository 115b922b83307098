"""The published SPIN, replayed from the reference data."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_spin import losses
from posesyn_spin.network import SpinNetwork, sizes_of

Arrays = Mapping[str, NDArray]


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "parity" / "spin"


@pytest.fixture(scope="module")
def io(pack: Path) -> Arrays:
    with np.load(pack / "io.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def network(pack: Path) -> SpinNetwork:
    """The small network with the recorded weights: official names, loaded strictly."""
    state = load_file(pack / "checkpoint.safetensors")
    network = SpinNetwork(sizes_of(state))
    network.load_state_dict(state, strict=True)
    return network.eval()


def tensor(io: Arrays, name: str) -> torch.Tensor:
    return torch.from_numpy(io[name])


def test_small_checkpoint_has_the_sizes_of_its_configuration(pack: Path, network: SpinNetwork) -> None:
    config = json.loads((pack / "config.json").read_text())
    sizes = network.sizes
    assert (sizes.width, list(sizes.layers), sizes.hidden) == (config["base_width"], config["layers"], config["fc_dim"])


@pytest.mark.parametrize(("dtype", "suffix", "tolerance"), [(torch.float32, "", 1e-5), (torch.float64, "_f64", 1e-6)])
def test_outputs(io: Arrays, network: SpinNetwork, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    with torch.inference_mode():
        outputs = network.to(dtype)(tensor(io, "out/images").to(dtype))
    network.float()
    for ours, theirs in {"rotmat": "pred_rotmat", "shape": "pred_shape", "cam": "pred_cam"}.items():
        np.testing.assert_allclose(outputs[ours].numpy(), io[f"out/{theirs}{suffix}"], atol=tolerance, rtol=0)


def test_one_iteration(io: Arrays, network: SpinNetwork) -> None:
    with torch.inference_mode():
        outputs = network(tensor(io, "out/images"), iterations=1)
    np.testing.assert_allclose(outputs["rotmat"].numpy(), io["out/niter1_pred_rotmat"], atol=1e-5)
    np.testing.assert_allclose(outputs["cam"].numpy(), io["out/niter1_pred_cam"], atol=1e-5)


def test_every_recorded_intermediate(io: Arrays, network: SpinNetwork) -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    hooks = [
        module.register_forward_hook(
            lambda _m, inputs, out, name=name: seen.setdefault(name, []).extend([inputs[0], out])
        )
        for name, module in network.named_children()
    ]
    with torch.inference_mode():
        seen["features"] = [network.features(tensor(io, "out/images"))]
        seen = {"features": seen["features"]}
        network(tensor(io, "out/images"))
    for hook in hooks:
        hook.remove()
    maps = {"stem_conv1_s8": "conv1", "stem_bn1_s8": "bn1", "stem_maxpool_s4": "maxpool", "layer1_s8": "layer1"}
    maps |= {"layer2_s4": "layer2", "layer3_s2": "layer3", "layer4_s1": "layer4"}
    for recorded, name in maps.items():
        stride = int(recorded.rpartition("_s")[2])
        before_relu = seen[name][1]
        ours = before_relu[..., ::stride, ::stride].numpy()
        theirs = io[f"out/{recorded}"]
        np.testing.assert_allclose(np.maximum(ours, 0) if name == "bn1" else ours, _relu(theirs, name), atol=1e-5)
    np.testing.assert_allclose(seen["features"][0].numpy(), io["out/xf"], atol=1e-5)
    for k in range(3):
        np.testing.assert_allclose(seen["fc1"][2 * k].numpy(), io[f"out/iter{k}_fc1_in"], atol=1e-5)
        for name in ("fc1", "fc2", "decpose", "decshape", "deccam"):
            np.testing.assert_allclose(seen[name][2 * k + 1].numpy(), io[f"out/iter{k}_{name}"], atol=1e-5)


def _relu(values: NDArray, name: str) -> NDArray:
    """The first norm's output is overwritten by the in-place ReLU behind it; compare what is left of it."""
    return np.maximum(values, 0) if name == "bn1" else values


def test_full_size_matches_the_published_manifest(pack: Path) -> None:
    manifest = json.loads((pack / "manifest_full.json").read_text())
    with torch.device("meta"):
        full = SpinNetwork()
    ours = {
        name: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        for name, value in full.state_dict().items()
    }
    assert ours == manifest
    assert sum(parameter.numel() for parameter in full.parameters()) == 26_977_501


def test_projection_into_the_crop(io: Arrays) -> None:
    points, cam = tensor(io, "in/proj_points"), torch.tensor([[0.9, 0.02, -0.1], [0.7, 0.3, 0.2]])
    translation = losses.crop_translation(cam, losses.FOCAL_LENGTH, losses.CROP)
    placed = points + translation[:, None]
    np.testing.assert_allclose(
        losses.project_to_crop(points, cam), 5000 * placed[..., :2] / placed[..., 2:] / 112, atol=1e-6
    )
    np.testing.assert_allclose(
        losses.crop_translation(tensor(io, "out/pred_cam"), 5000.0, 224), io["out/cam_t"], rtol=1e-5
    )


def test_keypoint_loss_2d(io: Arrays) -> None:
    labels = tensor(io, "in/loss_gt_kp2d").clone()
    labels[:, :25, 2] = 0  # the official default: OpenPose's part counts nothing
    loss = losses.keypoint_loss_2d(tensor(io, "in/loss_pred_kp2d"), labels)
    np.testing.assert_allclose(loss, io["out/loss_keypoints_op0_gt1"], rtol=1e-5)


@pytest.mark.parametrize(("recorded", "known"), [("loss_keypoints_3d", [1, 1]), ("loss_keypoints_3d_only0", [1, 0])])
def test_keypoint_loss_3d(io: Arrays, recorded: str, known: list[int]) -> None:
    predicted, truth = tensor(io, "in/proj_points")[:, 25:], tensor(io, "in/loss_gt_joints")
    weights = truth[..., 3] * torch.tensor(known)[:, None]
    loss = losses.keypoint_loss_3d(predicted, truth[..., :3], weights, hips=(2, 3))
    np.testing.assert_allclose(loss, io[f"out/{recorded}"], rtol=1e-5)


def test_parameter_losses(io: Arrays) -> None:
    known = torch.ones(2)
    truth = axis_angle_to_matrix(tensor(io, "in/loss_gt_pose").reshape(2, 24, 3))
    pose = losses.pose_loss(tensor(io, "out/pred_rotmat"), truth, known)
    np.testing.assert_allclose(pose, io["out/loss_regr_pose"], rtol=1e-5)
    betas = losses.shape_loss(tensor(io, "out/pred_shape"), tensor(io, "in/loss_gt_betas"), known)
    np.testing.assert_allclose(betas, io["out/loss_regr_betas"], rtol=1e-5)
    np.testing.assert_allclose(losses.camera_loss(tensor(io, "out/pred_cam")), io["out/loss_cam_reg"], rtol=1e-5)
