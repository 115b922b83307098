"""The published HybrIK, replayed from the reference data."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from posesyn_core.body.model import load_body
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.alignment import align
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.crops import apply_affine, crop_matrix, invert_affine, square
from posesyn_core.geometry.rotations import axis_angle_to_matrix, quaternion_to_matrix
from posesyn_core.method import metrics
from posesyn_core.values import Camera
from posesyn_hybrik import inputs, losses
from posesyn_hybrik.annotations import read_people
from posesyn_hybrik.camera import FOCAL, Solver
from posesyn_hybrik.heatmaps import marginals, mirrored_twist
from posesyn_hybrik.hrnet import HRNetSizes, HybrikHRNet, hrnet_sizes
from posesyn_hybrik.inverse_kinematics import InverseKinematics, to_length, twist_angles
from posesyn_hybrik.people import LIMBS_2D, MARGIN, Person, Pose
from posesyn_hybrik.resnet import HybrikResNet, resnet_sizes
from posesyn_hybrik.skeleton import BONE_CHILD, FLIP, JOINTS, LEAF_VERTICES, SMPL_VERTICES
from posesyn_hybrik.smpl import SMPL_FACES, HybrikSmpl, body_of_smpl, smpl_of_body
from tests.packs import Arrays, Claims, arrays, check_claims, manifest_of

Network = HybrikResNet | HybrikHRNet
UNIT = 2.2
"""The official results are in this many metres."""
RUNS = ("nobox", "box", "flip")
CASES = ("fit", "near", "mismatch", "antiparallel", "mirror", "zero_pelvis")
PRECISIONS = [(torch.float32, ""), (torch.float64, "_f64")]
SINGLE, DOUBLE, SINGLE_ROTATIONS = 1e-4, 1e-6, 1e-3
"""Relative to the array's largest value. Next to antiparallel bones rotations amplify what rounding does to joints."""


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "parity" / "hybrik"


@pytest.fixture(scope="module")
def toy(pack: Path) -> Arrays:
    return arrays(pack / "toy_smpl.npz")


@pytest.fixture(scope="module")
def ik(pack: Path) -> Arrays:
    return arrays(pack / "io_ik.npz")


@pytest.fixture(scope="module")
def data(pack: Path) -> Arrays:
    return arrays(pack / "io_data.npz")


@pytest.fixture(scope="module")
def smpl(pack: Path, toy: Arrays) -> HybrikSmpl:
    body = load_body(pack / "toy_smpl.npz")
    return smpl_of_body(body, toy["leaf_vertex_ids"].tolist(), torch.from_numpy(toy["J_regressor_h36m"]))


def close(ours: Any, io: Arrays, name: str, tolerance: float | None = None) -> None:
    """Within ``tolerance`` of the recorded array's largest value.

    In float32 the official code itself is off its float64: five times that is allowed besides, where both are recorded.
    """
    recorded = io[name]
    size = max(float(np.abs(recorded).max()), 1e-3)
    single = SINGLE_ROTATIONS if "mats" in name else SINGLE
    allowed = size * (tolerance or (DOUBLE if name.endswith("_f64") else single))
    if f"{name}_f64" in io and tolerance is None:
        allowed += 5 * float(np.abs(io[f"{name}_f64"] - recorded).max())
    values = ours.detach().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
    np.testing.assert_allclose(values.reshape(recorded.shape), recorded, rtol=0, atol=allowed, err_msg=name)


# The networks


def normalised(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.stack([inputs.normalise(image) for image in images]))


def offsets(io: Arrays, run: str) -> Tensor | None:
    """Where the crop lies from the image's centre, in crops."""
    if f"{run}.bboxes" not in io:
        return None
    boxes, middle = io[f"{run}.bboxes"], io[f"{run}.img_center"]
    return torch.from_numpy(((boxes[:, :2] + boxes[:, 2:]) / 2 - middle) / (boxes[:, 2:] - boxes[:, :2]))


def small(pack: Path, toy: Arrays, name: str) -> Network:
    """The small network with the recorded weights: official names, loaded strictly."""
    state = load_file(pack / f"checkpoint_{name}.safetensors")
    smpl = HybrikSmpl(len(toy["v_template"]), len(toy["f"]), toy["leaf_vertex_ids"].tolist())
    network: Network
    network = HybrikHRNet(hrnet_sizes(state), smpl) if name == "hrnet" else HybrikResNet(resnet_sizes(state), smpl)
    network.load_state_dict(state, strict=True)
    return network.eval()


@pytest.fixture(scope="module", params=["resnet34", "hrnet"])
def replay(request: pytest.FixtureRequest, pack: Path, toy: Arrays) -> tuple[Network, Arrays]:
    return small(pack, toy, request.param), arrays(pack / f"io_{request.param}.npz")


def run_network(network: Network, io: Arrays, run: str, images: NDArray, dtype: torch.dtype) -> dict[str, Tensor]:
    """The network's outputs under the official names and in the official units."""
    network.to(dtype).flip_test = run == "flip"
    offset = offsets(io, run)
    with torch.inference_mode():
        found = network(normalised(images).to(dtype), None if offset is None else offset.to(dtype))
        return official(network, found)


def official(network: Network, found: dict[str, Tensor]) -> dict[str, Tensor]:
    vertices, _, joints17 = mesh(network.smpl, found["rotmat"], found["shape"])
    result = {
        "pred_uvd_jts": found["uvd"],
        "pred_xyz_jts_29": found["xyz"] / UNIT,
        "pred_xyz_jts_24": found["xyz"][:, :24] / UNIT,
        "pred_xyz_jts_24_struct": found["joints"] / UNIT,
        "pred_xyz_jts_17": (joints17 - joints17[:, :1]) / UNIT,
        "pred_vertices": vertices - joints17[:, :1],
        "pred_theta_mats": found["rotmat"],
        "pred_phi": found["phi"],
        "pred_shape": found["shape"],
        "pred_delta_shape": found["delta_shape"],
        "cam_scale": found["scale"],
        "cam_root": found["root"],
        "transl": found["root"],
        "maxvals": found["maxvals"],
        "pred_sigma": found["sigma"],
        "scores": 1 - found["sigma"],
    }
    other = {"cam_trans": "trans", "pred_camera": "camera"}
    return result | {name: found[ours] for name, ours in other.items() if ours in found}


def mesh(smpl: HybrikSmpl, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The posed body: vertices, 24 joints, Human3.6M's 17."""
    out = body_of_smpl(smpl).to(betas.dtype).pose(rotations, betas)
    return out.vertices, out.joints3d, smpl.J_regressor_h36m @ out.vertices


INTERMEDIATE = ("hm_", "ik_gap", "us_", "bboxes", "img_center")


def results(io: Arrays, run: str, suffix: str) -> list[str]:
    """The names of a run's results in one precision."""
    names = [name.removeprefix(f"{run}.") for name in io if name.startswith(f"{run}.")]
    return [
        name.removesuffix("_f64")
        for name in names
        if name.endswith("_f64") == bool(suffix) and not name.startswith(INTERMEDIATE)
    ]


def test_the_input_is_normalised_as_published(replay: tuple[Network, Arrays]) -> None:
    io = replay[1]
    np.testing.assert_array_equal(normalised(io["image_u8"])[:, :, ::8, ::8].numpy(), io["image_sub"])


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("dtype", "suffix"), PRECISIONS)
def test_outputs(replay: tuple[Network, Arrays], run: str, dtype: torch.dtype, suffix: str) -> None:
    network, io = replay
    found = run_network(network, io, run, io["image_u8"], dtype)
    names = results(io, run, suffix)
    assert len(names) >= 12
    for name in names:
        close(found[name], io, f"{run}.{name}{suffix}", 5e-6 if suffix else None)


def watch(network: nn.Module, *names: str) -> dict[str, Any]:
    """What the modules of those names put out in the next call."""
    seen: dict[str, Any] = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.setdefault(name, out))
    return seen


def spread(maps: Tensor, first: int, second: int, step: int) -> Tensor:
    return maps[:, :, first::step, second::step]


def test_every_recorded_intermediate_of_the_resnet(pack: Path, toy: Arrays) -> None:
    network, io = small(pack, toy, "resnet34"), arrays(pack / "io_resnet34.npz")
    seen = watch(network, "preact", "deconv_layers", "fc2", "final_layer")
    with torch.inference_mode():
        network(normalised(io["image_u8"]))
    close(seen["preact"], io, "mid.feat_map")
    close(seen["preact"].mean((2, 3)), io, "mid.pooled")
    close(seen["fc2"], io, "mid.fc2")
    close(spread(seen["deconv_layers"], 1, 2, 4), io, "mid.deconv_sub")
    close(seen["final_layer"].unflatten(1, (29, 64))[:1, :, 3::8, 5::8, 7::8], io, "mid.logits_sub")


def test_every_recorded_intermediate_of_the_hrnet(pack: Path, toy: Arrays) -> None:
    network, io = small(pack, toy, "hrnet"), arrays(pack / "io_hrnet.npz")
    seen = watch(network, "preact", "preact.layer1", "preact.stage2", "preact.stage3", "preact.stage4")
    entered: list[Tensor] = []
    network.preact.layer1.register_forward_pre_hook(lambda _m, args: entered.append(args[0].clone()))
    with torch.inference_mode():
        network(normalised(io["image_u8"]))
    close(spread(entered[0], 1, 2, 8), io, "mid.stem_sub")
    close(spread(seen["preact.layer1"], 1, 2, 8), io, "mid.layer1_sub")
    for stage in (2, 3, 4):
        for branch, maps in enumerate(seen[f"preact.stage{stage}"]):
            step = maps.shape[-1] // 8
            close(spread(maps, step // 2, step // 2, step), io, f"mid.stage{stage}_{branch}_sub")
    logits, feature = seen["preact"]
    close(feature, io, "mid.feat")
    close(logits.unflatten(1, (29, 64))[:1, :, 3::8, 5::8, 7::8], io, "mid.logits_sub")


@pytest.mark.parametrize("run", RUNS)
def test_heatmaps_and_the_disagreement_of_body_and_joints(replay: tuple[Network, Arrays], run: str) -> None:
    network, io = replay
    network.float().flip_test = run == "flip"
    volumes: list[Tensor] = []
    hook = network.soft_argmax.register_forward_pre_hook(lambda _m, args: volumes.extend(args))
    with torch.inference_mode():
        found = network(normalised(io["image_u8"]), offsets(io, run))
        rest = network.smpl(found["shape"])
        places = found["joints"] + rest[:, :1]
        volumes[1:] = [network.soft_argmax.mirror_back(volume) for volume in volumes[1:]]
        softmax = [torch.softmax(volume.flatten(2), 2).view_as(volume) for volume in volumes]
        for name, values in zip("xyz", marginals(torch.stack(softmax).mean(0)), strict=True):
            close(values, io, f"{run}.hm_{name}")
        close(gaps(found["xyz"], rest, places), io, f"{run}.ik_gap", 1e-3)
    hook.remove()


def gaps(skeleton: Tensor, rest: Tensor, places: Tensor) -> Tensor:
    """(B, 23) metres by which body and skeleton disagree at the solution."""
    ends = list(BONE_CHILD[1:24])
    reach = (skeleton - skeleton[:, :1] + rest[:, :1])[:, ends] - places[:, 1:]
    lengths = (rest[:, ends] - rest[:, 1:24]).norm(dim=-1, keepdim=True)
    bones, _ = to_length(skeleton[:, ends] - skeleton[:, 1:24], lengths)
    return (reach - bones).norm(dim=-1)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("dtype", "suffix"), PRECISIONS)
def test_the_camera_is_refined_as_published(pack: Path, toy: Arrays, run: str, dtype: torch.dtype, suffix: str) -> None:
    network, io = small(pack, toy, "hrnet").to(dtype), arrays(pack / "io_hrnet.npz")
    network.flip_test = run == "flip"
    given = offsets(io, run)
    offset = torch.zeros(2, 2, dtype=dtype) if given is None else given.to(dtype)
    with torch.inference_mode():
        found = network.heads(normalised(io["image_u8"]).to(dtype), network.flip_test)
        rest = network.smpl(found["shape"])
        arguments = (found["uvd"], rest, found["phi"], found["scale"], found["sigma"], offset)
        seen, measured = network.solver.equations(*arguments)
        close(network.solver.refined(*arguments), io, f"{run}.us_scale{suffix}", 5e-6 if suffix else None)
    weight = (1 - 10 * found["sigma"]).clamp_min(0)
    joints = torch.where(seen != 0, measured / weight[:, :24], torch.nan)  # where nothing is weighed nothing is known
    across = joints[..., 0] + found["uvd"][:, :24, 0].add(offset[:, :1]) * jz(io, run, suffix) / FOCAL
    recorded = io[f"{run}.us_joints24{suffix}"][..., 0]
    known = torch.isfinite(across).numpy()
    assert known.sum() > 20
    np.testing.assert_allclose(across.numpy()[known], recorded[known], atol=1e-5 if suffix else 3e-4)
    if not suffix:
        close(found["scale"], io, f"{run}.us_in_scale")
        close(weight, io, f"{run}.us_weight")
        close(seen.mT, io, f"{run}.us_A")
        close(measured.mT, io, f"{run}.us_b", 5e-4)


def jz(io: Arrays, run: str, suffix: str) -> Tensor:
    return torch.from_numpy(io[f"{run}.us_joints24{suffix}"][..., 2])


def test_refining_a_hand_made_skeleton(smpl: HybrikSmpl, pack: Path) -> None:
    io = {name: torch.from_numpy(value) for name, value in arrays(pack / "io_hrnet.npz").items() if "refine" in name}
    recorded = arrays(pack / "io_hrnet.npz")
    offset = offsets(recorded, "refine")
    assert offset is not None
    rest = smpl.float()(io["refine.pred_shape"])
    sigma = (1 - io["refine.weight"]) / 10
    scale = io["refine.init_scale"][:, 0]
    found = Solver(True).refined(io["refine.pred_uvd"], rest, io["refine.pred_phi"], scale, sigma, offset.float())
    close(found, recorded, "refine.scale_out")
    error, before = ((value - io["refine.true_scale"][:, 0]).abs() for value in (found, scale))
    assert (error < before).all()


def test_without_a_joint_to_rely_on_the_camera_stays(pack: Path, toy: Arrays) -> None:
    network, io = small(pack, toy, "hrnet"), arrays(pack / "io_hrnet.npz")
    with torch.no_grad():
        network.decsigma.bias += 10
    found = run_network(network, io, "box", io["image_u8"], torch.float32)
    for name in [name for name in io if name.startswith("fallback.")]:
        close(found[name.removeprefix("fallback.")], io, name, 1e-3 if name.endswith("theta_mats") else None)


def test_small_checkpoints_have_the_sizes_of_their_configuration(replay: tuple[Network, Arrays], pack: Path) -> None:
    network, config = replay[0], json.loads((pack / "config.json").read_text())
    if isinstance(network, HybrikResNet):
        constants = config["resnet34"]["patched_constants"]
        sizes = network.sizes
        assert (sizes.width, sizes.hidden) == (constants["resnet_base_width"], constants["fc_hidden"])
        assert list(sizes.deconv) == config["resnet34"]["MODEL"]["NUM_DECONV_FILTERS"]
        return
    extra, constants = config["hrnet"]["HRNET_YAML_EXTRA"], config["hrnet"]["patched_constants"]
    stages = [extra[f"STAGE{stage}"] for stage in (2, 3, 4)]
    assert network.sizes == HRNetSizes(
        stem=constants["stem_width"],
        channels=tuple(stages[-1]["NUM_CHANNELS"]),
        modules=tuple(stage["NUM_MODULES"] for stage in stages),
        blocks=tuple(tuple(stage["NUM_BLOCKS"]) for stage in stages),
        heads=tuple(constants["head_channels"]),
        feature=constants["feature_dim"],
    )


@pytest.mark.parametrize(
    ("network", "manifest", "count"),
    [(HybrikResNet, "resnet34", 27_600_000), (HybrikHRNet, "hrnet_w48", 75_700_000)],
)
def test_full_size_matches_the_published_manifest(
    pack: Path, network: type[Network], manifest: str, count: int
) -> None:
    with torch.device("meta"):
        full = network()
    assert manifest_of(full) == json.loads((pack / f"manifest_full_{manifest}.json").read_text())
    assert sum(parameter.numel() for parameter in full.parameters()) == pytest.approx(count, rel=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("resnet34", "resnet"), ("hrnet_w48", "hrnet")])
def test_full_size_outputs(pack: Path, toy: Arrays, name: str, kind: str) -> None:
    """The networks of the published size with the weights of the pack's rule."""
    io, config = arrays(pack / f"io_full_{name}.npz"), json.loads((pack / "config.json").read_text())
    source = arrays(pack / "io_resnet34.npz")
    network = HybrikHRNet(smpl=full_body(toy)) if kind == "hrnet" else HybrikResNet(smpl=full_body(toy))
    rule = config["full_size_rule"]
    fill(network, rule["gains"][kind], rule["seed"], toy["h36m_mean_beta"])
    both = {**io, **{name: value for name, value in source.items() if "bboxes" in name or "img_center" in name}}
    for run in RUNS:
        found = run_network(network.eval(), both, run, source["image_u8"], torch.float32)
        found["pred_vertices"] = found["pred_vertices"][:, io["vertex_ids"]]
        for result in results(io, run, ""):
            close(found[result], io, f"{run}.{result}")


def full_body(toy: Arrays) -> HybrikSmpl:
    """6890 vertices: those of the toy again and again."""
    source = np.arange(SMPL_VERTICES) % len(toy["v_template"])
    smpl = HybrikSmpl()
    arrays = {"v_template": toy["v_template"][source], "shapedirs": toy["shapedirs"][source]}
    arrays["posedirs"] = toy["posedirs"][source].reshape(-1, 207).T
    arrays["lbs_weights"] = toy["weights"][source]
    for name in ("J_regressor", "J_regressor_h36m"):
        arrays[name] = np.pad(toy[name], ((0, 0), (0, SMPL_VERTICES - len(toy["v_template"]))))
    arrays["faces_tensor"] = np.resize(toy["f"], (SMPL_FACES, 3)).astype(np.int64)
    smpl.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in arrays.items()}, strict=False)
    return smpl


def fill(network: Network, gains: Mapping[str, float], seed: int, mean_betas: NDArray) -> None:
    """The rule of section 8 of the pack's description."""
    kept = ("smpl.", "init_")
    for name, tensor in network.state_dict().items():
        if name.startswith(kept) or name.endswith("num_batches_tracked"):
            continue
        random = np.random.RandomState((zlib.crc32(name.encode()) + 1000003 * seed) % 2**32)
        values = drawn(name, random.standard_normal(tensor.shape), gains)
        tensor.copy_(torch.from_numpy(values.astype(np.float32)))
    network.init_shape.copy_(torch.from_numpy(mean_betas))


def drawn(name: str, n: NDArray, gains: Mapping[str, float]) -> NDArray:
    module, _, kind = name.rpartition(".")
    head = "final" if module.endswith("final_layer") else module
    if name == "decsigma.bias":
        return -3 + 0.7 * n
    if head == "final" and kind == "bias":
        joint, depth = np.divmod(np.arange(len(n)), 64)
        peak = 16 + 32 * ((7919 * joint) % 29) / 28
        return 0.1 * n + np.maximum(-((depth - peak) ** 2) / 12.5, -14)
    fan = 4 * n.shape[0] if name.startswith("deconv_layers") else int(np.prod(n.shape[1:]))
    if head in gains and kind == "weight":
        return gains[head] * n / np.sqrt(fan)
    if n.ndim >= 2:
        return n * np.sqrt(0.5 / fan)
    return {"running_mean": 0.1 * n, "running_var": np.exp(0.3 * n), "weight": 1 + 0.1 * n}.get(kind, 0.1 * n)


# Inverse kinematics and the body


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "suffix"), PRECISIONS)
@pytest.mark.parametrize("kind", ["adaptive", "naive"])
def test_inverse_kinematics(
    smpl: HybrikSmpl, ik: Arrays, case: str, kind: str, dtype: torch.dtype, suffix: str
) -> None:
    smpl, solver = smpl.to(dtype), InverseKinematics().to(dtype)
    skeleton, betas, phi = (tensor(ik, f"{case}.{name}", dtype) for name in ("pose_skeleton", "betas", "phis"))
    rest = smpl(betas)
    rotations, places = (solver if kind == "adaptive" else solver.naive)(skeleton, rest, phi)
    check_body(smpl, ik, f"{case}.{kind}", suffix, rotations, betas, places)
    if not suffix:
        close(rest, ik, f"{case}.rest_joints29")
    if kind == "adaptive":
        close(
            gaps(skeleton, rest, places), ik, f"{case}.adaptive.gap{suffix}", 1e-3 if case == "antiparallel" else None
        )
    if case == "fit" and kind == "adaptive":
        close(rotations, ik, "fit.true_rot_mats")
        np.testing.assert_allclose(twist_angles(rotations, rest), ik["fit.true_angle"], atol=2e-4)


def tensor(io: Arrays, name: str, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(io[name]).to(dtype)


def check_body(
    smpl: HybrikSmpl, ik: Arrays, name: str, suffix: str, rotations: Tensor, betas: Tensor, places: Tensor | None = None
) -> None:
    """Rotations, and the body posed by them relative to its pelvis: the mesh to Human3.6M's."""
    close(rotations, ik, f"{name}.rot_mats{suffix}")
    vertices, joints, joints17 = mesh(smpl, rotations, betas)
    close(vertices - joints17[:, :1], ik, f"{name}.vertices{suffix}")
    close(joints17 - joints17[:, :1], ik, f"{name}.joints_h36m{suffix}")
    close(joints - joints[:, :1], ik, f"{name}.joints{suffix}")
    if places is not None:
        torch.testing.assert_close(places, joints, atol=1e-3 if name.startswith("antiparallel") else 1e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "suffix"), PRECISIONS)
def test_a_given_root_and_a_given_translation(smpl: HybrikSmpl, ik: Arrays, dtype: torch.dtype, suffix: str) -> None:
    smpl, solver = smpl.to(dtype), InverseKinematics().to(dtype)
    skeleton, betas, phi = (tensor(ik, f"mismatch.{name}", dtype) for name in ("pose_skeleton", "betas", "phis"))
    root = tensor(ik, "mismatch.naive_given_orient.global_orient", dtype)
    rotations, _ = solver.naive(skeleton, smpl(betas), phi, root)
    check = "mismatch.naive_given_orient"
    close(rotations, ik, f"{check}.rot_mats{suffix}")
    vertices, joints, joints17 = mesh(smpl, rotations, betas)
    close(vertices - joints17[:, :1], ik, f"{check}.vertices{suffix}")
    close(joints - joints[:, :1], ik, f"{check}.joints{suffix}")
    rotations, _ = solver(skeleton, smpl(betas), phi)
    check_placed(smpl, ik, "mismatch.adaptive_transl", suffix, rotations, betas, tensor(ik, "mismatch.transl", dtype))


def check_placed(
    smpl: HybrikSmpl, ik: Arrays, name: str, suffix: str, rotations: Tensor, betas: Tensor, transl: Tensor
) -> None:
    """With a translation the body stays where SMPL's own origin puts it."""
    for part, points in zip(("vertices", "joints", "joints_h36m"), mesh(smpl, rotations, betas), strict=True):
        close(points + transl[:, None], ik, f"{name}.{part}{suffix}")


@pytest.mark.parametrize(("dtype", "suffix"), PRECISIONS)
def test_the_posed_body(smpl: HybrikSmpl, toy: Arrays, ik: Arrays, dtype: torch.dtype, suffix: str) -> None:
    smpl = smpl.to(dtype)
    pose, betas, transl = (tensor(ik, f"fk.{name}", dtype) for name in ("pose", "betas", "transl"))
    rotations = axis_angle_to_matrix(pose.unflatten(1, (24, 3)))
    check_body(smpl, ik, "fk", suffix, rotations, betas)
    check_placed(smpl, ik, "fk_transl", suffix, rotations, betas, transl)
    quaternions = quaternion_to_matrix(tensor(ik, "fk.quat", dtype).unflatten(1, (24, 4)))
    close(quaternions, ik, f"fk_quat.rot_mats{suffix}")
    vertices, _, joints17 = mesh(smpl, quaternions, betas)
    close(vertices - joints17[:, :1], ik, f"fk_quat.vertices{suffix}")
    vertices, joints, _ = mesh(smpl, rotations, betas)
    np.testing.assert_allclose(smpl(torch.zeros_like(betas))[0, :24], toy["J"], atol=1e-6)
    posed = smpl.posed_joints(rotations, betas)
    torch.testing.assert_close(posed, torch.cat([joints, vertices[:, smpl.leaves]], dim=1))


def test_the_numbers_of_the_leaf_vertices(pack: Path, toy: Arrays) -> None:
    config = json.loads((pack / "config.json").read_text())["body"]
    assert list(LEAF_VERTICES) == config["official_leaf_vertex_ids"]
    assert [number % config["n_vertices"] for number in LEAF_VERTICES] == toy["leaf_vertex_ids"].tolist()


# Preprocessing, labels, losses, metrics


def test_preprocessing(data: Arrays) -> None:
    image, size = data["pre.src_rgb_u8"], 256
    names = ("pre.crop_norm_0", "pre.crop_norm_1_sub", "pre.crop_norm_2_sub")
    for at, (name, box) in enumerate(zip(names, data["pre.tight_boxes"], strict=True)):
        centre, side = square(box, MARGIN)
        np.testing.assert_allclose(
            np.concatenate([centre - side / 2, centre + side / 2]), data["pre.bboxes_out"][at], rtol=1e-6
        )
        np.testing.assert_allclose(crop_matrix(box, size, MARGIN), data["pre.affine"][at], atol=1e-4)
        found = inputs.crop_person(image, box, size)
        close(found if at == 0 else found[:, 3::5, 2::5], data, name)
    np.testing.assert_array_equal(data["pre.img_center"], np.tile([image.shape[1] / 2, image.shape[0] / 2], (3, 1)))
    turned = inputs.View(np.array([100.0, 70.0]), 150.0, angle=np.radians(-25)).matrix(size)
    close(turned, data, "pre.affine_rot25", 1e-6)
    close(invert_affine(turned), data, "pre.affine_rot25_inv", 1e-6)


STYLES = {"h36m": ("sample_h36m_style.json", 1000.0), "pw3d": ("sample_pw3d_style.json", 1.0)}


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest, pack: Path) -> tuple[str, float, list[Person], list[dict[str, Any]]]:
    """A style's name, its unit of length per metre, the people as we read them, and the file's own image entries."""
    name, unit = STYLES[request.param]
    return (
        request.param,
        unit,
        [person for person in read_people(pack / name) if isinstance(person, Person)],
        json.loads((pack / name).read_text())["images"],
    )


def test_labels_of_the_official_files(
    style: tuple[str, float, list[Person], list[dict[str, Any]]], data: Arrays
) -> None:
    name, unit, people, images = style
    assert len(people) == 2
    for at, (person, image) in enumerate(zip(people, images, strict=True)):
        label = {key.split(".label.")[1]: key for key in data if key.startswith(f"{name}.{at}.label.")}
        assert person.camera is not None
        assert person.pose is not None
        assert person.joints17 is not None
        depth = person.joints3d[:, 2] * person.weights[:, 2]
        joints17 = person.joints17 - person.joints17[0]
        assert person.pelvis is not None
        values = {
            "joint_vis_29": person.weights,
            "joint_cam_17": person.joints17 * unit,
            "joint_relative_17": joints17 * unit,
            "beta": person.pose.betas,
            "theta": person.pose.rotations,
            "f": person.camera.focal_length,
            "c": person.camera.principal_point,
            "root_cam": (person.joints17[0] if name == "h36m" else person.pelvis) * unit,
            "width": image["width"],
            "height": image["height"],
            "img_id": at,
        }
        known = person.weights[:, 0] > 0
        np.testing.assert_allclose(
            np.column_stack([person.joints2d, depth * unit])[known], data[label.pop("joint_img_29")][known], atol=1e-3
        )
        np.testing.assert_allclose(
            ((person.joints3d + person.pelvis) * unit)[known], data[label.pop("joint_cam_29")][known], rtol=1e-6
        )
        if name == "h36m":
            values["twist_phi"] = person.twist
            values["twist_weight"] = np.repeat(person.twist_known[:, None], 2, 1)
            pixels = project(person.joints17, person.camera.focal_length, person.camera.principal_point)
            values["joint_img_17"] = np.column_stack([pixels, joints17[:, 2] * unit])
            values["joint_vis_17"] = np.ones((17, 3))
        else:  # the loader of this style leaves them out of the picture
            assert not data[label.pop("joint_img_17")].any()
            assert data[label.pop("joint_vis_17")].all()
        box = data[label.pop("bbox")]
        centre, side = square(box, 1.0 if name == "h36m" else MARGIN)
        np.testing.assert_allclose([*person.centre, person.side], [*centre, side])
        for key in list(label):
            np.testing.assert_allclose(values[key], data[label.pop(key)], rtol=1e-5, atol=1e-4, err_msg=key)
        assert not label


def test_targets_of_the_official_files(
    style: tuple[str, float, list[Person], list[dict[str, Any]]], data: Arrays
) -> None:
    name, unit, people, images = style
    picture = data["pre.src_rgb_u8"]
    for at, (person, image) in enumerate(zip(people, images, strict=True)):
        names = {key.split(".target.")[1]: key for key in data if key.startswith(f"{name}.{at}.target.")}
        view = inputs.View(person.centre, person.side)
        found = inputs.targets(person, view, 256)
        matrix = view.matrix(256)
        assert person.camera is not None
        assert person.joints17 is not None
        assert person.pelvis is not None
        (fx, fy), (cx, cy) = person.camera.focal_length, person.camera.principal_point
        joints17 = (person.joints17 - person.joints17[0]) / UNIT
        root = person.joints17[0] if name == "h36m" else person.pelvis
        values: dict[str, Any] = {
            "target_theta": found["rotmat"],
            "target_theta_weight": np.repeat(found["has_smpl"], 216),
            "target_beta": found["betas"],
            "target_smpl_weight": found["has_smpl"],
            "target_uvd_29": found["uvd"],
            "target_weight_29": found["uvd_weight"],
            "target_xyz_24": person.joints3d[:24] / UNIT,
            "target_weight_24": found["uvd_weight"][:24],
            "target_xyz_weight_24": np.repeat(found["has_camera"], 72),
            "target_xyz_17": joints17,
            "target_weight_17": np.ones(51),
            "target_twist": found["twist"],
            "target_twist_weight": np.repeat(found["twist_weight"], 2, 1),
            "camera_scale": found["scale"],
            "camera_trans": found["trans"],
            "camera_error": camera_error(person.joints3d[:24], found["uvd"][:24], found["scale"], found["trans"]),
            "camera_valid": 1.0,
            "trans_inv": invert_affine(matrix),
            "intrinsic_param": np.linalg.inv([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
            "joint_root": root * unit,
            "depth_factor": UNIT * unit,
            "bbox": np.concatenate([person.centre - person.side / 2, person.centre + person.side / 2]),
            "img_center": np.array([image["width"], image["height"]]) / 2,
            "image_sub": inputs.normalise(inputs.cut(picture, matrix, 256))[:, 3::5, 2::5],
        }
        if name == "pw3d":  # there 17 joints count for nothing, but their places are told
            values["target_weight_17"] = data[names["target_weight_17"]]
        for key, recorded in names.items():
            close(values[key], data, recorded)


def camera_error(joints: NDArray, uvd: NDArray, scale: NDArray, trans: NDArray) -> float:
    """The mean distance in mm between joints (J, 3) in metres and where the camera's fit puts them."""
    depth = UNIT * uvd[:, 2:]
    seen = uvd[:, :2] * (depth / FOCAL + 1 / scale) - trans
    return float(np.linalg.norm(np.hstack([seen, depth]) - joints, axis=-1).mean() * 1000)


def test_cocos_joints_in_the_crop(data: Arrays) -> None:
    joints, box = data["coco.joints_3d"], data["coco.bbox"]
    moved = apply_affine(crop_matrix(box, 256, MARGIN), joints[:, :2, 0])
    found = np.where(joints[:, :2, 1] > 0, moved, joints[:, :2, 0]) / 256 - 0.5  # what is unknown stays where it is
    close(found, data, "coco.out.target")
    np.testing.assert_array_equal(joints[:, :2, 1].ravel(), data["coco.out.target_weight"])
    centre, side = square(box, MARGIN)
    np.testing.assert_allclose(np.concatenate([centre - side / 2, centre + side / 2]), data["coco.out.bbox"])
    np.testing.assert_array_equal(data["coco.out.img_center"], data["pre.img_center"][0])
    assert data["coco.out.camera_scale"] == 1  # the official stand-in where nothing is known; no loss sees it
    assert LIMBS_2D == (4, 5, 7, 8, 16, 17, 18, 19, 20, 21)


@pytest.mark.parametrize("case", ["good", "masked", "bad", "toofew"])
def test_the_camera_that_labels_give(data: Arrays, case: str) -> None:
    joints, uvd, weight = (data[f"camtgt.{case}.{name}"] for name in ("xyz", "uvd", "weight"))
    known = weight.all(1)
    scale, trans = inputs.fit_camera(joints * UNIT, uvd[:, :2], known)
    want = data[f"camtgt.{case}.out"]
    np.testing.assert_allclose([scale, *trans], want[:3], rtol=1e-5, atol=1e-6)
    if case != "toofew":
        error = camera_error((joints * UNIT)[known], uvd[known], np.array([scale]), trans)
        assert error == pytest.approx(want[4], rel=1e-5)
        assert (error < 70) == bool(want[3])


def person_with(joints2d: NDArray, joints3d: NDArray, pose: NDArray, twist: NDArray, known: NDArray) -> Person:
    full2d, full3d = np.zeros((JOINTS, 2)), np.zeros((JOINTS, 3))
    full2d[: len(joints2d)], full3d[: len(joints3d)] = joints2d, joints3d
    return Person(
        id="p", image=encode_png(np.zeros((8, 8, 3), np.uint8)), centre=np.array([99.5, 79.5]), side=256.0,
        joints2d=full2d, joints3d=full3d, weights=np.ones((JOINTS, 3)), pose=Pose(pose, np.zeros(10)), twist=twist,
        twist_known=known, camera=Camera([1, 1], [0, 0]),
    )  # fmt: skip


def test_augmentation_moves_all_labels_alike(data: Arrays) -> None:
    joints = data["aug.flip_cam_xyz24.in"]
    root, unit = joints[0], 1e-3
    theta, twist = data["aug.flip_thetas.in"], data["aug.flip_twist.in_phi"]
    weight = data["aug.flip_twist.in_weight"]
    pixels = data["aug.flip_joints_3d.in"]
    person = person_with(pixels[:, :2, 0], (joints - root) * unit, theta, twist, weight[:, 0])
    mirrored = inputs.View(person.centre, person.side, flipped=True)
    found = inputs.targets(person, mirrored, 256)
    places = (found["uvd"][:, :2] + 0.5) * 256 - 128 + person.centre  # the centre of a picture of 200 pixels' width
    np.testing.assert_allclose(places, data["aug.flip_joints_3d.out"][:, :2, 0], atol=1e-3)
    np.testing.assert_array_equal(pixels[FLIP][..., 1], data["aug.flip_joints_3d.out"][..., 1])
    turned = (person.joints3d[FLIP][:24] @ mirrored.turn.T) / unit + root
    close(turned, data, "aug.flip_cam_xyz24.out", 1e-6)
    thetas = axis_angle_to_matrix(torch.from_numpy(data["aug.flip_thetas.out"]))
    np.testing.assert_allclose(found["rotmat"], thetas, atol=1e-6)
    known = data["aug.flip_twist.out_weight"]
    np.testing.assert_allclose(found["twist"], data["aug.flip_twist.out_phi"], atol=1e-6)
    np.testing.assert_array_equal(found["twist_weight"], known[:, :1])
    np.testing.assert_allclose(
        mirrored_twist(torch.from_numpy(twist[None]))[0], data["aug.flip_twist.out_phi"], atol=1e-6
    )
    view = inputs.View(person.centre, person.side, angle=np.radians(-25))
    turn = axis_angle_to_matrix(torch.from_numpy(data["aug.rot25.aa_out"]))
    np.testing.assert_allclose(data["aug.rot25.aa_in"], theta[0])
    np.testing.assert_allclose(view.rotations(Pose(theta, np.zeros(10)))[0], turn, atol=1e-6)
    close(joints @ view.turn.T, data, "aug.rot25.xyz_out", 1e-6)
    still = inputs.View(person.centre, person.side).rotations(Pose(theta, np.zeros(10)))
    close(still, data, "aug.rodrigues_out", 1e-6)


@pytest.mark.parametrize("kind", ["laplace", "l1"])
def test_losses(data: Arrays, kind: losses.UvdLoss) -> None:
    terms = official_terms(data, kind)
    camera = float(terms["scale"] + terms["trans"])
    alone = {"uvd": "uvd", "beta": "betas", "theta": "pose", "twist": "twist"}
    for name, ours in alone.items():
        assert float(terms[ours]) + camera == pytest.approx(float(data[f"loss.{kind}.{name}"]), rel=1e-5)
    assert camera == pytest.approx(float(data[f"loss.{kind}.camera_only"]), rel=1e-5)
    joints = data["loss.out.pred_xyz_jts_29"].reshape(3, 29, 3)[:, :24].reshape(3, 72)
    assert np.abs((joints - data["loss.label.target_xyz_24"]) * data["loss.label.target_xyz_weight_24"]).max() > 0.1
    assert camera == pytest.approx(float(data[f"loss.{kind}.xyz"]), rel=1e-5)  # yet that term is officially not used
    assert float(terms["loss"]) == pytest.approx(float(data[f"loss.{kind}.official"]), rel=1e-5)
    without = official_terms(data, kind, trans=False)
    assert float(without["loss"]) == pytest.approx(float(data[f"loss.{kind}.official_without_cam_trans"]), rel=1e-5)


def official_terms(data: Arrays, kind: losses.UvdLoss, *, trans: bool = True) -> dict[str, Tensor]:
    def loaded(name: str, *shape: int) -> Tensor:
        return torch.from_numpy(data[f"loss.{name}"]).reshape(3, *shape)

    outputs = {
        "uvd": loaded("out.pred_uvd_jts", 29, 3),
        "sigma": loaded("out.pred_sigma", 29, 1),
        "shape": loaded("out.pred_shape", 10),
        "rotmat": loaded("out.pred_theta_mats", 24, 3, 3),
        "phi": loaded("out.pred_phi", 23, 2),
        "scale": loaded("out.cam_scale", 1),
    }
    if trans:
        outputs["trans"] = loaded("out.cam_trans", 2)
    batch = {
        "uvd": loaded("label.target_uvd_29", 29, 3),
        "uvd_weight": loaded("label.target_weight_29", 29, 3),
        "betas": loaded("label.target_beta", 10),
        "has_smpl": loaded("label.target_smpl_weight"),
        "rotmat": loaded("label.target_theta", 24, 3, 3),
        "twist": loaded("label.target_twist", 23, 2),
        "twist_weight": loaded("label.target_twist_weight", 23, 2),
        "scale": loaded("label.camera_scale", 1),
        "trans": loaded("label.camera_trans", 2),
        "has_camera": (loaded("label.target_xyz_weight_24", 72).sum(1) > 3).float(),
    }
    torch.testing.assert_close(loaded("label.target_theta_weight", 216).amax(1), batch["has_smpl"])
    return losses.hybrik_loss(outputs, batch, uvd=kind, weights={"pose": 0.01})


COMMON_14 = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]


def test_metrics(data: Arrays) -> None:
    truth = data["metric.gt_h17_m"] * 1000
    found = data["metric.pred_xyz_17"] * UNIT * 1000
    truth, found = truth - truth[:, :1], found - found[:, :1]
    aligned = align(found, truth)
    close(aligned / 1000, data, "metric.pa_aligned_17")
    chosen, wanted = found[:, COMMON_14], truth[:, COMMON_14]
    error = float(metrics.mpjpe(chosen, wanted).mean())
    on_all = float(metrics.mpjpe(aligned[:, COMMON_14], wanted).mean())
    on_chosen = float(metrics.pa_mpjpe(chosen, wanted).mean())
    axes = np.abs(chosen - wanted).mean((0, 1))
    np.testing.assert_allclose(data["metric.h36m.evaluate_xyz_17"], [on_all, error, *axes], rtol=1e-4)
    np.testing.assert_allclose(data["metric.pw3d.evaluate_xyz_17"], [on_chosen, error, *axes], rtol=1e-4)
    assert data["metric.h36m.evaluate_xyz_17.returned"] == pytest.approx(on_all, rel=1e-6)
    assert data["metric.pw3d.evaluate_xyz_17.returned"] == pytest.approx(on_chosen, rel=1e-6)
    truth24 = data["metric.gt_smpl24_m"] * 1000
    found24 = data["metric.pred_xyz_24_struct"] * UNIT * 1000
    error24 = float(metrics.mpjpe(found24, truth24, root=0).mean())
    pa24 = float(metrics.pa_mpjpe(found24, truth24).mean())
    axes24 = np.abs(found24 - found24[:, :1] - truth24 + truth24[:, :1]).mean((0, 1))
    for convention in ("h36m", "pw3d"):
        np.testing.assert_allclose(data[f"metric.{convention}.evaluate_xyz_24"], [pa24, error24, *axes24], rtol=1e-4)
        assert data[f"metric.{convention}.evaluate_xyz_24.returned"] == pytest.approx(error24, rel=1e-6)


def test_per_vertex_error(data: Arrays, smpl: HybrikSmpl) -> None:
    meshes = []
    for which in "ab":
        rotations = axis_angle_to_matrix(torch.from_numpy(data[f"metric.pve.pose_{which}"]).unflatten(1, (24, 3)))
        betas = torch.from_numpy(data[f"metric.pve.betas_{which}"])
        vertices, _, joints17 = mesh(smpl.float(), rotations, betas)
        meshes += [vertices * 1000, joints17[:, 0] * 1000]
    error = metrics.pve(meshes[0], meshes[2], meshes[1], meshes[3]).mean()
    assert float(error) == pytest.approx(float(data["metric.pve_mm"]), rel=1e-4)


def test_the_recorded_accuracy_is_not_of_the_recorded_outputs(data: Arrays) -> None:
    """The one result that can't be replayed: the pack lacks the predictions that it was measured on.

    It is the share of joints nearer to their labels than half a tenth of the volume (3.2 bins of 64). Of the outputs
    that are recorded with those labels, the only ones, no joint is so near, yet the share is 0.117.
    """
    joints, labels, weight = (
        data[f"loss.{name}"].reshape(3, 29, 3)
        for name in ("out.pred_uvd_jts", "label.target_uvd_29", "label.target_weight_29")
    )
    bins = 64 * np.linalg.norm((joints - labels) * weight, axis=-1)
    assert bins[weight[..., 0] > 0].min() > 3.2
    assert data["acc.uvd29"] == pytest.approx(19 / 162)


CLAIMS: Claims = {
    test_outputs: " ".join(f"io_{name}:*box.* io_{name}:flip.* io_{name}:image_u8" for name in ("resnet34", "hrnet")),
    test_the_input_is_normalised_as_published: "io_resnet34:image_sub io_hrnet:image_sub",
    test_every_recorded_intermediate_of_the_resnet: "io_resnet34:mid.*",
    test_every_recorded_intermediate_of_the_hrnet: "io_hrnet:mid.*",
    test_heatmaps_and_the_disagreement_of_body_and_joints: "io_*:*.hm_? io_*:*.ik_gap",
    test_the_camera_is_refined_as_published: "io_hrnet:*.us_*",
    test_refining_a_hand_made_skeleton: "io_hrnet:refine.*",
    test_without_a_joint_to_rely_on_the_camera_stays: "io_hrnet:fallback.*",
    test_full_size_outputs: "io_full_resnet34:* io_full_hrnet_w48:* toy_smpl:h36m_mean_beta",
    test_the_posed_body: "io_ik:fk* toy_smpl:*",
    test_the_numbers_of_the_leaf_vertices: "toy_smpl:leaf_vertex_ids",
    test_inverse_kinematics: " ".join(f"io_ik:{case}.*" for case in CASES),
    test_a_given_root_and_a_given_translation: "io_ik:mismatch.naive_given_orient.* io_ik:mismatch.adaptive_transl.*",
    test_preprocessing: "io_data:pre.*",
    test_labels_of_the_official_files: "io_data:h36m.?.label.* io_data:pw3d.?.label.*",
    test_targets_of_the_official_files: "io_data:h36m.?.target.* io_data:pw3d.?.target.*",
    test_cocos_joints_in_the_crop: "io_data:coco.*",
    test_the_camera_that_labels_give: "io_data:camtgt.*",
    test_augmentation_moves_all_labels_alike: "io_data:aug.*",
    test_losses: "io_data:loss.*",
    test_the_recorded_accuracy_is_not_of_the_recorded_outputs: "io_data:acc.uvd29",
    test_metrics: "io_data:metric.*",
    test_per_vertex_error: "io_data:metric.pve.* io_data:metric.pve_mm",
}


def test_every_array_is_replayed(pack: Path) -> None:
    check_claims(pack, CLAIMS)
