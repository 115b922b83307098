"""The published A-NeRF, replayed from the reference data."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from attrs import frozen
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from posesyn_anerf.cameras import (
    RENDERED,
    STORED,
    around,
    cylinders,
    pixel_box,
    pixel_rays,
    to_c2w,
    to_extrinsic,
)
from posesyn_anerf.field import (
    CutoffEncoding,
    Draws,
    Field,
    FieldSizes,
    Rays,
    Rendered,
    local_directions,
    local_points,
    render_rays,
)
from posesyn_anerf.posing import PoseLayer, anchor_loss, invert, mean_shift, pose, rest_of, temporal_loss
from posesyn_anerf.schedule import temperature
from posesyn_anerf.weights import FieldWeights, Loaded, load_field, official
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from tests.packs import Arrays, arrays, check_claims, manifest_of

CONFIGURATIONS = {"surreal": "", "framecode": "_framecode", "single": "_single"}
CLOSE = 3e-5
"""Of the largest number: float32 through a deep network."""
WITHIN_ONE = 1 / 255
EXACT = 1e-12
FRAMES = (1, 3)
"""Whose codes the two recorded pictures have."""


@frozen(eq=False)
class Replay:
    """One configuration of the pack: its options, arrays and field. Poses and rays are the same in all."""

    options: Mapping[str, Any]
    io: Arrays
    base: Arrays
    loaded: Loaded

    def rays(self, kind: torch.dtype = torch.float32) -> Rays:
        """The 64 recorded rays."""
        of = self.base["out/ray_pose"]
        skts, cylinder = self.base["out/skts"][of].astype(np.float32), self.base["out/cyls_train"][of]
        frames = torch.from_numpy(self.io["in/cam_idx_rays"])[:, None]
        return Rays(
            tensor(self.io["out/rays_o"], kind),
            tensor(self.io["out/rays_d"], kind),
            tensor(skts, kind),
            tensor(cylinder.astype(np.float32), kind),
            frames if self.loaded.field.sizes.codes else None,
        )

    def render(self, rays: Rays, draws: Draws | None = None) -> Rendered:
        with torch.inference_mode():
            field = self.loaded.field.to(rays.origins.dtype)
            rendered = render_rays(field, rays, self.options["N_samples"], self.options["N_importance"], draws)
            self.loaded.field.float()
            return rendered


def tensor(values: NDArray, kind: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.array(values)).to(kind)


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "parity" / "anerf"


@pytest.fixture(scope="module")
def io(pack: Path) -> Arrays:
    return arrays(pack / "io.npz")


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def replay(request: pytest.FixtureRequest, pack: Path, io: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return make_replay(request.param, pack, io, tmp_path_factory.mktemp("anerf"))


@pytest.fixture(scope="module")
def surreal(pack: Path, io: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return make_replay("surreal", pack, io, tmp_path_factory.mktemp("anerf"))


@pytest.fixture(scope="module")
def coded(pack: Path, io: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return make_replay("framecode", pack, io, tmp_path_factory.mktemp("anerf"))


def make_replay(name: str, pack: Path, base: Arrays, folder: Path) -> Replay:
    suffix = CONFIGURATIONS[name]
    path = folder / "150000.tar"
    write_tar(pack / f"checkpoint{suffix}.safetensors", path)
    options = json.loads((pack / "config.json").read_text())[name]
    return Replay(options, arrays(pack / f"io{suffix}.npz"), base, load_field(str(path)))


def write_tar(source: Path, target: Path) -> None:
    """A checkpoint of the pack as the official code writes it."""
    content: dict[str, Any] = {"global_step": 150000, "embedbones_state_dict": {}, "poseopt_anchors": None}
    content |= {
        "poseopt_layer_state_dict": None,
        "pose_optimizer_state_dict": None,
        "optimizer_state_dict": {"state": {}},
    }
    for name, value in load_file(source).items():
        part, _, rest = name.partition(".")
        if not isinstance(content.get(part), dict):
            content[part] = {}
        content[part][rest] = value
    torch.save(content, target)


def assert_close(found: Tensor | NDArray, expected: NDArray, tolerance: float = CLOSE) -> None:
    found = found.detach().numpy() if isinstance(found, Tensor) else found
    assert found.shape == expected.shape
    assert np.abs(found.astype(np.float64) - expected).max() <= tolerance * max(1, np.abs(expected).max())


# Poses and cameras


def test_skeletons(io: Arrays) -> None:
    rotations = axis_angle_to_matrix(tensor(io["in/bones"]).double())
    frames = pose(rotations, tensor(io["in/rest_pose"]).double(), tensor(io["in/pelvis"]).double())
    assert_close(frames, io["out/l2ws"], 1e-7)
    assert_close(frames[..., :3, 3], io["out/kps"], 1e-7)
    assert_close(invert(frames), io["out/skts"], 1e-7)
    assert_close(rest_of(tensor(io["out/l2ws"], torch.float64)), io["out/rest_from_l2ws"], 1e-7)


def test_axes_of_joints_follow_from_the_rest_pose(io: Arrays) -> None:
    """They are no parameters: z towards the parent, x level, y across; the encoding does not use them."""
    rest, parents = (
        io["in/rest_pose"],
        [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21],
    )
    z = rest[parents] - rest
    x = np.cross([0.0, 1.0, 0.0], z)
    axes = np.stack([x, np.cross(z, x), z], axis=1)
    lengths = np.linalg.norm(axes, axis=-1, keepdims=True)
    axes = np.where(lengths > 0, axes / np.where(lengths > 0, lengths, 1), np.eye(3))
    assert_close(axes[None], io["out/joint_coords"], 1e-5)


def test_cameras(replay: Replay) -> None:
    assert_close(to_c2w(replay.io["in/extrinsic"]), replay.io["out/c2w"], EXACT)


def test_cylinders_boxes_and_rays(io: Arrays) -> None:
    assert_close(cylinders(io["out/kps"], STORED), io["out/cyls_train"], EXACT)
    assert_close(cylinders(io["out/kps"], RENDERED), io["out/cyls_render"], 1e-7)
    assert_close(to_extrinsic(io["out/c2w"]), io["out/extrinsic_back"], EXACT)
    height, width = io["in/hw"]
    for at in range(2):
        extrinsic, focal = io["in/extrinsic"][at], [io["in/focal"][at]] * 2
        seen = io["out/kps"][at] @ extrinsic[:3, :3].T + extrinsic[:3, 3]
        assert_close(seen[:, :2] / seen[:, 2:] * focal + [width / 2, height / 2], io["out/kp2d"][at], EXACT)
        box = pixel_box(io["out/cyls_render"][at], extrinsic, focal, (height, width), None)
        assert (box == io[f"out/bbox{at}"]).all() and (box == io["out/image_bbox"][at]).all()
        pixels = np.stack(np.meshgrid(np.arange(0, width, 4), np.arange(0, height, 4)), axis=-1).reshape(-1, 2)
        _, directions = pixel_rays(io["out/c2w"][at], pixels, focal, (width / 2, height / 2))
        for name in (f"out/rays_d_img{at}_s4", f"out/rays_d_np_img{at}_s4"):
            assert_close(directions.reshape(io[name].shape), io[name], 1e-6)


def test_a_circle_of_cameras(io: Arrays) -> None:
    """Each keeps its height and its distance from the vertical; the first is the given one."""
    circle = around(io["out/c2w"][0], 8)
    assert_close(circle[0], io["out/c2w"][0], EXACT)
    places = circle[:, :3, 3]
    assert np.ptp(places[:, 1]) < 1e-12 and np.ptp(np.linalg.norm(places[:, ::2], axis=1)) < 1e-12


def test_the_recorded_rays_are_those_of_their_pixels(replay: Replay) -> None:
    io = replay.base
    width = io["in/hw"][1]
    for at in range(2):
        mine = io["out/ray_pose"] == at
        pixel = io["out/ray_pixel"][mine]
        centre = (io["in/hw"][1] / 2, io["in/hw"][0] / 2)
        rays = pixel_rays(
            io["out/c2w"][at], np.stack([pixel % width, pixel // width], -1), [io["in/focal"][at]] * 2, centre
        )
        for found, name in zip(rays, ("out/rays_o", "out/rays_d"), strict=True):
            assert_close(found, replay.io[name][mine], 1e-6)


# Rays


def compare_rays(rendered: Rendered, io: Arrays, prefix: str = "out/") -> None:
    found = {
        "near": rendered.span.near,
        "far": rendered.span.far,
        "z_vals": rendered.depths,
        "z_vals_all": rendered.all_depths,
        "raw_coarse": rendered.raw_coarse,
        "raw_second": rendered.raw_second,
        "weights_coarse": rendered.coarse.weights,
        "weights_fine": rendered.fine.weights,
        "depth0": rendered.coarse.depth,
        "depth": rendered.fine.depth,
        "rgb_map": rendered.fine.rgb,
        "disp_map": rendered.fine.disparity,
        "acc_map": rendered.fine.acc,
        "alpha": rendered.fine.alpha,
        "rgb0": rendered.coarse.rgb,
        "disp0": rendered.coarse.disparity,
        "acc0": rendered.coarse.acc,
        "alpha0": rendered.coarse.alpha,
    }
    assert (rendered.order.numpy() == io[f"{prefix}sorted_idxs"]).all()
    assert_close(rendered.fine_depths, io[f"{prefix}z_samples"], 2e-3)  # where coarse weights are all but 0, steep
    for name, values in found.items():
        assert_close(values, io[f"{prefix}{name}"], 1e-3 if name in ("z_vals_all", "raw_second", "depth") else CLOSE)


def test_rays(replay: Replay) -> None:
    compare_rays(replay.render(replay.rays()), replay.io)


def test_rays_in_float64(replay: Replay) -> None:
    rendered = replay.render(replay.rays(torch.float64))
    final, first = rendered.fine, rendered.coarse
    assert_close(rendered.raw_coarse, replay.io["out/raw_coarse_f64"], EXACT * 1e2)
    for name, values in {"rgb_map": final.rgb, "disp_map": final.disparity, "acc_map": final.acc}.items():
        assert_close(values, replay.io[f"out/{name}_f64"], EXACT * 1e2)
    for name, values in {"rgb0": first.rgb, "disp0": first.disparity, "acc0": first.acc}.items():
        assert_close(values, replay.io[f"out/{name}_f64"], EXACT * 1e2)


def test_rays_that_miss_depend_on_their_chunk(surreal: Replay) -> None:
    rays, io = surreal.rays(), surreal.io
    assert (surreal.render(rays).span.hits.numpy() == ~io["out/ray_misses_cylinder"]).all()
    part = Rays(*(each[16:48] for each in (rays.origins, rays.directions, rays.skts, rays.cylinders)))
    rendered = surreal.render(part)
    assert_close(rendered.span.near, io["out/chunk16_48_near"])
    assert_close(rendered.span.far, io["out/chunk16_48_far"])
    assert_close(rendered.fine.rgb, io["out/chunk16_48_rgb_map"])


def test_rays_of_a_training_step(surreal: Replay) -> None:
    """With the switch of the official tests: numpy's generator is seeded before every draw."""

    def drawn(samples: int) -> Tensor:
        return tensor(np.random.RandomState(0).rand(len(surreal.io["out/rays_o"]), samples))

    coarse, fine = surreal.options["N_samples"], surreal.options["N_importance"]
    draws = Draws(drawn(coarse), drawn(fine), drawn(coarse), drawn(coarse + fine))
    compare_rays(surreal.render(surreal.rays(), draws), surreal.io, "out/perturb_")


def test_encodings(replay: Replay) -> None:
    io, rays, field = replay.io, replay.rays(), replay.loaded.field
    depths = tensor(io["out/z_vals"])[:4]
    points = rays.origins[:4, None] + rays.directions[:4, None] * depths[..., None]
    assert_close(points, io["out/pts_first4"])
    local = local_points(points, rays.skts[:4])
    encoded, distance = field.encode_points(local)
    turned = local_directions(rays.directions[:4], rays.skts[:4])[:, None].expand_as(local)
    assert_close(distance, io["out/dist_first4"])
    distances = io["out/enc_v_first4"].shape[-1]
    assert_close(encoded[..., :distances], io["out/enc_v_first4"], 1e-4)
    for name in ("out/reldir_first4", "out/enc_r_first4"):
        assert_close(encoded[..., distances:], io[name])
    assert_close(torch.nn.functional.normalize(turned, dim=-1).flatten(-2), io["out/raydir_first4"])
    assert_close(field.embed.weights(distance)[:, :, None], io["out/cutoff_w_first4"], 1e-4)
    views = field.embeddirs(torch.nn.functional.normalize(turned, dim=-1).flatten(-2), distance)
    expected = io["out/enc_d_first4"]
    assert_close(views, expected[..., : views.shape[-1]], 1e-4)
    if field.sizes.codes:
        assert (expected[..., -1] == io["in/cam_idx_rays"][:4, None]).all()


def test_the_encoders_have_cutoffs_of_their_own(surreal: Replay) -> None:
    field = surreal.loaded.field
    assert isinstance(field.embed, CutoffEncoding)
    assert not torch.equal(field.embed.cutoff_dist, field.embeddirs.cutoff_dist)


# Pictures


@pytest.mark.parametrize("background", ["black", "white", "bgimg"])
def test_images(replay: Replay, background: str) -> None:
    if background == "bgimg" and "out/image_bgimg" not in replay.io:
        pytest.skip("recorded for one configuration")
    base, io = replay.base, replay.io
    height, width = base["in/hw"]
    behind = {"black": np.zeros((height, width, 3)), "white": np.ones((height, width, 3))}
    if background == "bgimg":
        behind["bgimg"] = cv2.resize(io["in/bg_image"], (int(width), int(height)), interpolation=cv2.INTER_LINEAR)
    for at in range(2):
        box = pixel_box(
            base["out/cyls_render"][at], io["in/extrinsic"][at], [io["in/focal"][at]] * 2, (height, width), None
        )
        assert (box == io["out/image_bbox"][at]).all()
        pixels = np.stack(np.meshgrid(*(np.arange(*box[:, axis]) for axis in (0, 1))), axis=-1).reshape(-1, 2)
        found = replay.render(image_rays(replay, at, pixels)).fine
        image = behind[background].astype(np.float64)
        acc, disparity = np.zeros((2, height, width, 1))
        inside = pixels[:, 1], pixels[:, 0]
        image[inside] = found.rgb.numpy() + (1 - found.acc.numpy()[:, None]) * image[inside]
        acc[inside], disparity[inside] = found.acc.numpy()[:, None], found.disparity.numpy()[:, None]
        assert np.abs(image - io[f"out/image_{background}"][at]).max() <= WITHIN_ONE
        assert_close(acc, io["out/image_acc"][at], 1e-3)
        assert_close(disparity, io["out/image_disp"][at], 1e-3)


def image_rays(replay: Replay, at: int, pixels: NDArray[np.integer]) -> Rays:
    """The rays of one picture, of its camera and of the taller cylinder."""
    base = replay.base
    centre = (base["in/hw"][1] / 2, base["in/hw"][0] / 2)
    origins, directions = pixel_rays(base["out/c2w"][at], pixels, [base["in/focal"][at]] * 2, centre)
    count = len(pixels)
    return Rays(
        tensor(origins),
        tensor(directions),
        tensor(base["out/skts"][at]).expand(count, -1, -1, -1),
        tensor(base["out/cyls_render"][at]).expand(count, -1),
        torch.full((count, 1), FRAMES[at]) if replay.loaded.field.sizes.codes else None,
    )


def densities(replay: Replay, points: NDArray) -> Tensor:
    """Raw densities of the fine network about the first pose."""
    field = replay.loaded.field
    local = local_points(tensor(points)[None], tensor(replay.base["out/skts"][:1]))
    with torch.inference_mode():
        return field.network_fine.density(field.network_fine.hidden(field.encode_points(local)[0]))[0]


def test_densities_at_points(replay: Replay) -> None:
    found = densities(replay, replay.io["in/query_pts"])
    assert_close(found[:, None, None], replay.io["out/query_raw_density"])


def test_densities_on_a_grid(surreal: Replay) -> None:
    """But at the pelvis itself, whose direction from the pelvis is what rounding makes of it."""
    axis = np.linspace(-1.8, 1.8, 7)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    found = densities(surreal, points + surreal.base["out/kps"][0, 0]).numpy()
    elsewhere = np.linalg.norm(points, axis=1) > 1e-6
    assert_close(found[elsewhere], surreal.io["out/mesh_grid_res6"].reshape(-1)[elsewhere])


# Codes, poses, losses


def test_codes(coded: Replay) -> None:
    field, io = coded.loaded.field, coded.io
    codes = field.network_fn.framecodes
    assert codes is not None
    assert_close(codes(torch.tensor([0, 3, 4])), io["out/codes_for_idx"], EXACT)
    assert_close(codes(torch.tensor([-1, -1])), io["out/codes_mean_for_minus1"], 1e-6)
    assert_close(codes(torch.tensor([[0, 1, 0.25], [2, 4, 0.7]])), io["out/codes_lerp"], 1e-6)


def test_refined_poses(coded: Replay) -> None:
    io, layer = coded.io, coded.loaded.poses
    assert layer is not None
    index = torch.from_numpy(io["out/poseopt_idx"])
    frames = layer(index)
    assert_close(layer.bones[index], io["out/poseopt_bones_raw"], EXACT)
    assert_close(layer.rotations(index), io["out/poseopt_rots"], 1e-6)
    assert_close(layer.axis_angles(), io["out/poseopt_bones_aa"], 1e-6)
    assert_close(frames, io["out/poseopt_l2ws"], 1e-6)
    assert_close(frames[..., :3, 3], io["out/poseopt_kps"], 1e-6)
    assert_close(invert(frames), io["out/poseopt_skts"], 1e-6)


def test_losses_of_refined_poses(coded: Replay) -> None:
    io, layer, options = coded.io, coded.loaded.poses, coded.options
    assert isinstance(layer, PoseLayer)
    index = torch.from_numpy(io["out/poseopt_idx"])
    anchors = axis_angle_to_matrix(tensor(io["in/poseopt_bones"]))
    loss = options["opt_pose_coef"] * anchor_loss(layer, index, anchors)
    assert_close(loss, io["out/loss_kp"], 1e-6)
    moving = options["temp_coef"] * temporal_loss(layer, index, torch.tensor([1.0, 0.0, 1.0, 1.0]))
    assert_close(moving, io["out/loss_temp"], 1e-6)
    pelvis = tensor(io["in/poseopt_pelvis"])[:, None].expand(-1, 24, -1)
    shift = mean_shift(layer, index, pelvis) / options["ext_scale"]
    assert_close(shift, io["out/MPJPC"], 1e-5)


def test_losses_of_pictures(replay: Replay) -> None:
    io, rendered = replay.io, replay.render(replay.rays())
    for suffix, found in {"": rendered.fine, "0": rendered.coarse}.items():
        seen = found.rgb + (1 - found.acc[:, None]) * tensor(io["in/bg_rgb"])
        difference = seen - tensor(io["in/target_rgb"])
        loss = difference.square().mean() if replay.options["loss_fn"] == "MSE" else difference.abs().mean()
        assert_close(loss, io[f"out/loss_rgb{suffix}"])
        assert_close(-10 * torch.log10(difference.square().mean())[None], io[f"out/psnr{suffix}"])


def test_sharpness_of_the_cutoff(io: Arrays) -> None:
    found = np.array([temperature(int(step)) for step in io["out/tau_steps"]])
    assert_close(found, io["out/tau_values"], 1e-6)


# Checkpoints


@pytest.mark.parametrize("name", ["manifest_full", "manifest_full_mixamo", "manifest_full_surreal_single"])
def test_full_size_manifests(pack: Path, name: str) -> None:
    manifest = json.loads((pack / f"{name}.json").read_text())
    mixamo = name.endswith("mixamo")
    sizes = FieldSizes(view_frequencies=0 if name.endswith("single") else 4, frames=mixamo * 5, codes=mixamo * 16)
    with torch.device("meta"):
        field = Field(sizes)
        layer = PoseLayer(torch.empty(5, 3), torch.empty(5, 24, 6), torch.empty(1, 24, 3))
    ours = {official(name): value for name, value in manifest_of(field).items()}
    if mixamo:
        ours |= {f"poseopt_layer_state_dict.{key}": value for key, value in manifest_of(layer).items()}
    for key, value in manifest.items():
        value["shape"] = [ours[key]["shape"][0] if length is None else length for length in value["shape"]]
    assert ours == manifest


def test_the_checkpoints_fit(pack: Path, tmp_path: Path) -> None:
    for suffix in CONFIGURATIONS.values():
        write_tar(pack / f"checkpoint{suffix}.safetensors", tmp_path / "150000.tar")
        for path in (pack / f"checkpoint{suffix}.safetensors", tmp_path / "150000.tar"):
            assert FieldWeights().check(path).fits


def claims() -> Iterator[tuple[Any, str]]:
    rays = "near far z_vals z_vals_all z_samples sorted_idxs raw_coarse raw_second weights_* depth depth0 rgb_map rgb0"
    rays += " disp_map disp0 acc_map acc0 alpha alpha0"
    yield test_rays, " ".join(f"io*:out/{name}" for name in rays.split()) + " io*:in/hw io*:in/focal io*:in/ray_pick"
    yield test_rays_in_float64, "io*:out/*_f64"
    yield test_rays_of_a_training_step, "io:out/perturb_*"
    yield test_rays_that_miss_depend_on_their_chunk, "io:out/chunk16_48_* io:out/ray_misses_cylinder"
    yield test_skeletons, "io*:in/bones io*:in/rest_pose io*:in/pelvis io:out/l2ws io:out/kps io:out/skts io:out/rest_*"
    yield test_axes_of_joints_follow_from_the_rest_pose, "io:out/joint_coords"
    yield test_cameras, "io*:in/extrinsic io*:out/c2w"
    yield test_cylinders_boxes_and_rays, "io:out/cyls_* io:out/extrinsic_back io:out/bbox? io:out/rays_d_* io:out/kp2d"
    yield (
        test_the_recorded_rays_are_those_of_their_pixels,
        "io:out/ray_pixel io:out/ray_pose io*:out/rays_o io*:out/rays_d",
    )
    yield test_encodings, "io*:out/*_first4 io*:in/cam_idx_rays"
    yield test_images, "io*:out/image_* io*:in/bg_image"
    yield test_densities_at_points, "io*:in/query_pts io*:out/query_raw_density"
    yield test_densities_on_a_grid, "io:out/mesh_grid_res6"
    yield test_codes, "io_framecode:out/codes_*"
    yield test_refined_poses, "io_framecode:out/poseopt_*"
    yield (
        test_losses_of_refined_poses,
        "io*:in/poseopt_* io_framecode:out/loss_kp io_framecode:out/loss_temp io*:out/MPJPC",
    )
    yield test_losses_of_pictures, "io*:out/loss_rgb* io*:out/psnr* io*:in/target_rgb io*:in/bg_rgb io*:in/fg_mask"
    yield test_sharpness_of_the_cutoff, "io:out/tau_*"


def test_every_array_is_replayed(pack: Path) -> None:
    check_claims(pack, dict(claims()))


def test_poses_are_the_same_in_all_files(replay: Replay) -> None:
    """So that one file's skeletons serve all."""
    for name in ("rest_pose", "bones", "pelvis", "extrinsic", "hw", "focal", "ray_pick", "query_pts", "fg_mask"):
        assert np.array_equal(replay.io[f"in/{name}"], replay.base[f"in/{name}"])
