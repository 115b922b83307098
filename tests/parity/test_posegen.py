"""The published PoseGen, replayed from the reference data."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy import ndimage
from torch import Tensor, nn

from posesyn_core.body.skinning import rigid_chain
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.training.adversarial import Draws, Pool, accuracies, linear_rate
from posesyn_posegen import model
from posesyn_posegen.model import (
    FEEDBACK_JOINTS,
    PARTS,
    Discriminator2d,
    Discriminator3d,
    Generator,
    PoseGen,
    StepOptions,
    adversarial_loss,
    compared,
    feedback_loss,
    posed,
    rescaled_error,
)
from tests.packs import Arrays, Claims, arrays, check_claims, manifest_of

PRECISIONS = [
    pytest.param(torch.float64, "_f64", 1e-9, id="float64"),
    pytest.param(torch.float32, "", 1e-5, id="float32"),
]
precisions = pytest.mark.parametrize(("dtype", "suffix", "tolerance"), PRECISIONS)
NAMES = ("model_G", "model_d3d", "model_d2d")


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "parity" / "posegen"


@pytest.fixture(scope="module")
def io(pack: Path) -> Arrays:
    return arrays(pack / "io.npz")


@pytest.fixture(scope="module")
def config(pack: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((pack / "config.json").read_text())
    return found


Networks = tuple[Generator, Discriminator3d, Discriminator2d]


def networks(pack: Path, config: dict[str, Any], dtype: torch.dtype = torch.float32) -> Networks:
    """With the recorded weights: official names, loaded strictly; in evaluation mode."""
    state = load_file(pack / "checkpoint.safetensors")
    small, flat = config["discriminator_3d"], config["discriminator_2d"]
    made = (
        Generator(),
        Discriminator3d(small["channel"], small["channel_mid"]),
        Discriminator2d(flat["channel"], flat["channel_mid"]),
    )
    for name, network in zip(NAMES, made, strict=True):
        own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
        network.load_state_dict(own, strict=True)
        network.to(dtype).eval()
    return made


def given(io: Arrays, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(io[f"in/{name}"]).to(dtype)


def agree(ours: Any, theirs: NDArray, tolerance: float, name: str = "") -> None:
    """Within ``tolerance`` of the size of the array."""
    if isinstance(ours, Tensor):
        ours = ours.detach().numpy()
    assert np.shape(ours) == theirs.shape, name
    np.testing.assert_allclose(
        ours, theirs, rtol=tolerance, atol=tolerance * max(1, np.abs(theirs).max()), err_msg=name
    )


# Networks


def test_full_size(pack: Path) -> None:
    manifest = json.loads((pack / "manifest_full.json").read_text())
    full = zip(NAMES, (Generator(), Discriminator3d(), Discriminator2d()), strict=True)
    assert {f"{n}.{key}": fact for n, network in full for key, fact in manifest_of(network).items()} == manifest


def test_parts(config: dict[str, Any]) -> None:
    assert {name: list(joints) for name, joints in PARTS.items()} == config["discriminator_3d"]["parts"]
    assert list(PARTS) == config["discriminator_3d"]["output_order"]
    assert list(FEEDBACK_JOINTS) == config["feedback"]["joints14"]
    assert config["generator"]["root_factor"] == model.ROOT_FACTOR


@contextmanager
def seen(*layers: nn.Module) -> Iterator[list[Tensor]]:
    """What the layers give, in order."""
    found: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda _m, _i, output: found.append(output)) for layer in layers]
    yield found
    for hook in hooks:
        hook.remove()


def branches(generator: Generator, io: Arrays, dtype: torch.dtype) -> dict[str, Tensor]:
    """All that the generator's branches give for the recorded noise."""
    pose = generator.BAprocess
    layers = (pose.w1, pose.linear_stages[0], pose.linear_stages[1], pose.w2)
    with torch.no_grad(), seen(*layers) as found:
        poses = generator(given(io, "z_pose", dtype))
        noise_r, eps, noise_t = (given(io, name, dtype) for name in ("z_R", "eps_R", "z_T"))
        rotation, translation = generator.RTprocess(noise_r, eps, noise_t)
    real = given(io, "real_axis_angle", dtype)
    placed = (real - real[:, :1]) @ rotation.mT + translation[:, None]
    names = ("ba_w1", "ba_stage0", "ba_stage1", "ba_w2")
    return {
        **dict(zip(names, found, strict=True)),
        "pose_ba": poses,
        "pose_rt": placed,
        "R": rotation,
        "T": translation,
    }


@precisions
def test_generator(
    pack: Path, io: Arrays, config: dict[str, Any], dtype: torch.dtype, suffix: str, tolerance: float
) -> None:
    generator, *_ = networks(pack, config, dtype)
    ours = branches(generator, io, dtype)
    for name, value in ours.items():
        if f"out/eval_{name}{suffix}" in io:
            agree(value, io[f"out/eval_{name}{suffix}"], tolerance, name)
    if dtype is torch.float32:
        for name, value in branches(generator.train(), io, dtype).items():
            agree(value, io[f"out/train_{name}"], tolerance, name)
        norm = generator.BAprocess.batch_norm1
        agree(norm.running_mean, io["out/train_ba_bn1_running_mean_after"], tolerance)
        agree(norm.running_var, io["out/train_ba_bn1_running_var_after"], tolerance)


@precisions
def test_discriminators(
    pack: Path, io: Arrays, config: dict[str, Any], dtype: torch.dtype, suffix: str, tolerance: float
) -> None:
    _, d3d, d2d = networks(pack, config, dtype)
    fakes = torch.from_numpy(io["out/eval_pose_ba" + suffix])
    with torch.no_grad():
        scores = {"d3d_fake": d3d(fakes), "d2d_real": d2d(given(io, "real_2d", dtype))}
        agree(d3d(given(io, "real_axis_angle", dtype)), io["out/d3d_real"], 1e-5)
    for name, score in scores.items():
        agree(score, io[f"out/{name}{suffix}"], tolerance, name)


# Losses


def test_losses(io: Arrays) -> None:
    real, fake = torch.from_numpy(io["out/d3d_real"]), torch.from_numpy(io["out/d3d_fake"])
    agree(adversarial_loss(fake), io["out/adv_loss_eval_theta"], 1e-6)
    shares = accuracies(real, fake)
    agree(shares["real_acc"].double(), io["out/adv_real_acc"], 1e-6)
    agree(shares["fake_acc"].double(), io["out/adv_fake_acc"], 1e-6)
    example = given(io, "acc_pred")
    agree(accuracies(example, example)["real_acc"].double(), io["out/accuracy_example"], 1e-6)


def test_learning_rate(io: Arrays, config: dict[str, Any]) -> None:
    ours = [config["args"]["lr_g"] * linear_rate(epoch, config["args"]["epochs"]) for epoch in range(1, 11)]
    agree(np.array(ours), io["out/lr_per_epoch_epochs4"], 1e-9)


def test_pool(io: Arrays) -> None:
    """The official draws: numpy's global generator, a coin and then a place for each item."""
    random = np.random.RandomState(int(io["out/pool_np_seed"]))

    def draw(count: int, size: int) -> Draws:
        found = [(True, random.randint(0, size)) if random.uniform(0, 1) > 0.5 else (False, 0) for _ in range(count)]
        mask = torch.tensor([coin for coin, _ in found])
        return mask, torch.tensor([place for _, place in found], dtype=torch.long)[mask]

    pool = Pool(len(io["out/pool_state"]))
    for items, wanted in zip(io["in/pool_items"], io["out/pool_returned"], strict=True):
        agree(pool.exchange(torch.from_numpy(items), draw), wanted, 0)
    agree(pool.items, io["out/pool_state"], 0)


# Skeleton and camera


def label_rest(io: Arrays) -> Tensor:
    """(24, 3) the rest pose of the labels, which the pack leaves out: as the first recorded sample was posed with."""
    world = io["out/l2ws_torch"][0]
    rest = world[:, :3, 3].copy()
    for joint, parent in enumerate(SMPL24.parents[1:], 1):
        rest[joint] = rest[parent] + world[parent, :3, :3].T @ (world[joint, :3, 3] - world[parent, :3, 3])
    return torch.from_numpy(rest)


def test_kinematics(io: Arrays) -> None:
    poses = torch.from_numpy(io["out/eval_pose_ba"]).double()
    for rest, rotations, joints, inverse in (
        (label_rest(io), io["out/l2ws_torch"][..., :3, :3], io["out/l2ws_torch"][..., :3, 3], False),
        (given(io, "rest_pose", torch.float64), io["out/nerf_skts"][..., :3, :3], io["out/nerf_kps"], True),
    ):
        world, placed = rigid_chain(axis_angle_to_matrix(poses), rest[None])
        agree(world.mT if inverse else world, rotations, 1e-6)
        agree(placed, joints, 1e-6)
        agree(posed(poses, rest), joints, 1e-6)
        if inverse:
            agree(-(world.mT @ placed[..., None])[..., 0], io["out/nerf_skts"][..., :3, 3], 1e-6)
    agree(posed(poses.float(), label_rest(io).float()), io["out/kp3d_world"], 1e-5)


def test_camera(io: Arrays) -> None:
    """A fixed one: the viewpoint is the root's rotation."""
    extrinsic = io["in/extrinsic"].astype(np.float64)
    camera = io["out/kp3d_world"] @ extrinsic[:3, :3].T + extrinsic[:3, 3]
    agree(camera, io["out/kp3d_cam"], 1e-6)
    pixels = project(camera, np.array([1000.0, 1000.0]), np.array([256.0, 256.0]))
    agree(pixels, io["out/kp2d"], 1e-6)
    agree(pixels / 256 - 1, io["out/kp2d_normalised"], 1e-5)
    agree((np.linalg.inv(extrinsic) * [1, -1, -1, 1])[None], io["out/c2w"], 1e-5)
    agree(io["in/focals"] * 512 / 512, io["out/nerf_focals"], 1e-12)
    agree(io["in/focals"] * 512 / 256, io["out/nerf_focals_512_from_256"], 1e-12)
    agree(np.arange(len(io["in/focals"])), io["out/nerf_cam_idxs"], 0)


@pytest.mark.parametrize(
    ("crop", "name"), [((120, 392), "render_to_estimator_s4"), ((100, 412), "render_to_estimator_feedback_s4")]
)
def test_pictures_for_the_official_estimator(io: Arrays, crop: tuple[int, int], name: str) -> None:
    """How the released code cuts its fixed square, which our estimators' own crops about the person take the place of:
    the mean is taken for the deviation, too, and the picture shrunk after that, blurred against aliasing."""
    part = io["in/render_u8"][slice(*crop), slice(*crop)].astype(np.float64) / 255
    mean = np.array([0.485, 0.456, 0.406])
    normal = (part - mean) / mean
    factor = len(part) / 224
    sigma = max(0, (factor - 1) / 2)
    blurred = ndimage.gaussian_filter(normal, (sigma, sigma, 0), mode="mirror")
    small = ndimage.zoom(blurred, (1 / factor, 1 / factor, 1), order=1, mode="mirror", grid_mode=True)
    ours = small.transpose(2, 0, 1)
    agree(np.array(ours.shape), io["out/render_to_estimator_shape"], 0)
    agree(ours[:, ::4, ::4].astype(np.float32), io[f"out/{name}"], 1e-5)
    if name == "render_to_estimator_s4":
        stats = np.array([ours.mean(), ours.std(), ours.min(), ours.max()])
        agree(stats.astype(np.float32), io["out/render_to_estimator_stats"], 1e-5)


# The training step


def feedback(io: Arrays, poses: Tensor, generated: list[Tensor] | None = None) -> Tensor:
    """As recorded: the chosen poses before the fixed camera, against the estimator's rotations on the same skeleton."""
    rest, rotation = label_rest(io).float(), given(io, "extrinsic")[:3, :3]
    joints = posed(poses[given(io, "kk", torch.int64)], rest) @ rotation.mT
    if generated is not None:
        generated.append(joints)
    return feedback_loss(posed(given(io, "pred_rotmat"), rest), joints)


def test_feedback(io: Arrays) -> None:
    joints: list[Tensor] = []
    poses = torch.from_numpy(io["out/train_pose_ba"])
    agree(feedback(io, poses, joints), io["out/fb_loss"], 1e-5)
    agree(posed(given(io, "pred_rotmat"), label_rest(io).float()), io["out/fb_pose_pred24"], 1e-5)
    place = given(io, "extrinsic")[:3, 3]
    agree(joints[0] + place, io["out/fb_pose_gt24"], 1e-5)
    both = torch.from_numpy(io["out/fb_pose_pred24"]), torch.from_numpy(io["out/fb_pose_gt24"])
    maximised, minimised = feedback_loss(*both), feedback_loss(*both, "minimise")
    assert float(maximised + minimised) == pytest.approx(1)


def test_a_training_step(pack: Path, io: Arrays, config: dict[str, Any]) -> None:
    generator, d3d, d2d = networks(pack, config)
    for network in (generator, d3d, d2d):
        network.train()
    args = config["args"]
    options = StepOptions(args["lr_g"], 1.0, config["feedback"]["weight"], pool=config["pool_max_elements"])
    trained = PoseGen(generator, d3d, None, options)
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda value: found.__setitem__(name, value.clone())

    def loss(poses: Tensor) -> Tensor:
        agree(poses, io["out/train_pose_ba"], 1e-5)
        poses.register_hook(keep("dtheta"))
        return feedback(io, poses)

    norms: list[float] = []
    clip = nn.utils.clip_grad_norm_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.nn.utils, "clip_grad_norm_", lambda *a: norms.append(float(clip(*a))))
        terms = trained.step(given(io, "z_pose"), given(io, "real_axis_angle"), loss)
    judged = PoseGen(*networks(pack, config), options)  # recorded on the poses of evaluation mode
    fakes = judged.pools["model_d3d"].exchange(torch.from_numpy(io["out/eval_pose_ba"]))
    terms |= judged.discriminate("model_d3d", given(io, "real_axis_angle"), fakes)
    d3d = judged.d3d
    for name, ours in (
        ("adv_loss_train", terms["adversarial_d3d"]),
        ("gen_loss", terms["generator"]),
        ("gen_dtheta", found["dtheta"]),
        ("gen_grad_w2_bias_clipped", generator.BAprocess.w2.bias.grad),
        ("gen_w2_bias_after", generator.BAprocess.w2.bias),
        ("gen_w1_weight_after_rows0_4", generator.BAprocess.w1.weight[:4]),
        ("dis_left_leg_layer1_w_after", d3d.get_submodule("layer_left_leg").layer_1.weight),
        ("dis_full_layer1_grad_clipped", d3d.get_submodule("layer_full_body").layer_1.weight.grad),
        ("dis_layer_pred_bias_after", torch.cat([d3d.get_submodule(f"layer_{n}").layer_pred.bias for n in PARTS])),
    ):
        agree(ours, io[f"out/{name}"], 1e-5, name)
    assert norms[0] == pytest.approx(float(io["out/gen_grad_norm_before_clip"]), rel=1e-5)
    agree(terms["d3d"].double(), io["out/dis_loss"], 1e-5)
    shares = torch.stack([terms["d3d_real_acc"], terms["d3d_fake_acc"]]).double()
    agree(shares, io["out/dis_accs"], 1e-6)
    idle = [name for name, parameter in generator.named_parameters() if parameter.grad is None]
    assert len(idle) == io["out/rt_params_without_grad"] and all(name.startswith("RTprocess") for name in idle)


# Fine-tuning


def test_fine_tuning_loss(io: Arrays, config: dict[str, Any]) -> None:
    factor, limit = config["finetune"]["loss_factor"], config["finetune"]["reject_above_after_factor"]
    rest = label_rest(io)
    rotations = given(io, "ft_pred_rotmat", torch.float64).requires_grad_()

    def error(truth: Tensor) -> Tensor:
        return factor * rescaled_error(compared(posed(rotations, rest)), compared(truth))

    each = error(given(io, "ft_pose_gt", torch.float64))  # joints: what the released code saves with a picture
    agree(each, io["out/ft_per_sample"], 1e-5)
    kept = each < limit
    agree(kept, io["out/ft_kept"], 0)
    loss = each[kept].mean()
    agree(loss, io["out/ft_loss_nerf"], 1e-5)
    loss.backward()
    agree(rotations.grad.float(), io["out/ft_grad_rotmat"], 1e-5)
    agree(error(posed(given(io, "ft_mpii_axis_angle", torch.float64), rest)).mean(), io["out/ft_loss_mpii"], 1e-5)


CLAIMS: Claims = {
    test_generator: ("io:in/z_pose io:in/z_R io:in/z_T io:in/eps_R io:in/real_axis_angle io:out/eval_* io:out/train_*"),
    test_discriminators: "io:in/real_2d io:out/d3d_* io:out/d2d_*",
    test_losses: "io:out/adv_loss_eval_theta io:out/adv_real_acc io:out/adv_fake_acc io:in/acc_pred io:out/accuracy_*",
    test_learning_rate: "io:out/lr_per_epoch_epochs4",
    test_pool: "io:in/pool_items io:out/pool_*",
    test_kinematics: "io:in/rest_pose io:out/l2ws_torch io:out/kp3d_world io:out/nerf_kps io:out/nerf_skts",
    test_camera: (
        "io:in/extrinsic io:in/focals io:out/kp2d io:out/kp3d_cam io:out/kp2d_normalised io:out/c2w "
        "io:out/nerf_focals io:out/nerf_focals_512_from_256 io:out/nerf_cam_idxs"
    ),
    test_pictures_for_the_official_estimator: "io:in/render_u8 io:out/render_to_estimator_*",
    test_feedback: "io:in/kk io:in/pred_rotmat io:out/fb_*",
    test_a_training_step: "io:out/adv_loss_train io:out/gen_* io:out/dis_* io:out/rt_params_without_grad",
    test_fine_tuning_loss: "io:in/ft_* io:out/ft_*",
}


def test_every_array_is_replayed(pack: Path) -> None:
    check_claims(pack, CLAIMS)
