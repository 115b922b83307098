"""The published SPIN, replayed from the reference data."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from numpy.typing import NDArray
from safetensors.torch import load_file

from posesyn_core.body.model import load_body
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.alignment import align
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.crops import square
from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle, six_d_to_matrix
from posesyn_core.geometry.skeletons import LSP14, OPENPOSE25, convert
from posesyn_core.method import metrics
from posesyn_core.values import Sample, SmplParams
from posesyn_datasets.readers.pw3d import Pw3dConfig, Pw3dReader
from posesyn_spin import losses, smplify
from posesyn_spin.annotations import read_people
from posesyn_spin.config import SpinConfig
from posesyn_spin.crops import official_crop, transform, transform_matrix
from posesyn_spin.inputs import MARGIN, Person, View, crop_person, training_item
from posesyn_spin.network import SpinNetwork, sizes_of
from tests.packs import Arrays, Claims, arrays, check_claims, manifest_of


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "parity" / "spin"


@pytest.fixture(scope="module")
def io(pack: Path) -> Arrays:
    return arrays(pack / "io.npz")


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
    assert manifest_of(full) == manifest
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


@pytest.mark.parametrize(("recorded", "openpose"), [("op0_gt1", 0.0), ("op0p7_gt1", 0.7)])
def test_keypoint_loss_2d(io: Arrays, recorded: str, openpose: float) -> None:
    """The official default is that OpenPose's part counts nothing."""
    labels = tensor(io, "in/loss_gt_kp2d").clone()
    labels[:, :25, 2] *= openpose
    loss = losses.keypoint_loss_2d(tensor(io, "in/loss_pred_kp2d"), labels)
    np.testing.assert_allclose(loss, io[f"out/loss_keypoints_{recorded}"], rtol=1e-5)


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


def test_vertex_loss(io: Arrays) -> None:
    loss = losses.vertex_loss(tensor(io, "in/loss_verts_a"), tensor(io, "in/loss_verts_b"), torch.tensor([1, 0]))
    np.testing.assert_allclose(loss, io["out/loss_shape"], rtol=1e-5)


def test_total_loss_has_the_published_weights(io: Arrays) -> None:
    config = SpinConfig()
    keypoints = io["out/loss_keypoints_op0_gt1"] + io["out/loss_keypoints_3d"]
    bodies = config.pose_loss_weight * io["out/loss_regr_pose"] + config.beta_loss_weight * io["out/loss_regr_betas"]
    total = losses.SCALE * (config.keypoint_loss_weight * keypoints + bodies + io["out/loss_cam_reg"])
    np.testing.assert_allclose(total, io["out/loss_total_x60"], rtol=1e-6)


# Geometry


def test_six_numbers_to_rotations_and_back_to_axis_angles(io: Arrays) -> None:
    ours = six_d_to_matrix(tensor(io, "in/rot6d_in"), "interleaved")
    np.testing.assert_allclose(ours, io["out/rot6d_out"], atol=1e-6)
    rotmat = tensor(io, "out/pred_rotmat")
    recorded = axis_angle_to_matrix(tensor(io, "out/pred_axis_angle").reshape(2, 24, 3))
    torch.testing.assert_close(axis_angle_to_matrix(matrix_to_axis_angle(rotmat)), rotmat, atol=1e-5, rtol=0)
    torch.testing.assert_close(recorded, rotmat, atol=1e-4, rtol=0)
    np.testing.assert_allclose(matrix_to_axis_angle(rotmat).flatten(1), io["out/pred_axis_angle"], atol=2e-4)


def test_axis_angles_to_rotations(io: Arrays) -> None:
    ours = axis_angle_to_matrix(tensor(io, "in/aa_in"))
    np.testing.assert_allclose(ours, io["out/batch_rodrigues_out"], atol=1e-6)


def test_projection_with_any_translation(io: Arrays) -> None:
    points = io["in/proj_points"] + io["in/proj_trans"][:, None]
    focal, middle = np.full((2, 2), 5000.0, np.float32), np.zeros((2, 2), np.float32)
    pixels = project(points, focal, middle)
    np.testing.assert_allclose(pixels, io["out/proj_2d"], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(pixels / 112, io["out/proj_2d_norm"], rtol=1e-5, atol=1e-5)


# Crops


def boxes(io: Arrays) -> list[tuple[NDArray, NDArray, float]]:
    """Image, centre and scale of the two recorded people."""
    return [(io[f"in/ds_image{k}_rgb_u8"], io["in/ds_center"][k], float(io["in/ds_scale"][k])) for k in range(2)]


def test_crops_are_the_same_to_the_last_bit(io: Arrays) -> None:
    for k, (image, centre, scale) in enumerate(boxes(io)):
        np.testing.assert_array_equal(official_crop(image, centre, scale, 224), io["out/crop_u8"][k])
    image, centre, scale = boxes(io)[0]
    np.testing.assert_array_equal(official_crop(image, centre, scale, 224, rotation=23.5), io["out/crop_rot23p5_u8"])


def test_network_inputs(io: Arrays) -> None:
    """From a person's box: the official scale is 1.2 times its longer side / 200."""
    for k, (image, centre, scale) in enumerate(boxes(io)):
        half = scale * 200 / MARGIN / 2
        box = np.concatenate([centre - half, centre + half])
        np.testing.assert_allclose(crop_person(image, box, 224, "official"), io["out/images"][k], atol=1e-5)


def test_transforms_of_points(io: Arrays) -> None:
    _, centre, scale = boxes(io)[0]
    points = io["in/transform_pts"]
    plain, turned = transform_matrix(centre, scale, 224), transform_matrix(centre, scale, 224, 23.5)
    for ours, theirs in zip((plain, turned), io["out/get_transform"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    np.testing.assert_array_equal(transform(points, plain), io["out/transform_pts_rot0"])
    np.testing.assert_array_equal(transform(points, turned), io["out/transform_pts_rot23p5"])
    np.testing.assert_array_equal(transform(points, np.linalg.inv(plain)), io["out/transform_pts_inv"])


# Training data


@pytest.fixture(scope="module")
def people(io: Arrays, tmp_path_factory: pytest.TempPathFactory) -> list[Person]:
    """The two recorded people, read from an npz in the official format."""
    folder = tmp_path_factory.mktemp("spin")
    for k in range(2):
        (folder / f"{k}.png").write_bytes(encode_png(io[f"in/ds_image{k}_rgb_u8"]))
    names = ("center", "scale", "part", "openpose", "S", "pose", "shape", "has_smpl", "gender")
    np.savez(folder / "demo.npz", imgname=["0.png", "1.png"], **{name: io[f"in/ds_{name}"] for name in names})
    return read_people(folder / "demo.npz", folder)


def view(person: Person, scalars: NDArray, gain: NDArray) -> View:
    """The recorded augmentation."""
    factor, flipped, degrees = scalars[0] * 200 / person.side, bool(scalars[1]), float(scalars[2])
    return View(person.centre, person.side * factor, -np.radians(degrees), flipped, gain.astype(np.float32), "official")


CASES = [("eval0", 0), ("eval1", 1), ("train0", 0), ("train1", 0), ("train2", 1), ("train3", 1)]


@pytest.mark.parametrize(("case", "index"), CASES)
def test_dataset_items(io: Arrays, people: list[Person], case: str, index: int) -> None:
    person, scalars = people[index], io[f"out/{case}_scalars"]
    seen = view(person, scalars, io.get(f"out/{case}_pn", np.ones(3)))
    pixels = seen.cut(io[f"in/ds_image{index}_rgb_u8"], 224)
    item = training_item(person, seen, pixels)
    if f"out/{case}_img_s4" in io:
        difference = np.abs(item["images"][:, ::4, ::4] - io[f"out/{case}_img_s4"])
        assert difference.max() < 1 / 255 / 0.224  # one level: the official code cuts brightened pixels to integers
    _, known = convert(np.zeros((14, 2)), None, "lsp14", "smpl24")
    recorded = {"keypoints2d": io[f"out/{case}_keypoints"][25:], "joints3d": io[f"out/{case}_pose_3d"]}
    for name, theirs in recorded.items():
        ours = item[name]
        expected, _ = convert(theirs[:14], None, "lsp14", "smpl24")
        labelled = known & (ours[:, -1] > 0)
        np.testing.assert_allclose(ours[labelled], expected[labelled], atol=1e-5)
        assert labelled.any()
    assert item["has_smpl"] == scalars[4]
    if item["has_smpl"]:
        truth = axis_angle_to_matrix(tensor(io, f"out/{case}_pose").reshape(24, 3))
        np.testing.assert_allclose(item["rotmat"], truth, atol=1e-5)
    np.testing.assert_allclose(item["betas"], io[f"out/{case}_betas"], atol=1e-6)
    assert item["has_smpl"] or not io[f"out/{case}_pose"].any()


@pytest.mark.parametrize("case", [case for case, _ in CASES if case.startswith("train")])
def test_the_augmentation_is_drawn_as_described(io: Arrays, case: str) -> None:
    """The pack's order of draws gives the recorded views: what is replayed above is the official augmentation."""
    index, seed = io[f"out/{case}_index_seed"]
    assert index == dict(CASES)[case]
    draw = np.random.RandomState(seed)
    flipped = float(draw.uniform() <= 0.5)
    gain = [draw.uniform(0.6, 1.4) for _ in range(3)]
    degrees = np.clip(30 * draw.randn(), -60, 60)
    scale = np.clip(0.25 * draw.randn() + 1, 0.75, 1.25)
    degrees *= draw.uniform() > 0.6
    np.testing.assert_allclose([flipped, degrees, scale], io[f"out/{case}_flip_rot_sc"], rtol=1e-9)
    np.testing.assert_allclose(gain, io[f"out/{case}_pn"], rtol=1e-9)
    expected = [scale * io["in/ds_scale"][index], flipped, degrees]
    np.testing.assert_allclose(expected, io[f"out/{case}_scalars"][:3], rtol=1e-6)


def turned(person: Person, pose: NDArray, degrees: float, flipped: bool) -> NDArray:
    """The rotations (24, 3, 3) of a pose vector (72,) seen so."""
    smpl = SmplParams(pose[:3], pose[3:].reshape(23, 3), np.zeros(10), np.zeros(3))
    seen = View(person.centre, person.side, -np.radians(degrees), flipped, np.ones(3, np.float32), "official")
    return training_item(evolve(person, smpl=smpl), seen, np.zeros((224, 224, 3), np.uint8))["rotmat"]


def as_matrices(pose: NDArray) -> torch.Tensor:
    return axis_angle_to_matrix(torch.from_numpy(pose).reshape(24, 3))


def test_mirrored_and_turned_bodies(io: Arrays, people: list[Person]) -> None:
    """The official helpers for pose vectors and for its table of fits do what a view does to a body."""
    person, poses = people[0], io["in/ds_pose"]
    np.testing.assert_allclose(turned(person, poses[0], 0, True), as_matrices(io["out/flip_pose"]), atol=1e-5)
    root = turned(person, poses[0], 23.5, False)[0]
    np.testing.assert_allclose(root, axis_angle_to_matrix(tensor(io, "out/rot_aa_23p5")), atol=1e-5)
    for k, (degrees, flipped) in enumerate(zip(io["in/fits_rot_deg"], io["in/fits_is_flipped"], strict=True)):
        plain, mirrored = (turned(person, poses[k], float(degrees), bool(f)) for f in (False, flipped))
        np.testing.assert_allclose(plain, as_matrices(io["out/fits_rotated"][k]), atol=1e-5)
        np.testing.assert_allclose(mirrored, as_matrices(io["out/fits_rotated_flipped"][k]), atol=1e-5)
        np.testing.assert_allclose(as_matrices(io["out/fits_roundtrip"][k]), as_matrices(poses[k]), atol=1e-4)


def test_mirrored_keypoints(io: Arrays) -> None:
    part, pose = io["in/ds_part"][0], io["in/ds_openpose"][0]
    for joints, ours, theirs in (
        (LSP14, part[:14], io["out/flip_kp24"][:14]),
        (OPENPOSE25, pose, io["out/flip_kp49"][:25]),
        (LSP14, part[:14], io["out/flip_kp49"][25:39]),
    ):
        np.testing.assert_allclose(ours[joints.flip] * [-1, 1, 1], theirs, atol=1e-9)


# Fitting in the loop


@pytest.fixture
def projected(io: Arrays) -> torch.Tensor:
    """The recorded joints in pixels from the crop's middle."""
    points = tensor(io, "in/proj_points") + tensor(io, "in/proj_trans")[:, None]
    return project(points, torch.full((2, 2), 5000.0), torch.zeros(2, 2))


def labels(io: Arrays) -> torch.Tensor:
    return tensor(io, "in/est_joints2d") - torch.tensor([112.0, 112.0, 0.0])


def test_objective_that_bends(io: Arrays, projected: torch.Tensor) -> None:
    error = smplify.reprojection_error(projected, labels(io))
    np.testing.assert_allclose(error, io["out/smplify_reprojection"], rtol=1e-3, atol=1e-3)  # float32 at 5000 pixels
    pose, betas = tensor(io, "in/smplify_body_pose"), tensor(io, "in/loss_gt_betas")
    np.testing.assert_allclose(smplify.angle_prior(pose), io["out/angle_prior"], rtol=1e-5)
    total = smplify.bending_objective(projected, labels(io), pose, betas, tensor(io, "in/smplify_pose_prior_value"))
    np.testing.assert_allclose(total.sum(), io["out/smplify_body_total"], rtol=1e-5)


def test_objective_that_places(io: Arrays, projected: torch.Tensor) -> None:
    """The official code takes OpenPose's hips and shoulders where all are seen, else the annotated ones."""
    openpose, annotated = [9, 12, 2, 5], [27, 28, 33, 34]
    depth = tensor(io, "in/proj_trans")[:, 2]
    total = 0.0
    for at in range(2):
        joints = openpose if (labels(io)[at, openpose, 2] > 0).all() else annotated
        points, wanted = projected[at : at + 1, joints], labels(io)[at : at + 1, joints]
        total += float(smplify.placing_objective(points, wanted, depth[at : at + 1], depth[at : at + 1] + 0.5))
    assert total == pytest.approx(float(io["out/smplify_camera_total"]), rel=1e-5)


def test_the_place_that_labels_suggest(io: Arrays) -> None:
    """The official helper takes the annotated joints alone, not OpenPose's 25."""
    joints, keypoints = tensor(io, "in/proj_points")[:, 25:], labels(io)[:, 25:]
    place = smplify.estimated_place(joints, keypoints, losses.FOCAL_LENGTH)
    np.testing.assert_allclose(place, io["out/est_trans"], rtol=1e-4)


# Evaluation


@pytest.mark.parametrize("data", ["h36m", "mpi-inf-3dhp", "3dpw"])
def test_errors(io: Arrays, pack: Path, data: str) -> None:
    config = json.loads((pack / "config.json").read_text())
    kept = "17" if data == "mpi-inf-3dhp" else "14"
    regressor = io["in/eval_J_regressor"]
    joints = np.einsum("jv,nvk->njk", regressor, io["in/eval_pred_vertices"])
    np.testing.assert_allclose(joints, io["out/eval_pred_joints17"], atol=1e-5)
    predicted = (joints - joints[:, :1])[:, config[f"H36M_TO_J{kept}"]]
    if data == "3dpw":
        truth = np.einsum("jv,nvk->njk", regressor, io["in/eval_gt_vertices"])
        truth = (truth - truth[:, :1])[:, config["H36M_TO_J14"]]
    else:
        truth = io["in/eval_gt_pose_3d"][:, config[f"J24_TO_J{kept}"], :3]
    np.testing.assert_allclose(metrics.mpjpe(predicted, truth, root=None), io[f"out/eval_{data}_mpjpe_m"], rtol=1e-4)
    np.testing.assert_allclose(metrics.pa_mpjpe(predicted, truth), io[f"out/eval_{data}_recon_m"], rtol=1e-4)
    np.testing.assert_allclose(align(predicted, truth), io[f"out/eval_{data}_aligned"], atol=1e-5)


def test_3dpw(io: Arrays, tmp_path: Path) -> None:
    """The official conversion of 3DPW against our reader of the same sequence: rows, crops and bodies in the camera."""
    write_3dpw(io, tmp_path)
    found = list(Pw3dReader(Pw3dConfig(root=tmp_path, box="detected")).samples())
    assert len(found) == len(io["out/pw3d_out_imgname"])
    for at, one in enumerate(found):
        assert isinstance(one, Sample)
        assert isinstance(one.image, Path)
        assert one.smpl is not None
        assert str(one.image.relative_to(tmp_path)) == io["out/pw3d_out_imgname"][at]
        assert one.smpl.gender[0] == io["out/pw3d_out_gender"][at]
        centre, side = square(one.box, MARGIN)
        np.testing.assert_allclose(centre, io["out/pw3d_out_center"][at], rtol=1e-6)
        np.testing.assert_allclose(side / 200, io["out/pw3d_out_scale"][at], rtol=1e-6)
        pose = np.concatenate([one.smpl.global_orient, one.smpl.body_pose.ravel()])
        np.testing.assert_allclose(as_matrices(pose), as_matrices(io["out/pw3d_out_pose"][at]), atol=1e-5)
        np.testing.assert_allclose(one.smpl.betas, io["out/pw3d_out_shape"][at], atol=1e-6)


def write_3dpw(io: Arrays, root: Path) -> None:
    """A sequence file in the official layout. What the pack leaves out: a person 4 m before the camera."""
    cameras, frames = io["in/pw3d_cam_poses"], len(io["in/pw3d_cam_poses"])
    body = load_body().rest_joints(torch.zeros(1, 10))[0].numpy() * [1, -1, -1] + [0, 0, 4]
    world = np.einsum("nji,nkj->nki", cameras[:, :3, :3], body - cameras[:, None, :3, 3])
    intrinsics = np.array([[1e3, 0, 500], [0, 1e3, 500], [0, 0, 1]])
    content = {
        "sequence": "demo_seq_00", "poses": list(io["in/pw3d_poses"]), "betas": list(io["in/pw3d_betas"]),
        "poses2D": list(io["in/pw3d_poses2d"]), "campose_valid": list(io["in/pw3d_campose_valid"]),
        "genders": ["m", "f"], "cam_poses": cameras, "cam_intrinsics": intrinsics,
        "jointPositions": [world.reshape(frames, 72)] * 2, "trans": [world[:, 0]] * 2,
    }  # fmt: skip
    (root / "imageFiles").mkdir()
    (root / "sequenceFiles" / "test").mkdir(parents=True)
    (root / "sequenceFiles" / "test" / "demo_seq_00.pkl").write_bytes(pickle.dumps(content, 2))


CLAIMS: Claims = {
    test_outputs: "io:out/images io:out/pred_rotmat* io:out/pred_shape* io:out/pred_cam*",
    test_one_iteration: "io:out/niter1_*",
    test_every_recorded_intermediate: "io:out/stem_* io:out/layer* io:out/xf io:out/iter*",
    test_projection_into_the_crop: "io:in/proj_points io:out/cam_t",
    test_keypoint_loss_2d: "io:in/loss_*kp2d io:out/loss_keypoints_op*",
    test_keypoint_loss_3d: "io:in/loss_gt_joints io:out/loss_keypoints_3d*",
    test_parameter_losses: "io:in/loss_gt_pose io:in/loss_gt_betas io:out/loss_regr_* io:out/loss_cam_reg",
    test_vertex_loss: "io:in/loss_verts_* io:out/loss_shape",
    test_total_loss_has_the_published_weights: "io:out/loss_total_x60",
    test_six_numbers_to_rotations_and_back_to_axis_angles: "io:in/rot6d_in io:out/rot6d_out io:out/pred_axis_angle",
    test_axis_angles_to_rotations: "io:in/aa_in io:out/batch_rodrigues_out",
    test_projection_with_any_translation: "io:in/proj_trans io:out/proj_2d*",
    test_crops_are_the_same_to_the_last_bit: "io:in/ds_image* io:in/ds_center io:in/ds_scale io:out/crop_*",
    test_transforms_of_points: "io:in/transform_pts io:out/get_transform io:out/transform_pts_*",
    test_dataset_items: (
        "io:in/ds_* io:out/eval[01]_* io:out/train?_img_s4 io:out/train?_keypoints io:out/train?_pose* "
        "io:out/train?_betas io:out/train?_scalars"
    ),
    test_the_augmentation_is_drawn_as_described: "io:out/train?_index_seed io:out/train?_flip_rot_sc io:out/train?_pn",
    test_mirrored_and_turned_bodies: "io:out/flip_pose io:out/rot_aa_23p5 io:in/fits_* io:out/fits_*",
    test_mirrored_keypoints: "io:out/flip_kp*",
    test_objective_that_bends: (
        "io:in/est_joints2d io:in/smplify_* io:out/smplify_reprojection io:out/smplify_body_total io:out/angle_prior"
    ),
    test_objective_that_places: "io:out/smplify_camera_total",
    test_the_place_that_labels_suggest: "io:out/est_trans",
    test_errors: "io:in/eval_* io:out/eval_*",
    test_3dpw: "io:in/pw3d_* io:out/pw3d_*",
}


def test_every_array_is_replayed(pack: Path) -> None:
    check_claims(pack, CLAIMS)
