"""The published HMR 2.0 of 4D-Humans, replayed from the reference data."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from attrs import evolve
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from posesyn_core.body.model import Body
from posesyn_core.errors import SampleError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.alignment import align
from posesyn_core.geometry.cameras import crop_translation, image_translation, project
from posesyn_core.geometry.rotations import axis_angle_to_matrix, quaternion_to_matrix, six_d_to_matrix
from posesyn_core.method.metrics import mpjpe, pa_mpjpe
from posesyn_hmr2 import losses
from posesyn_hmr2.annotations import read_shard
from posesyn_hmr2.crops import blur_deviation, blurred_part, crop_matrix, crop_person, expand_to_aspect, person_square
from posesyn_hmr2.evaluation import errors_mm, keypoint_l2, pck
from posesyn_hmr2.extreme_crops import PARTS, extreme_crop, part_box, shown
from posesyn_hmr2.inputs import View, crop_mask, training_inputs
from posesyn_hmr2.joints import Joints44
from posesyn_hmr2.network import Hmr2Network, Sizes, SmplHead
from posesyn_hmr2.people import Person
from posesyn_hmr2.rules import THRESHOLDS, PosePrior, believed
from posesyn_hmr2.weights import IGNORED, Loaded
from tests.packs import Arrays, Claims, arrays, check_claims, manifest_of

WARP = "_cv5" if int(cv2.__version__.split(".")[0]) >= 5 else ""
"""OpenCV 5 samples 8-bit images at exact places, 4 on a grid of 1/32 pixel; both are recorded."""


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "parity" / "hmr2"


@pytest.fixture(scope="module")
def io(pack: Path) -> Arrays:
    return arrays(pack / "io.npz")


@pytest.fixture(scope="module")
def geometry(pack: Path) -> Arrays:
    return arrays(pack / "io_geometry.npz")


@pytest.fixture(scope="module")
def train(pack: Path) -> Arrays:
    return arrays(pack / "io_train.npz")


@pytest.fixture(scope="module")
def dataset(pack: Path) -> Arrays:
    return arrays(pack / "io_dataset.npz")


@pytest.fixture(scope="module")
def config(pack: Path) -> Mapping[str, Any]:
    return json.loads((pack / "config.json").read_text())


@pytest.fixture(scope="module")
def state(pack: Path) -> Mapping[str, Tensor]:
    return load_file(pack / "checkpoint.safetensors")


def sizes_of_config(config: Mapping[str, Any]) -> Sizes:
    backbone, head = config["MODEL"]["BACKBONE"], config["MODEL"]["SMPL_HEAD"]
    decoder = head["TRANSFORMER_DECODER"]
    return Sizes(
        channels=backbone["embed_dim"],
        depth=backbone["depth"],
        head_channels=backbone["embed_dim"] // backbone["num_heads"],
        decoder_channels=decoder["dim"],
        decoder_depth=decoder["depth"],
        decoder_heads=decoder["heads"],
        decoder_head_channels=decoder["dim_head"],
        decoder_hidden=decoder["mlp_dim"],
        refines=head["TRANSFORMER_INPUT"] == "mean_shape",
        rounds=head["IEF_ITERS"],
        discriminator=config["DISCRIMINATOR"]["ALLJOINTS_HIDDEN"],
        drop_path=backbone["drop_path_rate"],
    )


@pytest.fixture
def network(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Hmr2Network:
    """The small network with the recorded weights: official names, loaded strictly."""
    network = Hmr2Network(sizes_of_config(config))
    own = {name: tensor for name, tensor in state.items() if not name.startswith("smpl.") and name != "initialized"}
    network.load_state_dict(own, strict=True)
    return network.eval()


@pytest.fixture
def body(state: Mapping[str, Tensor], network: Hmr2Network) -> Body:
    """The body in the checkpoint."""
    return _loaded(state, network).load_body("")


def _loaded(state: Mapping[str, Tensor], network: Hmr2Network) -> Loaded:
    return Loaded(network, "smpl", {name: tensor for name, tensor in state.items() if name.startswith("smpl.")})


@pytest.fixture
def joints(config: Mapping[str, Any], state: Mapping[str, Tensor], body: Body, network: Hmr2Network) -> Joints44:
    vertices = list(config["SMPL"]["VERTEX_IDS"].values())
    return Joints44(body, vertices[:11], _loaded(state, network).regressor_for(body))


def tensor(io: Arrays, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(io[name]).to(dtype)


PRECISIONS = pytest.mark.parametrize(
    ("dtype", "suffix", "tolerance"), [(torch.float32, "", 2e-5), (torch.float64, "_f64", 1e-9)]
)


@PRECISIONS
def test_outputs(io: Arrays, network: Hmr2Network, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    with torch.inference_mode():
        outputs = network.to(dtype)(tensor(io, "img", dtype))
    for name, values in outputs.items():
        np.testing.assert_allclose(values, io[f"pred_{name}{suffix}"], rtol=0, atol=tolerance)
    translation = crop_translation(outputs["cam"], losses.FOCAL_LENGTH, 256)
    np.testing.assert_allclose(translation, io[f"pred_cam_t{suffix}"], rtol=tolerance)
    np.testing.assert_array_equal(io[f"focal_length{suffix}"], losses.FOCAL_LENGTH)


@PRECISIONS
def test_body_and_joints(io: Arrays, joints: Joints44, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    joints = joints.to(dtype)
    rotations = torch.cat([tensor(io, f"pred_{name}{suffix}", dtype) for name in ("global_orient", "body_pose")], 1)
    betas, cam = (tensor(io, f"pred_{name}{suffix}", dtype) for name in ("betas", "cam"))
    found = joints(rotations, betas)
    assert joints.known.all()
    np.testing.assert_allclose(found, io[f"pred_keypoints_3d{suffix}"], rtol=0, atol=tolerance)
    seen = losses.project_to_crop(found, cam)
    np.testing.assert_allclose(seen, io[f"pred_keypoints_2d{suffix}"], rtol=0, atol=tolerance)
    joints.update_hips = True
    moved = joints(rotations, betas)
    np.testing.assert_allclose(moved, io[f"pred_keypoints_3d_update_hips{suffix}"], rtol=0, atol=tolerance)


@PRECISIONS
def test_vertices(
    io: Arrays, config: Mapping[str, Any], body: Body, dtype: torch.dtype, suffix: str, tolerance: float
) -> None:
    rotations = torch.cat([tensor(io, f"pred_{name}{suffix}", dtype) for name in ("global_orient", "body_pose")], 1)
    posed = body.to(dtype).pose(rotations, tensor(io, f"pred_betas{suffix}", dtype))
    np.testing.assert_allclose(posed.vertices, io[f"pred_vertices{suffix}"], rtol=0, atol=tolerance)
    picked = posed.vertices[:, list(config["SMPL"]["VERTEX_IDS"].values())]
    found = torch.cat([posed.joints3d, picked], dim=1)
    np.testing.assert_allclose(found, io[f"smpl_joints45{suffix}"], rtol=0, atol=tolerance)


def recorded(network: nn.Module, *inputs: Tensor) -> dict[str, list[Tensor]]:
    """What each submodule returned, call by call."""
    seen: dict[str, list[Tensor]] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.setdefault(name, []).append(out))
    with torch.inference_mode():
        network(*inputs)
    return seen


@PRECISIONS
def test_every_recorded_intermediate(
    io: Arrays, network: Hmr2Network, dtype: torch.dtype, suffix: str, tolerance: float
) -> None:
    seen = recorded(network.to(dtype), tensor(io, "img", dtype))
    head = "smpl_head.transformer"
    names = {"bb_patch_tokens": "backbone.patch_embed", "bb_block0_norm1": "backbone.blocks.0.norm1"}
    names |= {"bb_block0_attn": "backbone.blocks.0.attn", "bb_block0_mlp": "backbone.blocks.0.mlp"}
    names |= {f"bb_block{at}_out": f"backbone.blocks.{at}" for at in range(3)}
    names |= {"bb_last_norm": "backbone.last_norm", "dec_token_embedded": f"{head}.to_token_embedding"}
    for layer in range(2):
        parts = ("self_attn", "cross_attn", "ff")
        names |= {
            f"dec_layer{layer}_{part}": f"{head}.transformer.layers.{layer}.{at}" for at, part in enumerate(parts)
        }
    names |= {"dec_token_out": head}
    names |= {f"{part}_out": f"smpl_head.{part}" for part in ("decpose", "decshape", "deccam")}
    found = {recorded_name: seen[name][0] for recorded_name, name in names.items()}
    found["feature_map"] = seen["backbone"][0].mT.unflatten(2, (16, 12))
    found["dec_token_pos"] = found["dec_token_embedded"] + network.smpl_head.transformer.pos_embedding.detach()
    positions = network.backbone.pos_embed.detach()
    found["bb_tokens_pos"] = found["bb_patch_tokens"] + positions[:, 1:] + positions[:, :1]
    found["pred_pose6d"] = network.smpl_head.init_body_pose + found["decpose_out"]
    checked = {name for name in found if f"{name}{suffix}" in io}
    assert len(checked) == (23 if suffix == "" else 6)
    for name in checked:
        np.testing.assert_allclose(found[name], io[f"{name}{suffix}"], rtol=0, atol=5 * tolerance, err_msg=name)


def test_the_backbone_sees_the_middle_columns(io: Arrays, network: Hmr2Network) -> None:
    images, middle = tensor(io, "img"), tensor(io, "img_slice")
    with torch.inference_mode():
        expected, found = network.smpl_head(network.backbone(middle)), network(images)
    for name, values in found.items():
        torch.testing.assert_close(values, expected[name])


@PRECISIONS
def test_the_decoder_that_refines(pack: Path, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    io, config = (arrays(pack / "io_mean_shape.npz"), json.loads((pack / "config_mean_shape.json").read_text()))
    full = {
        "MODEL": {**config["MODEL"], "BACKBONE": {"embed_dim": 64, "depth": 0, "num_heads": 4, "drop_path_rate": 0}}
    }
    head = SmplHead(sizes_of_config({**full, "DISCRIMINATOR": {"ALLJOINTS_HIDDEN": 48}}))
    head.load_state_dict(load_file(pack / "checkpoint_mean_shape.safetensors"), strict=True)
    head = head.to(dtype).eval()
    tokens = tensor(io, "feature_map", dtype).flatten(2).mT
    fed: list[Tensor] = []
    head.transformer.register_forward_pre_hook(lambda _module, inputs: fed.append(inputs[0]))
    seen = recorded(head, tokens)
    for at in range(3):
        np.testing.assert_allclose(fed[at], io[f"iter{at}_token_in{suffix}"], rtol=0, atol=tolerance)
        np.testing.assert_allclose(
            seen["transformer"][at], io[f"iter{at}_token_out{suffix}"], rtol=0, atol=5 * tolerance
        )
    for name, values in seen[""][0].items():  # type: ignore[attr-defined]
        np.testing.assert_allclose(values, io[f"pred_{name}{suffix}"], rtol=0, atol=tolerance, err_msg=name)
    states = [*(token[:, 0] for token in fed[1:]), _state(seen, head)]
    pose, betas, cam = torch.cat(states).split([144, 10, 3], dim=1)
    matrices = six_d_to_matrix(pose.unflatten(1, (24, 6)), "columns")[:, 1:]
    rounds = {"body_pose": matrices, "betas": betas, "cam": cam}
    for name, values in rounds.items():
        np.testing.assert_allclose(values, io[f"all_iters_{name}{suffix}"], rtol=0, atol=tolerance, err_msg=name)


def _state(seen: Mapping[str, list[Tensor]], head: SmplHead) -> Tensor:
    """The estimate (B, 157) after the last round: the initial one and all increments."""
    initial = torch.cat([head.init_body_pose, head.init_betas, head.init_cam], dim=1)
    return initial + sum(
        torch.cat(parts, 1) for parts in zip(*(seen[f"dec{k}"] for k in ("pose", "shape", "cam")), strict=True)
    )


def test_full_size_matches_the_published_manifest(pack: Path) -> None:
    manifest = json.loads((pack / "manifest_full.json").read_text())
    with torch.device("meta"):
        full = Hmr2Network()
    ours = manifest_of(full)
    left = {name: entry for name, entry in manifest.items() if name not in ours}
    assert {**ours, **left} == manifest
    assert all(name == "initialized" or name.startswith("smpl.") for name in left)
    assert IGNORED == ("smpl.*", "initialized")
    assert len(manifest) == 576
    assert sum(parameter.numel() for parameter in full.backbone.parameters()) == 630_912_000


@PRECISIONS
def test_rotations(geometry: Arrays, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    for name in ("rot6d", "rot6d_special"):
        found = six_d_to_matrix(tensor(geometry, f"{name}_in", dtype), "columns")
        np.testing.assert_allclose(found, geometry[f"{name}_out{suffix}"], atol=min(1e-6, tolerance))
    found = axis_angle_to_matrix(tensor(geometry, "aa_in", dtype))
    np.testing.assert_allclose(found, geometry[f"aa_out{suffix}"], atol=1e-6 if suffix == "" else 2e-8)
    found = quaternion_to_matrix(tensor(geometry, "quat_in", dtype))
    np.testing.assert_allclose(found, geometry[f"quat_out{suffix}"], atol=min(1e-6, tolerance))


def test_projection(geometry: Arrays) -> None:
    points, focal = geometry["proj_points"].astype(np.float64), geometry["proj_focal"].astype(np.float64)
    translation = geometry["proj_translation"].astype(np.float64)[:, None]
    plain = project(points + translation, focal, np.zeros_like(focal))
    turned = np.einsum("bij,bnj->bni", geometry["proj_rotation"].astype(np.float64), points)
    full = project(turned + translation, focal, geometry["proj_center"].astype(np.float64))
    for name, found in {"proj_default_out": plain, "proj_full_out": full}.items():
        np.testing.assert_allclose(found, geometry[f"{name}_f64"], rtol=1e-9)
        np.testing.assert_allclose(found, geometry[name], rtol=1e-4, atol=1e-5)


def test_the_demos_camera(geometry: Arrays) -> None:
    camera, centre, side, size = (
        geometry[f"cam_{name}"].astype(np.float64) for name in ("pred", "box_center", "box_size", "img_size")
    )
    for name, focal in {"cam_full_out": float(geometry["cam_focal_length"]), "cam_full_out_5000": 5000.0}.items():
        found = image_translation(camera, centre, side, size, focal)
        np.testing.assert_allclose(found, geometry[f"{name}_f64"], rtol=1e-9)
        np.testing.assert_allclose(found, geometry[name], rtol=1e-5)


def test_alignment_and_errors(geometry: Arrays) -> None:
    source, target = geometry["sim_S1"].astype(np.float64), geometry["sim_S2"].astype(np.float64)
    found = {
        "sim_aligned": align(source, target),
        "sim_mpjpe_mm": 1000 * mpjpe(source, target),
        "sim_pa_mpjpe_mm": 1000 * pa_mpjpe(source, target),
    }
    for name, values in found.items():
        np.testing.assert_allclose(values, geometry[f"{name}_f64"], rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(values, geometry[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_official_evaluation(geometry: Arrays) -> None:
    predicted_3d, truth_3d, predicted_2d, truth_2d = (
        geometry[f"eval_{kind}_keypoints_{dimensions}d"].astype(np.float64)
        for dimensions in (3, 2)
        for kind in ("pred", "gt")
    )
    error, aligned = errors_mm(predicted_3d, truth_3d[..., :3])
    found = {"mode_mpjpe_mm": error, "mode_re_mm": aligned, "mode_kpl2": keypoint_l2(predicted_2d, truth_2d)}
    for name, values in found.items():
        np.testing.assert_allclose(values, geometry[f"eval_{name}_f64"], rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(values, geometry[f"eval_{name}"], rtol=1e-5, err_msg=name)
    shares, means = pck(predicted_2d, truth_2d, geometry["eval_scale"], geometry["eval_box_size"])
    metrics = {"mode_mpjpe": error.mean(), "mode_re": aligned.mean(), "mode_kpl2": found["mode_kpl2"].mean()}
    for threshold, share, mean in zip(("0.05", "0.1"), shares, means, strict=True):
        metrics |= {f"kp{at}_pck_{threshold}": value for at, value in enumerate(share) if not np.isnan(value)}
        metrics[f"kpAvg_pck_{threshold}"] = mean
    for name, tolerance in {"eval_metrics_json": 1e-5, "eval_metrics_f64_json": 1e-6}.items():
        expected = json.loads(str(geometry[name]))
        assert metrics.keys() == expected.keys()
        assert metrics == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("case", "recorded_image"), [("a", f"a_img{WARP}"), ("b", f"b_img{WARP}"), ("c", "c_img")])
def test_crops(pack: Path, case: str, recorded_image: str) -> None:
    io = arrays(pack / "io_preprocess.npz")
    image, box = np.ascontiguousarray(io[f"{case}_image_bgr"][..., ::-1]), io[f"{case}_box_xyxy"]
    centre, side = person_square(box)
    matrix = crop_matrix(centre, float(side))
    np.testing.assert_array_equal(centre, io[f"{case}_box_center"])
    np.testing.assert_allclose(side, io[f"{case}_box_size"], rtol=1e-6)
    np.testing.assert_allclose(matrix, io[f"{case}_trans"], rtol=0, atol=1e-12)
    sigma = blur_deviation(float(side))
    assert sigma == pytest.approx(float(io[f"{case}_blur_sigma"]), rel=1e-6)
    assert float(side) / 512 == pytest.approx(float(io[f"{case}_blur_factor"]), rel=1e-6)
    assert image.shape[1::-1] == tuple(io[f"{case}_img_size"])
    found = crop_person(image, box)
    np.testing.assert_allclose(found, io[recorded_image], rtol=0, atol=1e-6)
    assert np.abs(found - io[f"{case}_img"]).max() < 0.06  # whatever way OpenCV samples
    if case == "c":  # the crop sees the whole image
        blurred, _ = blurred_part(image, centre, float(side), sigma, matrix)
        np.testing.assert_allclose(blurred[::8, ::8, ::-1], io["c_blurred_bgr"], rtol=0, atol=1e-9)


def test_boxes_are_expanded(pack: Path) -> None:
    io = arrays(pack / "io_preprocess.npz")
    np.testing.assert_allclose(expand_to_aspect(io["expand_in_wh"]), io["expand_out_wh"], rtol=1e-6)


def labels(io: Arrays) -> dict[str, Tensor]:
    """The recorded ground truth as a batch of ours."""
    return {
        "keypoints_2d": tensor(io, "keypoints_2d"),
        "keypoints_3d": tensor(io, "keypoints_3d"),
        "global_orient": tensor(io, "smpl_params_global_orient"),
        "body_pose": tensor(io, "smpl_params_body_pose").unflatten(1, (23, 3)),
        "betas": tensor(io, "smpl_params_betas"),
        "has_body_pose": tensor(io, "has_body_pose"),
        "has_betas": tensor(io, "has_betas"),
        "mocap_pose": tensor(io, "mocap_body_pose").unflatten(1, (1, 23, 3)),
        "mocap_betas": tensor(io, "mocap_betas")[:, None],
    }


def test_training(io: Arrays, train: Arrays, network: Hmr2Network, joints: Joints44) -> None:
    """Every term, the total and the gradients: the discriminator's term gives the network none."""
    np.testing.assert_array_equal(train["has_global_orient"], train["has_body_pose"])
    outputs, batch = network(tensor(io, "img")), labels(train)
    found = joints(torch.cat([outputs["global_orient"], outputs["body_pose"]], dim=1), outputs["betas"])
    np.testing.assert_allclose(found.detach(), train["pred_keypoints_3d"], rtol=0, atol=2e-5)
    seen = losses.project_to_crop(found, outputs["cam"]).detach()
    np.testing.assert_allclose(seen, train["pred_keypoints_2d"], rtol=0, atol=2e-5)
    terms = losses.hmr2_terms(outputs, found, batch)
    for name, term in terms.items():
        np.testing.assert_allclose(term.detach(), train[f"loss_{name}"], rtol=1e-5, err_msg=name)
    supervised = losses.total(terms, losses.Weights()).detach()
    for name in ("loss", "loss_total_without_adv"):
        np.testing.assert_allclose(supervised, train[name], rtol=1e-5)
    game = losses.adversarial_terms(network.discriminator, outputs, batch)
    np.testing.assert_allclose(game["adversarial"].detach(), train["loss_gen_adv"], rtol=1e-5)
    np.testing.assert_allclose(game["discriminator"].detach(), train["loss_disc"], rtol=1e-5)
    without = losses.total({**terms, "adversarial": game["adversarial"]}, losses.Weights())
    np.testing.assert_allclose(without.detach(), train["loss_total"], rtol=1e-5)
    losses.total({**terms, **game}, losses.Weights()).backward()
    gradients = {name.removeprefix("grad/") for name in train if name.startswith("grad/")}
    for name in gradients:
        expected = train[f"grad/{name}"]
        gradient = network.get_parameter(name).grad
        assert gradient is not None
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max(), err_msg=name)


def test_discriminator(io: Arrays, train: Arrays, network: Hmr2Network) -> None:
    real = axis_angle_to_matrix(tensor(train, "mocap_body_pose").unflatten(1, (23, 3)))
    np.testing.assert_allclose(real, train["mocap_rotmat"], rtol=0, atol=1e-6)
    with torch.inference_mode():
        fake_verdicts = network.discriminator(tensor(io, "pred_body_pose"), tensor(io, "pred_betas"))
        real_verdicts = network.discriminator(real, tensor(train, "mocap_betas"))
    np.testing.assert_allclose(fake_verdicts, train["disc_fake"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(real_verdicts, train["disc_real"], rtol=1e-4, atol=1e-5)


def check_item(io: Arrays, prefix: str, item: Mapping[str, NDArray]) -> None:
    """A training item against the official loader's."""
    expected = {
        "images": f"img{WARP}", "keypoints_2d": "keypoints_2d", "keypoints_3d": "keypoints_3d",
        "global_orient": "smpl_global_orient", "betas": "smpl_betas",
    }  # fmt: skip
    for ours, theirs in expected.items():
        np.testing.assert_allclose(item[ours], io[f"{prefix}_{theirs}"], rtol=1e-6, atol=1e-6, err_msg=ours)
    np.testing.assert_allclose(item["body_pose"].ravel(), io[f"{prefix}_smpl_body_pose"], atol=1e-6)
    assert np.abs(item["images"] - io[f"{prefix}_img"]).max() < 0.08  # whatever way OpenCV samples


@pytest.mark.parametrize("case", ["plain", "flip", "rot", "fliprot"])
def test_augmentation(dataset: Arrays, case: str) -> None:
    person = Person(
        id="sample",
        image=b"",
        keypoints_2d=dataset["in_keypoints_2d"],
        keypoints_3d=dataset["in_keypoints_3d"],
        center=dataset["in_center"],
        extent=200 * dataset["in_scale"],
        body_pose=dataset["in_body_pose"],
        betas=dataset["in_betas"],
        has_body_pose=bool(dataset["in_has_body_pose"]),
        has_betas=bool(dataset["in_has_betas"]),
        mask=dataset["mask"],
    )
    scale, turn, flip, red, green, blue, x, y = dataset.get(f"{case}_aug", np.array([1, 0, 0, 1, 1, 1, 0, 0]))
    view = View(scale, turn, bool(flip), (red, green, blue), (x, y))
    image = dataset["image_rgb"]
    size = image.shape[1::-1]
    check_item(dataset, case, training_inputs(person, image, view, 96))
    np.testing.assert_allclose(view.matrix(person, size[0], 96), dataset[f"{case}_trans"], rtol=0, atol=1e-12)
    mask = crop_mask(person, image, view, 96)
    np.testing.assert_allclose(mask, dataset[f"{case}_mask{WARP}"], atol=1e-6)
    assert np.abs(mask - dataset[f"{case}_mask"]).mean() < 1e-3
    np.testing.assert_array_equal(person.center, dataset[f"{case}_box_center"])
    np.testing.assert_allclose(person.extent.max(), dataset[f"{case}_box_size"], rtol=1e-6)
    np.testing.assert_array_equal(size, dataset[f"{case}_img_size"])


@pytest.mark.parametrize(("kind", "flags"), [("full", (True, False)), ("upper", (False, True))])
def test_extreme_crops(dataset: Arrays, kind: str, flags: tuple[bool, bool]) -> None:
    keypoints, box = dataset[f"crop_kp_{kind}"].astype(np.float64), dataset["crop_in"]
    assert shown(keypoints) == flags == tuple(dataset[f"crop_flags_{kind}"])
    assert [name.replace("crop_", "").removesuffix("_only") for name in dataset["crop_function_names"]] == [
        name.replace("_arm", "arm").replace("_leg", "leg") if name != "head" else "to_head" for name in PARTS
    ]
    for part, expected in zip(PARTS.values(), dataset[f"crop_out_{kind}"], strict=True):
        np.testing.assert_allclose(part_box(part, box, keypoints), expected, rtol=1e-6)
    for level in (0, 1):
        for draw, expected in zip(dataset["extreme_p"], dataset[f"extreme_l{level}_{kind}"], strict=True):
            np.testing.assert_allclose(extreme_crop(box, keypoints, draw, level), expected, rtol=1e-6)


def test_pose_prior(dataset: Arrays) -> None:
    prior = PosePrior(dataset["filter_hist_raw"])
    poses = dataset["filter_poses"].reshape(-1, 23, 3)
    np.testing.assert_allclose(THRESHOLDS, dataset["filter_thresholds"], rtol=1e-6)
    np.testing.assert_allclose(prior.density[:, 14:18, 14:18, 14:18], dataset["filter_hist_smooth_slice"], rtol=1e-9)
    np.testing.assert_allclose(prior.densities(poses), dataset["filter_probs"], rtol=1e-9)
    wrapped = dataset["filter_poses_normalised"].reshape(-1, 23, 3)
    np.testing.assert_allclose(prior.densities(wrapped), dataset["filter_probs"], rtol=1e-9)
    np.testing.assert_array_equal(prior.usual(poses), dataset["filter_ok"])


def test_a_shard(dataset: Arrays, tmp_path: Path) -> None:
    """The official loader's people, in its order: those it drops, the labels it takes back."""
    (tmp_path / "shard.tar").write_bytes(dataset["tar_bytes"].tobytes())
    prior, found = PosePrior(dataset["filter_hist_raw"]), []
    for person in read_shard(tmp_path / "shard.tar"):
        assert isinstance(person, Person)
        try:
            found.append(believed(person, prior))
        except SampleError:
            assert person.id.startswith(("shardA/000002", "shardA/000003"))
    assert len(found) == dataset["tar_count"]
    for at, person in enumerate(found):
        prefix, image, view = f"tar{at}", load_image(person.image), View()
        check_item(dataset, prefix, training_inputs(person, image, view, 48))
        np.testing.assert_array_equal(person.keypoints_2d, dataset[f"{prefix}_orig_keypoints_2d"])
        np.testing.assert_allclose(person.extent / 200, dataset[f"{prefix}_scale"], rtol=1e-6)
        np.testing.assert_allclose(person.extent.max(), dataset[f"{prefix}_box_size"], rtol=1e-6)
        np.testing.assert_array_equal(person.center, dataset[f"{prefix}_box_center"])
        np.testing.assert_array_equal(image.shape[1::-1], dataset[f"{prefix}_img_size"])
        matrix = view.matrix(person, image.shape[1], 48)
        np.testing.assert_allclose(matrix, dataset[f"{prefix}_trans"], rtol=0, atol=1e-12)
        mask = crop_mask(person, image, view, 48)
        np.testing.assert_allclose(mask, dataset[f"{prefix}_mask{WARP}"], atol=1e-6)
        assert np.abs(mask - dataset[f"{prefix}_mask"]).mean() < 5e-3
        assert person.id.rpartition("/")[0] == dataset[f"{prefix}_imgname"]
        flags = [dataset[f"{prefix}_has_{name}"] for name in ("global_orient", "body_pose", "betas")]
        assert flags == [person.has_body_pose, person.has_body_pose, person.has_betas]


def test_the_extreme_crop_is_part_of_the_view(dataset: Arrays) -> None:
    keypoints, box = dataset["crop_kp_full"], dataset["crop_in"]
    none, pose, betas = (np.zeros(shape, np.float32) for shape in ((44, 4), (72,), (10,)))
    person = Person("x", b"", keypoints, none, box[:2], box[2:], pose, betas, True, True)
    centre, side = View(extreme=0.95).square(person)
    np.testing.assert_allclose([*centre, side], dataset["extreme_l1_full"][-1, :3], rtol=1e-6)
    tiny = evolve(person, keypoints_2d=keypoints * np.array([0.01, 0.01, 1], np.float32))
    assert View(extreme=0.95).square(tiny)[1] == box[2:].max()  # smaller than 4 pixels: not made


CLAIMS: Claims = {
    test_outputs: (
        "io:img io:pred_global_orient* io:pred_body_pose* io:pred_betas* io:pred_cam io:pred_cam_f64 io:pred_cam_t* "
        "io:focal_length*"
    ),
    test_body_and_joints: "io:pred_keypoints_*",
    test_vertices: "io:pred_vertices* io:smpl_joints45*",
    test_every_recorded_intermediate: "io:bb_* io:dec_* io:dec*_out* io:feature_map* io:pred_pose6d*",
    test_the_backbone_sees_the_middle_columns: "io:img_slice",
    test_the_decoder_that_refines: "io_mean_shape:*",
    test_rotations: "io_geometry:rot6d_* io_geometry:aa_* io_geometry:quat_*",
    test_projection: "io_geometry:proj_*",
    test_the_demos_camera: "io_geometry:cam_*",
    test_alignment_and_errors: "io_geometry:sim_*",
    test_the_official_evaluation: "io_geometry:eval_*",
    test_crops: "io_preprocess:[abc]_*",
    test_boxes_are_expanded: "io_preprocess:expand_*",
    test_training: (
        "io_train:has_* io_train:keypoints_* io_train:smpl_params_* io_train:pred_keypoints_* io_train:loss "
        "io_train:loss_* io_train:grad/*"
    ),
    test_discriminator: "io_train:mocap_* io_train:disc_*",
    test_augmentation: (
        "io_dataset:in_* io_dataset:image_rgb io_dataset:mask io_dataset:plain_* io_dataset:flip_* io_dataset:rot_* "
        "io_dataset:fliprot_*"
    ),
    test_extreme_crops: "io_dataset:crop_* io_dataset:extreme_*",
    test_pose_prior: "io_dataset:filter_*",
    test_a_shard: "io_dataset:tar_bytes io_dataset:tar_count io_dataset:tar[0-5]_*",
}


def test_every_array_is_replayed(pack: Path) -> None:
    check_claims(pack, CLAIMS)
