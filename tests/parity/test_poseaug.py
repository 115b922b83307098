"""The published PoseAug and its four lifters, replayed from the reference data."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from posesyn_core.geometry.alignment import align
from posesyn_core.method import metrics
from posesyn_core.training.adversarial import accuracies, discriminator_loss, linear_rate
from posesyn_poseaug import camera, formats, losses, skeleton
from posesyn_poseaug.augmentor import Augmentor, Pairs, adam, frozen_in_training, lifter_loss, update
from posesyn_poseaug.config import PoseAugConfig
from posesyn_poseaug.discriminators import Discriminator2d, Discriminator3d, Discriminator3dSizes
from posesyn_poseaug.generator import NOISES, Augmented, Generator, GeneratorSizes, rotation_matrix
from posesyn_poseaug.lifters import stgcn
from posesyn_poseaug.lifters.semgcn import SemGcn
from posesyn_poseaug.lifters.simplebaseline import SimpleBaseline
from posesyn_poseaug.lifters.simplebaseline import Sizes as SimpleBaselineSizes
from posesyn_poseaug.lifters.videopose import VideoPose
from posesyn_poseaug.measure import flipped, lift
from posesyn_poseaug.schedules import pretraining_rate
from posesyn_poseaug.weights import LIFTERS, build
from tests.packs import Arrays, Claims, arrays, check_claims, manifest_of

PRECISIONS = [
    pytest.param(torch.float64, "_f64", 1e-9, id="float64"),
    pytest.param(torch.float32, "", 6e-6, id="float32"),
]
precisions = pytest.mark.parametrize(("dtype", "suffix", "tolerance"), PRECISIONS)


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "parity" / "poseaug"


@pytest.fixture(scope="module")
def io(pack: Path) -> Callable[[str], Arrays]:
    found: dict[str, Arrays] = {}

    def read(folder: str) -> Arrays:
        if folder not in found:
            found[folder] = arrays(pack / folder / "io.npz")
        return found[folder]

    return read


IO = Callable[[str], Arrays]


def agree(ours: Any, theirs: NDArray, tolerance: float, name: str = "") -> None:
    """Within ``tolerance`` of the size of the array."""
    if isinstance(ours, Tensor):
        ours = ours.detach().numpy()
    assert np.shape(ours) == theirs.shape, name
    np.testing.assert_allclose(
        ours, theirs, rtol=tolerance, atol=tolerance * max(1, np.abs(theirs).max()), err_msg=name
    )


def small(pack: Path) -> dict[str, dict[str, Any]]:
    config: dict[str, dict[str, Any]] = json.loads((pack / "config.json").read_text())["small"]
    return config


def generator_sizes(pack: Path) -> GeneratorSizes:
    given = small(pack)["generator"]
    return GeneratorSizes(given["linear_size"], given["noise_channle"], given["num_stage"], given["blr_tanhlimit"])


def d3d_sizes(pack: Path) -> Discriminator3dSizes:
    given = small(pack)["d3d"]
    return Discriminator3dSizes(given["kcs_channel"], given["channel_mid"])


def seen(network: nn.Module, run: Callable[[], Any]) -> dict[str, Tensor]:
    """The output of every submodule while ``run`` runs; a second call's under the name and "#2"."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found[name if name not in found else f"{name}#2"] = output

        return hook

    hooks = [part.register_forward_hook(keep(name)) for name, part in network.named_modules()]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return found


# Bones and cameras


@precisions
def test_bones(io: IO, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("bones")
    pose = torch.from_numpy(z["pose3d"]).to(dtype)
    bones = skeleton.bones_of(pose)
    unit = skeleton.directions_of(bones)
    found = {
        "bone_vec": bones,
        "bone_length": skeleton.lengths_of(bones),
        "bone_unit": unit,
        "pose_from_bone_vec": skeleton.pose_of(bones),
        "pose_unit_bones": skeleton.pose_of(unit),
        "kcs_full": skeleton.kcs(bones),
    }
    for name, part in zip(("lh", "rh", "ll", "rl", "hb"), skeleton.PARTS, strict=True):
        found[f"kcs_{name}"] = skeleton.part_kcs(bones, part)
        found[f"kcs_unit_{name}"] = skeleton.part_kcs(unit, part)
    for name, ours in found.items():
        agree(ours, z[name + suffix], tolerance, name)


def test_skeleton_is_the_published_one(pack: Path) -> None:
    config = json.loads((pack / "bones" / "config.json").read_text())
    assert list(skeleton.PARENTS) == config["parents"]
    assert [list(group) for group in skeleton.LENGTH_GROUPS] == config["blr9_to_bone"]
    assert [list(part) for part in skeleton.PARTS] == [config["part_bones"][n] for n in ("lh", "rh", "ll", "rl", "hb")]
    published = json.loads((pack / "config.json").read_text())["skeleton"]
    assert (list(skeleton.LEFT), list(skeleton.RIGHT)) == (published["left"], published["right"])
    assert list(formats.H36M_ROWS) == published["h36m32_indices"]


@precisions
def test_bone_lengths(io: IO, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("bones")
    pose, ratios = (torch.from_numpy(z[name]).to(dtype) for name in ("pose3d", "blr9"))
    bones = skeleton.bones_of(pose)
    longer = skeleton.directions_of(bones) * skeleton.with_ratios(skeleton.lengths_of(bones), ratios[..., 0])
    agree(skeleton.pose_of(longer) + pose[:, :1], z["bl_augmented" + suffix], tolerance)
    table = torch.from_numpy(z["bl_templates"]).to(dtype)[torch.from_numpy(z["bl_template_index"])]
    agree(skeleton.with_lengths(pose, table), z["pose_template_swapped" + suffix], tolerance)


@precisions
def test_rotations(io: IO, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("bones")
    agree(rotation_matrix(torch.from_numpy(z["angle_axis"]).to(dtype)), z["rotmat" + suffix], tolerance)


@precisions
def test_projection(io: IO, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("camera")
    points, cameras = (torch.from_numpy(z[name]).to(dtype) for name in ("points_cam", "cam_param"))
    agree(camera.project(points, cameras), z["proj" + suffix], tolerance)
    agree(camera.project(points, cameras, distorted=False), z["proj_linear" + suffix], tolerance)
    agree(camera.project(points.numpy(), cameras.numpy()), z["proj" + suffix], tolerance)


def test_frames_of_cameras(io: IO) -> None:
    z = io("camera")
    exact = [z[name].astype(np.float64) for name in ("world", "orientation", "translation")]
    agree(camera.to_camera(*exact), z["world_to_camera_f64"], 1e-9)
    place = z["orientation"], z["translation"]
    agree(camera.to_camera(z["world"], *place), z["world_to_camera"], 6e-6)
    agree(camera.to_world(z["world_to_camera"], *place), z["camera_to_world"], 6e-6)


def test_screen(io: IO) -> None:
    z = io("camera")
    width, height = map(float, z["res"])
    agree(camera.to_screen(z["pixels"], width, height), z["norm_screen"], 1e-12)
    agree(camera.to_pixels(z["norm_screen"], width, height), z["image_coords"], 1e-12)


# Generator and discriminators


@pytest.fixture
def generator(pack: Path) -> Generator:
    network = Generator(generator_sizes(pack))
    network.load_state_dict(load_file(pack / "generator" / "checkpoint.safetensors"), strict=True)
    return network.eval()


def generate(network: Generator, z: Arrays, dtype: torch.dtype, poses: str = "inputs_3d") -> Augmented:
    found: Augmented = network(*(torch.from_numpy(z[name]).to(dtype) for name in (poses, *NOISES)))
    return found


def check_generated(found: Augmented, z: Arrays, prefix: str, suffix: str, tolerance: float) -> None:
    for name in ("pose_ba", "ba_diff", "pose_bl", "blr", "pose_rt", "rt_r", "rt_t"):
        agree(getattr(found, name), z[prefix + name + suffix], tolerance, name)
    agree(rotation_matrix(found.rt_r), z[f"{prefix}rt_rotmat{suffix}"], 4 * tolerance)


@precisions
def test_generator(io: IO, generator: Generator, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("generator")
    found = generate(generator.to(dtype), z, dtype)
    check_generated(found, z, "", suffix, tolerance)
    check_generated(generate(generator, z, dtype, "rootrel_inputs_3d"), z, "rootrel_", suffix, tolerance)
    cameras = torch.from_numpy(z["cam_param"]).to(dtype)
    poses = {
        "in": torch.from_numpy(z["inputs_3d"]).to(dtype),
        "ba": found.pose_ba,
        "bl": found.pose_bl,
        "rt": found.pose_rt,
    }
    for name, pose in poses.items():
        agree(camera.project(pose, cameras), z[f"proj2d_{name}{suffix}"], 2 * tolerance, name)
    flat = camera.project(found.pose_rt, cameras)
    np.testing.assert_array_equal((flat <= 1).flatten(1).all(1).numpy(), z["valid_rt_idx"])


@precisions
def test_layers_of_the_generator(
    io: IO, generator: Generator, dtype: torch.dtype, suffix: str, tolerance: float
) -> None:
    z = io("generator")
    generator.to(dtype)
    layers = seen(generator, lambda: generate(generator, z, dtype))
    recorded = {
        "ba_bn1": "BAprocess.batch_norm1",
        "ba_stage0": "BAprocess.linear_stages.0",
        "ba_stage1": "BAprocess.linear_stages.1",
        "ba_raw": "BAprocess.w2",
        "bl_bn1": "BLprocess.batch_norm_BL",
        "bl_stage1": "BLprocess.linear_stages_BL.1",
        "bl_raw": "BLprocess.w2_BL",
        "rt_r_stage1": "RTprocess.linear_stages_R.1",
        "rt_r_raw": "RTprocess.w2_R",
        "rt_t_stage1": "RTprocess.linear_stages_T.1",
        "rt_t_raw": "RTprocess.w2_T",
    }
    for name, layer in recorded.items():
        agree(layers[layer], z[name + suffix], tolerance, name)


@precisions
def test_generator_in_training(io: IO, generator: Generator, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("generator")
    generator.to(dtype).train()
    check_generated(generate(generator, z, dtype), z, "train_", suffix, 4 * tolerance)
    state = generator.state_dict()
    for layer in ("BAprocess.batch_norm1", "RTprocess.batch_norm_T"):
        for name in ("running_mean", "running_var"):
            recorded = z[f"train_after_{layer.replace('.', '_')}_{name}{suffix}"]
            agree(state[f"{layer}.{name}"], recorded, tolerance, layer)


@precisions
def test_discriminator_3d(pack: Path, io: IO, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z, network = io("d3d"), Discriminator3d(d3d_sizes(pack))
    network.load_state_dict(load_file(pack / "d3d" / "checkpoint.safetensors"), strict=True)
    network.to(dtype)
    layers = seen(network, lambda: network(torch.from_numpy(z["inputs_3d"]).to(dtype)))
    agree(layers[""], z["out" + suffix], tolerance)
    for name in ("kcs_path_1.layer_last", *(f"kcs_path_{number}" for number in range(1, 6))):
        agree(layers[name], z[name.replace(".", "_") + suffix], tolerance, name)
    path = network.get_submodule("kcs_path_1")
    places = network.get_buffer("places_1")
    products = torch.from_numpy(z["inputs_3d"]).to(dtype)
    flat = skeleton.kcs(skeleton.directions_of(skeleton.bones_of(products))).flatten(1)[:, places]
    agree(path.first(flat, places), z["kcs_path_1_kcs_layer_1" + suffix], tolerance)
    agree(layers["kcs_path_1.kcs_layer_3"], z["kcs_path_1_kcs_layer_3" + suffix], tolerance)


@precisions
def test_discriminator_2d(pack: Path, io: IO, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z, network = io("d2d"), Discriminator2d()
    network.load_state_dict(load_file(pack / "d2d" / "checkpoint.safetensors"), strict=True)
    network.to(dtype)
    layers = seen(network, lambda: network(torch.from_numpy(z["inputs_2d"]).to(dtype)))
    agree(layers[""], z["out" + suffix], tolerance)
    for name in ("pose_layer_1", "pose_layer_2", "pose_layer_3", "pose_layer_4", "layer_last"):
        agree(layers[name], z[name + suffix], tolerance, name)


# Lifters

MIDDLES: Mapping[str, Mapping[str, str]] = {
    "simplebaseline": {n: n for n in ("w1", "batch_norm1", "linear_stages.0", "linear_stages.1", "w2")},
    "videopose": {
        n: n for n in ("expand_conv", "expand_bn", *(f"layers_conv.{i}" for i in range(8)), "layers_bn.7", "shrink")
    },
    "semgcn": {
        n: n
        for n in (
            *("gconv_input.0.gconv", "gconv_input.0", "gconv_layers.0.gconv1", "gconv_output"),
            *(f"gconv_layers.{i}" for i in range(4)),
        )
    },
    "stgcn": {
        **{f"stgcn.{n}": f"stgcn.{n}" for n in ("data_bn", "conv4", "conv2", "non_local", "fcn")},
        **{f"stgcn.st_gcn_networks.{n}": f"stgcn.st_gcn_networks.{n}" for n in ("0.gcn", "0", "1", "2")},
        **{f"stgcn.st_gcn_pool.{n}": f"stgcn.st_gcn_pool.{n}" for n in ("0", "1")},
        "stgcn": "stgcn",
    },
}
"""Recorded name (dots for underscores) -> our layer."""


def lifter(pack: Path, name: str) -> nn.Module:
    """The small network: its sizes are read from the checkpoint itself."""
    state = load_file(pack / name / "checkpoint.safetensors")
    network = build(name, state, dropout=0.0)
    network.load_state_dict(state, strict=True)
    return network.eval()


lifters = pytest.mark.parametrize("name", sorted(LIFTERS))


@lifters
@precisions
def test_lifter(pack: Path, io: IO, name: str, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z, network = io(name), lifter(pack, name).to(dtype)
    layers = seen(network, lambda: network(torch.from_numpy(z["inputs_2d"]).to(dtype)))
    agree(layers[""], z["out" + suffix], tolerance)
    for recorded, layer in MIDDLES[name].items():
        theirs = z[f"mid_{recorded.replace('.', '_')}{suffix}"]
        agree(in_their_layout(layers[layer].numpy(), theirs), theirs, tolerance, recorded)


def in_their_layout(ours: NDArray, theirs: NDArray) -> NDArray:
    """Channels last -> channels first, with the axes of length 1 that convolutions over time have."""
    if theirs.ndim >= 4 and ours.ndim == 3:
        ours = ours.swapaxes(1, 2)[:, :, None]
    if theirs.shape[1:2] != ours.shape[1:2] and ours.ndim == theirs.ndim == 4 and len(theirs) == 1:
        return ours
    return ours.reshape(theirs.shape)


@lifters
@precisions
def test_lifters_as_the_official_evaluation_runs_them(
    pack: Path, io: IO, name: str, dtype: torch.dtype, suffix: str, tolerance: float
) -> None:
    z, network = io(name), lifter(pack, name).to(dtype)
    keypoints, target = torch.from_numpy(z["inputs_2d"]).to(dtype), z["targets_3d"].astype(np.float64)
    target -= target[:, :1]
    for kind, flip in (("eval", False), ("eval_flip", True)):
        predicted = lift(network, keypoints, flip=flip)
        agree(predicted, z[f"{kind}_pred_rooted{suffix}"], tolerance)
        ours = predicted.double().numpy()
        agree(1000 * metrics.mpjpe(ours, target).mean(), z[f"{kind}_p1{suffix}"], tolerance)
        agree(1000 * metrics.pa_mpjpe(ours, target).mean(), z[f"{kind}_p2{suffix}"], 4 * tolerance)


def test_flipping_twice_changes_nothing(io: IO) -> None:
    keypoints = torch.from_numpy(io("semgcn")["inputs_2d"])
    torch.testing.assert_close(flipped(flipped(keypoints)), keypoints)


@lifters
def test_full_size_matches_the_published_manifest(pack: Path, name: str) -> None:
    manifest = json.loads((pack / name / "manifest_full.json").read_text())
    assert manifest_of(LIFTERS[name].published()) == manifest
    rebuilt = build(name, {key: torch.zeros(value["shape"]) for key, value in manifest.items()})
    assert manifest_of(rebuilt) == manifest


def test_other_published_manifests(pack: Path) -> None:
    deeper = json.loads((pack / "simplebaseline" / "manifest_full_stages4.json").read_text())
    assert manifest_of(SimpleBaseline(SimpleBaselineSizes(stages=4))) == deeper
    for name, network in {"generator": Generator(), "d3d": Discriminator3d(), "d2d": Discriminator2d()}.items():
        assert manifest_of(network) == json.loads((pack / name / "manifest_full.json").read_text()), name
    counts = {SimpleBaseline: 4.29e6, SemGcn: 0.27e6, stgcn.StGcn: 3.63e6, VideoPose: 8.49e6}
    for network_class, count in counts.items():
        assert sum(weight.numel() for weight in network_class().parameters()) == pytest.approx(count, rel=0.01)


def test_graphs_of_the_graph_networks(pack: Path, io: IO) -> None:
    z = io("semgcn")
    network = lifter(pack, "semgcn")
    assert isinstance(network, SemGcn)
    from posesyn_poseaug.lifters.semgcn import neighbours

    np.testing.assert_array_equal(neighbours().numpy(), z["adj_mask"] > 0)
    layer = network.gconv_input[0].gconv
    agree(layer.adjacency(), z["adj_softmax_input"], 1e-6)
    agree(layer.double().adjacency(), z["adj_softmax_input_f64"], 1e-9)
    for name, graph in {"A": stgcn.BODY_GRAPH, "A_pool": stgcn.LIMB_GRAPH}.items():
        agree(graph, z_stgcn(io)[f"{name}_f64"], 1e-12)
        agree(graph.float(), z_stgcn(io)[name], 1e-7)


def z_stgcn(io: IO) -> Arrays:
    return io("stgcn")


# Losses


@precisions
def test_range_losses(pack: Path, io: IO, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("losses")
    config = json.loads((pack / "losses" / "config.json").read_text())
    vector, blr, ba_diff = (torch.from_numpy(z[name]).to(dtype) for name in ("vec", "blr", "ba_diff"))
    for at, (middle, width) in enumerate(config["diff_range_cases"]):
        agree(losses.range_loss(vector, middle, width), z[f"diff_range_loss_{at}{suffix}"], tolerance)
    for at, threshold in enumerate(config["rectified_thresholds"]):
        agree(losses.rectified_l2(blr, threshold), z[f"rectifiedL2_{at}{suffix}"], tolerance)
    angle, lengths = losses.angle_loss(ba_diff), losses.rectified_l2(blr, 0.1)
    for name, ours in {"angle": angle, "blr": lengths, "total": angle + lengths}.items():
        agree(ours, z[f"diff_loss_{name}{suffix}"], tolerance, name)


@pytest.mark.parametrize("variant", ["default", "divon", "tight"])
@precisions
def test_feedback(pack: Path, io: IO, variant: str, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("losses")
    given = json.loads((pack / "losses" / "config.json").read_text())
    options = {**given["default"], **given["variants"][variant]}
    ba, rt = (
        losses.Hardness(
            options[f"hardratio_{name}_s"], options[f"hardratio_{name}"], options[f"hardratio_std_{name}"],
            options[f"gloss_factorfeedback_{name}"], options[f"gloss_factordiv_{name}"],
        )
        for name in ("ba", "rt")
    )  # fmt: skip
    part = {
        name: losses.part_losses(*(torch.from_numpy(z[f"{kind}_{name}"]).to(dtype) for kind in ("pred", "target")))
        for name in ("origin", "ba", "rt")
    }
    for at, epoch in enumerate(z["feedback_epochs"]):
        total = torch.zeros((), dtype=dtype)
        for name, hardness in (("ba", ba), ("rt", rt)):
            cost, parts = losses.feedback(part[name], part["origin"], hardness, int(epoch) / options["epochs"])
            total = total + cost
            ours = torch.stack([parts[n] for n in ("hard_mean_loss", "hard_std_loss", "hard_std", "hard_mean")])
            agree(ours, z[f"feedback_{name}_{variant}{suffix}"][at], tolerance)
        agree(total, z[f"feedback_total_{variant}{suffix}"][at], tolerance)
    agree(torch.stack([each.mean() for each in part.values()]), z["feedback_part_means" + suffix], tolerance)


@pytest.mark.parametrize("width", [5, 1])
@precisions
def test_adversarial_losses(io: IO, width: int, dtype: torch.dtype, suffix: str, tolerance: float) -> None:
    z = io("losses")
    real, fake = (torch.from_numpy(z[f"{kind}{width}"]).to(dtype) for kind in ("real", "fake"))
    agree(losses.generator_loss(real, fake), z[f"gen_adv_loss_{width}{suffix}"], tolerance)
    agree(discriminator_loss(real, fake), z[f"dis_loss_{width}{suffix}"], tolerance)
    shares = torch.stack(list(accuracies(real, fake).values()))
    for kind in ("gen_adv_acc", "dis_acc"):
        agree(shares, z[f"{kind}_{width}{suffix}"], tolerance)


def test_schedules(io: IO) -> None:
    z = io("losses")
    ours = [linear_rate(epoch, 50) for epoch in range(1, 51)]
    agree(np.array(ours), z["gan_lr_multiplier"], 1e-12)
    ours = [pretraining_rate(1e-3, int(step)) for step in z["baseline_lr_steps"]]
    agree(np.array(ours), z["baseline_lr"], 1e-9)


# Metrics


@pytest.mark.parametrize(("precision", "suffix", "tolerance"), [(np.float64, "_f64", 1e-9), (np.float32, "", 6e-6)])
def test_metrics(io: IO, precision: type, suffix: str, tolerance: float) -> None:
    z = io("metrics")
    predicted, target = z["predicted"].astype(precision), z["target"].astype(precision)
    distances = np.linalg.norm(predicted - target, axis=-1)
    each = metrics.pa_mpjpe(predicted, target)
    found = {
        "mpjpe": metrics.mpjpe(predicted, target).mean(),
        "mpjpe_byjoint": distances.mean(0),
        "n_mpjpe": metrics.n_mpjpe(predicted, target).mean(),
        "p_mpjpe": each.mean(),
        "p_mpjpe_each": each,
        "mean_velocity_error": metrics.velocity_error(predicted, target),
    }
    for name, ours in found.items():
        agree(ours, z[name + suffix], tolerance, name)
    mm = 1000 * predicted.astype(np.float64), 1000 * target.astype(np.float64)
    agree(metrics.pck(*mm).mean(), z["pck150" + suffix], tolerance)
    agree(metrics.auc(*mm).mean(), z["auc" + suffix], tolerance)
    curve = [metrics.pck(*mm, threshold=threshold).mean() for threshold in metrics.AUC_THRESHOLDS]
    agree(np.array(curve), z["pck_curve" + suffix], tolerance)


@pytest.mark.parametrize(("precision", "suffix", "tolerance"), [(np.float64, "_f64", 1e-9), (np.float32, "", 1e-5)])
def test_alignment(io: IO, precision: type, suffix: str, tolerance: float) -> None:
    """MATLAB's procrustes may mirror: it is the better one of aligning the pose and its mirror image."""
    z = io("metrics")
    predicted, target = z["predicted"].astype(precision), z["target"].astype(precision)
    plain, mirrored = align(predicted, target), align(predicted * np.array([-1, 1, 1], precision), target)
    agree(plain, z["procrustes_noreflect_Z" + suffix], tolerance)
    left = [((each - target) ** 2).sum((1, 2)) for each in (plain, mirrored)]
    best = np.where((left[0] <= left[1])[:, None, None], plain, mirrored)
    agree(best, z["procrustes_Z" + suffix], tolerance)
    size = ((target - target.mean(1, keepdims=True)) ** 2).sum((1, 2))
    agree(np.minimum(*left) / size, z["procrustes_d" + suffix], 4 * tolerance)


def test_weighted_error(io: IO) -> None:
    """The recorded weights are a ramp over the poses from 0.5 to 2 (``config``'s silence: found from the figures)."""
    z, ramp = io("metrics"), np.linspace(0.5, 2, 8)
    for suffix, tolerance in (("_f64", 1e-7), ("", 6e-6)):
        errors = metrics.mpjpe(z["predicted"].astype(np.float64), z["target"].astype(np.float64))
        agree((ramp * errors).mean(), z["weighted_mpjpe" + suffix], tolerance)


# A training iteration


class Iteration:
    """The recorded iteration of epoch 3, done by us."""

    def __init__(self, pack: Path, z: Arrays, dtype: torch.dtype) -> None:
        folder = pack / "trainstep"
        config = json.loads((folder / "config.json").read_text())
        self.before = load_file(folder / "checkpoint.safetensors")
        self.augmentor = Augmentor(PoseAugConfig(), generator_sizes(pack), d3d_sizes(pack))
        sizes = SimpleBaselineSizes(config["pos"]["linear_size"], config["pos"]["num_stage"], 0.0)
        self.networks = {**self.augmentor.networks(), "pos": SimpleBaseline(sizes)}
        for name, network in self.networks.items():
            network.load_state_dict(self.part(self.before, name), strict=True)
            network.to(dtype)
        given = {
            n: torch.from_numpy(z[n]).to(dtype) for n in ("inputs_3d", "cam_param", "target_d3d", "target_d2d", *NOISES)
        }
        poses, cameras, lifter = given["inputs_3d"], given["cam_param"], self.networks["pos"]
        batch = Pairs(poses, camera.project(poses, cameras), cameras)
        real = Pairs(given["target_d3d"], given["target_d2d"], cameras)
        noise = {name: given[name] for name in NOISES}
        with frozen_in_training(lifter):
            self.pairs, self.terms = self.augmentor.step(lifter, batch, real, config["epoch"], noise)
        self.statistics = {name: value.clone() for name, value in lifter.state_dict().items() if "running" in name}
        lifter.train()
        self.loss = lifter_loss(lifter, self.pairs)
        update(lifter.parameters(), adam(lifter, config["lr_p"]), self.loss, config["clip_max_norm"])

    @staticmethod
    def part(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> dict[int, Tensor]:
    """Every parameter's gradient before it was clipped, by the parameter's id; and their norms, by 0, -1, ..."""
    found: dict[int, Tensor] = {}
    clip = nn.utils.clip_grad_norm_

    def spy(parameters: Sequence[nn.Parameter], limit: float, **options: Any) -> Tensor:
        for parameter in parameters:
            if parameter.grad is not None:
                found[id(parameter)] = parameter.grad.clone()
        norm = clip(parameters, limit, **options)
        found[-sum(key <= 0 for key in found)] = norm
        return norm

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", spy)
    return found


@pytest.mark.parametrize(
    ("dtype", "suffix", "outputs", "weights"),
    [
        pytest.param(torch.float64, "_f64", 1e-9, 1.2e-7, id="float64"),
        pytest.param(torch.float32, "", 2e-5, 1e-5, id="float32"),
    ],
)
def test_a_training_iteration(
    pack: Path, io: IO, gradients: dict[int, Tensor], dtype: torch.dtype, suffix: str, outputs: float, weights: float
) -> None:
    z = io("trainstep")
    done = Iteration(pack, z, dtype)
    for name, ours in {"3d": done.pairs.poses, "2d": done.pairs.keypoints, "cam": done.pairs.cameras}.items():
        agree(ours, z[f"buffer_{name}{suffix}"], outputs, name)
    if suffix:
        for name in ("running_mean", "running_var"):
            recorded = z[f"pos_bn_after_gan_batch_norm1_{name}_f64"]
            agree(done.statistics[f"batch_norm1.{name}"], recorded, outputs)
    agree(done.loss, z["posenet_loss" + suffix], outputs)
    for at, name in enumerate(("G", "d3d", "d2d", "pos")):
        agree(gradients[-at], z[f"gradnorm_{name}{suffix}"], outputs, name)
    for recorded, name in LOGS.items():
        agree(done.terms[name], z[f"log_{recorded}{suffix}"], 4 * outputs, recorded)
    agree(np.float64(linear_rate(1, 50) * PoseAugConfig().learning_rate), z["log_lr_now" + suffix], outputs)
    check_weights(pack, done, gradients, weights)


LOGS = {
    **{f"g{d}d_{acc}": f"g_d{d}d_{acc}" for d in (2, 3) for acc in ("real_acc", "fake_acc")},
    **{f"d{d}d_{acc}": f"d{d}d_{acc}" for d in (2, 3) for acc in ("real_acc", "fake_acc")},
    **{f"g{d}d_adv_loss": f"g_d{d}d" for d in (2, 3)},
    **{f"d{d}d_dis_loss": f"d{d}d" for d in (2, 3)},
    **{
        f"{kind}_{part}": f"{kind}_{part}"
        for kind in ("ba", "rt")
        for part in ("hard_std", "hard_mean", "hard_sample", "hard_mean_loss", "hard_std_loss")
    },
    **{f"pos_pair_loss_{kind}": kind for kind in ("origin", "ba", "rt")},
    "log_angle_diff": "angle_change",
    "log_diff_blr": "blr",
    "loss_diff_angle": "angle",
    "loss_diff_blr": "lengths",
    "gen_loss": "generator",
}
"""What the official code logs -> our term."""


def check_weights(pack: Path, done: Iteration, gradients: Mapping[int, Tensor], tolerance: float) -> None:
    """Weights, statistics and gradients after the iteration.

    A bias before a norm has no gradient but rounding, which Adam makes a step of in float32.
    """
    after, grads = (load_file(pack / "trainstep" / f"{name}.safetensors") for name in ("after", "grads"))
    exact = tolerance < 1e-6
    for name, network in done.networks.items():
        for key, value in Iteration.part(after, name).items():
            ours = network.state_dict()[key].double().numpy()
            idle = not exact and key in before_a_norm(network)
            np.testing.assert_allclose(
                ours, value.double().numpy(), atol=1e-4 if idle else tolerance, rtol=tolerance, err_msg=f"{name}.{key}"
            )
        parameters = dict(network.named_parameters())
        for key, value in Iteration.part(grads, name).items():
            scale = (1 if exact else 10) * max(1.0, float(value.abs().max()))
            ours = gradients[id(parameters[key])].double().numpy()
            np.testing.assert_allclose(
                ours, value.double().numpy(), atol=tolerance * scale, rtol=tolerance, err_msg=key
            )


def before_a_norm(network: nn.Module) -> set[str]:
    """The biases that a norm follows: of all linear layers but those that no norm is named after."""
    last = ("w2.bias", "w2_BL.bias", "w2_R.bias", "w2_T.bias")
    return {
        key
        for key in network.state_dict()
        if key.endswith(".bias")
        and "norm" not in key
        and ("linear_stages" in key or not key.endswith(last))
        and not isinstance(network, Discriminator3d | Discriminator2d)
    } | ({"w1.bias"} if isinstance(network, SimpleBaseline) else set())


# Data files


def test_human36m_files(pack: Path, io: IO) -> None:
    z, folder = io("formats"), pack / "formats"
    files = folder / "data_3d_h36m.npz", folder / "data_2d_h36m_gt.npz"
    for part, subjects in {"train": ("S1",), "valid": ("S9",)}.items():
        found = formats.read_h36m(*files, subjects)
        agree(found.poses, z[f"{part}_poses_3d"], 1e-6)
        agree(found.keypoints, z[f"{part}_poses_2d"], 1e-6)
        assert found.cameras is not None
        agree(found.cameras, z[f"{part}_cams"], 1e-6)
        assert list(found.actions) == z[f"{part}_actions"].tolist()
        seen_by = camera.project(found.poses, found.cameras)
        agree(seen_by, found.keypoints, 2e-4)
    walking = formats.read_h36m(*files, ("S1",), ("Walking",))
    agree(walking.keypoints, z["filter_walking_poses_2d"], 1e-6)
    assert len(set(found.names)) == len(found.names)


def test_calibration_is_the_published_one(pack: Path) -> None:
    known = json.loads((pack / "formats" / "h36m_cameras.json").read_text())
    for subject, places in known["extrinsics"].items():
        for view, place, lens in zip(formats.h36m_views()[subject], places, known["intrinsics"], strict=True):
            agree(view.orientation, np.array(place["orientation"]), 1e-7)
            agree(1000 * view.translation, np.array(place["translation"]), 1e-6)
            assert view.lens.size == (lens["res_w"], lens["res_h"])
            agree(view.lens.numbers[:2] * lens["res_w"] / 2, np.array(lens["focal_length"]), 1e-6)


def test_mpi_inf_3dhp_of_spin(io: IO, tmp_path: Path) -> None:
    z = io("formats")
    np.savez(tmp_path / "spin.npz", imgname=z["dhp_imgname"], part=z["dhp_part"], S=z["dhp_S"])
    found = formats.read_test_set(tmp_path / "spin.npz")
    agree(found.poses, z["dhp_pose3d"], 1e-9)
    agree(found.keypoints, z["dhp_pose2d"], 1e-9)
    np.savez(tmp_path / "test_3dhp.npz", pose3d=z["dhp_pose3d"], pose2d=z["dhp_pose2d"])
    again = formats.read_test_set(tmp_path / "test_3dhp.npz")
    np.testing.assert_array_equal(again.poses, found.poses)


CLAIMS: Mapping[str, Claims] = {
    "bones": {
        test_bones: "io:pose3d io:bone_* io:pose_from_bone_vec* io:pose_unit_bones* io:kcs_*",
        test_bone_lengths: "io:blr9 io:bl_* io:pose_template_swapped*",
        test_rotations: "io:angle_axis io:rotmat*",
    },
    "camera": {
        test_projection: "io:points_cam io:cam_param io:proj*",
        test_frames_of_cameras: "io:orientation io:translation io:world*  io:camera_to_world*",
        test_screen: "io:pixels io:res io:norm_screen io:image_coords",
    },
    "generator": {
        test_generator: (
            "io:inputs_3d io:cam_param io:noise_* io:pose_* io:ba_diff* io:blr* io:rt_r io:rt_r_f64 io:rt_t "
            "io:rt_t_f64 io:rt_rotmat* io:rootrel_* io:proj2d_* io:valid_rt_idx"
        ),
        test_layers_of_the_generator: "io:ba_bn1* io:ba_stage* io:ba_raw* io:bl_* io:rt_*_stage1* io:rt_*_raw*",
        test_generator_in_training: "io:train_*",
    },
    "d3d": {test_discriminator_3d: "io:*"},
    "d2d": {test_discriminator_2d: "io:*"},
    **{
        name: {
            test_lifter: "io:inputs_2d io:out* io:mid_*",
            test_lifters_as_the_official_evaluation_runs_them: "io:targets_3d io:eval_*",
        }
        for name in ("simplebaseline", "videopose")
    },
    "semgcn": {
        test_lifter: "io:inputs_2d io:out* io:mid_*",
        test_lifters_as_the_official_evaluation_runs_them: "io:targets_3d io:eval_*",
        test_graphs_of_the_graph_networks: "io:adj_*",
    },
    "stgcn": {
        test_lifter: "io:inputs_2d io:out* io:mid_*",
        test_lifters_as_the_official_evaluation_runs_them: "io:targets_3d io:eval_*",
        test_graphs_of_the_graph_networks: "io:A io:A_*",
    },
    "losses": {
        test_range_losses: "io:vec io:blr io:ba_diff io:diff_* io:rectifiedL2_*",
        test_feedback: "io:pred_* io:target_* io:feedback_*",
        test_adversarial_losses: "io:real? io:fake? io:gen_adv_* io:dis_*",
        test_schedules: "io:gan_lr_multiplier io:baseline_*",
    },
    "metrics": {
        test_metrics: "io:target io:predicted io:mpjpe* io:n_mpjpe* io:p_mpjpe* io:mean_velocity* io:pck* io:auc*",
        test_weighted_error: "io:weighted_mpjpe*",
        test_alignment: "io:procrustes_*",
    },
    "trainstep": {test_a_training_iteration: "io:*"},
    "formats": {
        test_human36m_files: "io:train_* io:valid_* io:filter_* data_?d_h36m*:positions_* data_2d_h36m_gt:metadata",
        test_mpi_inf_3dhp_of_spin: "io:dhp_*",
    },
}


@pytest.mark.parametrize("folder", sorted(CLAIMS))
def test_every_array_is_replayed(pack: Path, folder: str) -> None:
    check_claims(pack / folder, CLAIMS[folder])


def test_every_folder_is_replayed(pack: Path) -> None:
    assert {path.name for path in pack.iterdir() if path.is_dir()} == set(CLAIMS)
