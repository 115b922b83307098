"""Bodies in other programs' files: opened by other libraries, they move as ours do."""

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from attrs import evolve
from scipy.spatial.transform import Rotation

from posesyn_core.body.formats.amass import amass
from posesyn_core.body.formats.bvh import bvh
from posesyn_core.body.formats.gltf import glb
from posesyn_core.body.formats.movement import Movement, fit_motions, from_camera, of_plan, rest_joints
from posesyn_core.body.model import Body, BodyOutput, load_body
from posesyn_core.errors import UserError
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import Camera, ClipPlan, Motion, PoseEstimate, Sample, SmplParams

FRAMES, FPS = 5, 12.5


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def movement() -> Movement:
    """Any rotations, beyond half a turn too."""
    rng = np.random.default_rng(3)
    pose, orient = rng.normal(0, 0.4, (FRAMES, 23, 3)), np.linspace([0, 0, 0], [0.3, 5.0, 0.2], FRAMES)
    place = rng.normal([0, 2, 0], 1, (FRAMES, 3))
    return Movement("walks/far#0", FPS, orient, pose, rng.normal(0, 1, 10), place)


def posed(body: Body, movement: Movement) -> BodyOutput:
    parts = (movement.global_orient, movement.body_pose, np.tile(movement.betas, (FRAMES, 1)), movement.transl)
    with torch.inference_mode():
        return body(*(torch.from_numpy(np.array(part)) for part in parts))


# ---- BVH, read by a reader that knows no more of it than its grammar -----------------------------------------------


def read_bvh(text: str) -> tuple[list[str], list[int], np.ndarray, list[list[str]], float, np.ndarray]:
    """Names, parents, offsets (J, 3), channels, seconds a frame, and all frames' numbers; tips count as joints."""
    head, tail = text.split("MOTION")
    names: list[str] = []
    parents: list[int] = []
    offsets, channels, open_joints = [], [], []
    for line in head.splitlines():
        words = line.split()
        if words and words[0] in ("ROOT", "JOINT", "End"):
            names.append(words[1])
            parents.append(open_joints[-1] if open_joints else -1)
            channels.append([])
            open_joints.append(len(names) - 1)
        elif words and words[0] == "OFFSET":
            offsets.append([float(word) for word in words[1:]])
        elif words and words[0] == "CHANNELS":
            channels[-1] = words[2:]
            assert int(words[1]) == len(words) - 2
        elif words and words[0] == "}":
            open_joints.pop()
    frames, seconds = (re.search(rf"{key}: (\S+)", tail) for key in ("Frames", "Frame Time"))
    assert frames and seconds and not open_joints
    rows = np.array([line.split() for line in tail.splitlines()[3:]], float)
    assert len(rows) == int(frames[1])
    return names, parents, np.array(offsets), channels, float(seconds[1]), rows


def bvh_joints(text: str) -> dict[str, np.ndarray]:
    """Where every joint is in every frame (L, 3), by its name."""
    names, parents, offsets, channels, _, rows = read_bvh(text)
    found: dict[str, np.ndarray] = {}
    turned: list[Rotation] = []
    placed: list[np.ndarray] = []
    at = 0
    for joint, name in enumerate(names):
        values = rows[:, at : (at := at + len(channels[joint]))]
        turn, move = Rotation.identity(len(rows)), np.tile(offsets[joint], (len(rows), 1))
        for channel, column in zip(channels[joint], values.T, strict=True):
            if channel.endswith("position"):
                move[:, "XYZ".index(channel[0])] += column
            else:
                turn = turn * Rotation.from_euler(channel[0].lower(), column[:, None], degrees=True)
        parent = parents[joint]
        placed.append(move if parent < 0 else placed[parent] + turned[parent].apply(move))
        turned.append(turn if parent < 0 else turned[parent] * turn)
        found[name] = placed[-1]
    return found


def test_a_bvh_moves_as_the_body_does(body: Body, movement: Movement) -> None:
    text = bvh(body, movement)
    expected = posed(body, movement).joints3d.numpy()
    found = bvh_joints(text)
    assert set(found) == {*SMPL24.joints, "Site"}
    for joint, name in enumerate(SMPL24.joints):
        np.testing.assert_allclose(found[name], expected[:, joint], atol=1e-4)
    assert read_bvh(text)[4] == pytest.approx(1 / FPS)


def test_last_bones_of_a_bvh_end_at_the_skin(body: Body, movement: Movement) -> None:
    names, parents, offsets, _, _, _ = read_bvh(bvh(body, movement))
    ends = {names[parents[at]]: np.linalg.norm(offsets[at]) for at, name in enumerate(names) if name == "Site"}
    assert set(ends) == {"left_foot", "right_foot", "head", "left_hand", "right_hand"}
    assert all(0.03 < length < 0.4 for length in ends.values())


# ---- glTF ----------------------------------------------------------------------------------------------------------


def array_of(document: pygltflib.GLTF2, number: int) -> np.ndarray:
    """An accessor's numbers, as the specification lays them out."""
    accessor = document.accessors[number]
    view = document.bufferViews[accessor.bufferView]
    kind = {5126: np.float32, 5121: np.uint8, 5125: np.uint32}[accessor.componentType]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
    return np.frombuffer(document.binary_blob(), kind, accessor.count * width, view.byteOffset).reshape(-1, width)


def skinned(document: pygltflib.GLTF2, animation: pygltflib.Animation) -> Iterator[np.ndarray]:
    """The vertices (V, 3) of every frame, by the specification alone."""
    (primitive,), skin = document.meshes[0].primitives, document.skins[0]
    points = array_of(document, primitive.attributes.POSITION)
    joints, weights = (array_of(document, getattr(primitive.attributes, f"{n}_0")) for n in ("JOINTS", "WEIGHTS"))
    inverse = array_of(document, skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    parent = {child: at for at, node in enumerate(document.nodes) for child in node.children or ()}
    tracks = {}
    for channel in animation.channels:
        sampler = animation.samplers[channel.sampler]
        tracks[channel.target.node, channel.target.path] = array_of(document, sampler.output)
    for frame in range(len(array_of(document, animation.samplers[0].input))):
        world: dict[int, np.ndarray] = {}
        for node in skin.joints:  # parents come before their children
            local = np.eye(4)
            local[:3, :3] = Rotation.from_quat(tracks[node, "rotation"][frame]).as_matrix()
            local[:3, 3] = tracks.get((node, "translation"), {frame: document.nodes[node].translation})[frame]
            world[node] = world[parent[node]] @ local if node in parent else local
        move = np.stack([world[node] for node in skin.joints]) @ inverse
        blended = np.einsum("vk,vkab->vab", weights, move[joints])
        yield np.einsum("vab,vb->va", blended, np.column_stack([points, np.ones(len(points))]))[:, :3]


def test_a_glb_moves_as_the_body_does(body: Body, movement: Movement) -> None:
    second = evolve(movement, name="stands", transl=movement.transl[:1].repeat(FRAMES, 0))
    document = pygltflib.GLTF2.load_from_bytes(glb(body, [movement, second]))
    assert [animation.name for animation in document.animations] == ["walks/far#0", "stands"]
    assert len(document.meshes) == len(document.skins) == 1
    assert [document.nodes[joint].name for joint in document.skins[0].joints] == list(SMPL24.joints)
    for animation, expected in zip(document.animations, (movement, second), strict=True):
        times = array_of(document, animation.samplers[0].input)[:, 0]
        np.testing.assert_allclose(times, np.arange(FRAMES) / FPS, atol=1e-6)
        vertices = posed(body, expected).vertices.numpy()
        apart = np.linalg.norm(np.stack(list(skinned(document, animation))) - vertices, axis=-1)
        few = ((body.weights > 0).sum(dim=1) <= 4).numpy()
        assert apart[:, few].max() < 1e-4 and apart.max() < 0.02  # the others follow five joints


def test_a_glb_blends_without_turning_round(body: Body, movement: Movement) -> None:
    document = pygltflib.GLTF2.load_from_bytes(glb(body, [movement]))
    (animation,) = document.animations
    for channel in (channel for channel in animation.channels if channel.target.path == "rotation"):
        turns = array_of(document, animation.samplers[channel.sampler].output)
        assert (np.sum(turns[1:] * turns[:-1], axis=1) >= 0).all()


def test_trimesh_sees_a_person_in_metres(body: Body) -> None:
    still = Movement("rests", FPS, np.zeros((1, 3)), np.zeros((1, 23, 3)), np.zeros(10), np.zeros((1, 3)))
    scene: Any = trimesh.load(io.BytesIO(glb(body, [still])), file_type="glb")
    (mesh,) = scene.geometry.values()
    assert len(mesh.faces) == len(body.faces)
    width, height, depth = np.ptp(mesh.vertices, axis=0)
    assert 1.5 < height < 2.0 and width > 1.2 and depth < 0.6
    assert 0.04 < mesh.volume < 0.12  # cubic metres; negative if it were inside out


def test_one_glb_holds_one_shape(body: Body, movement: Movement) -> None:
    with pytest.raises(UserError, match="one body"):
        glb(body, [movement, evolve(movement, betas=np.zeros(10))])
    with pytest.raises(UserError, match="one movement at least"):
        glb(body, [])


# ---- AMASS ---------------------------------------------------------------------------------------------------------


def test_amass_has_z_up_and_the_same_joints(body: Body, movement: Movement) -> None:
    found = np.load(io.BytesIO(amass(body, movement)), allow_pickle=False)
    assert {name: found[name].shape for name in ("poses", "trans", "betas", "dmpls")} == {
        "poses": (FRAMES, 156), "trans": (FRAMES, 3), "betas": (16,), "dmpls": (FRAMES, 8),
    }  # fmt: skip
    assert found["mocap_framerate"] == FPS and str(found["gender"]) == "neutral"
    assert not found["betas"].any()  # the free body's shapes are not SMPL-H's
    np.testing.assert_array_equal(found["free_betas"], movement.betas)
    pose = np.zeros((FRAMES, 23, 3), np.float32)
    pose[:, :21] = found["poses"].reshape(FRAMES, 52, 3)[:, 1:22]
    again = evolve(movement, global_orient=found["poses"][:, :3], body_pose=pose, transl=found["trans"])
    expected, joints = (posed(body, one).joints3d.numpy()[:, :22] for one in (movement, again))
    np.testing.assert_allclose(joints[..., [0, 2]] * [1, 1], expected[..., [0, 1]], atol=1e-4)
    np.testing.assert_allclose(joints[..., 1], -expected[..., 2], atol=1e-4)


def test_smpl_shapes_are_kept_for_smpl(movement: Movement) -> None:
    smpl = load_body()
    smpl.shape_space = "smpl"
    found = np.load(io.BytesIO(amass(smpl, movement)), allow_pickle=False)
    np.testing.assert_array_equal(found["betas"], np.pad(movement.betas, (0, 6)))


# ---- where movements come from -------------------------------------------------------------------------------------


def test_motions_keep_their_way_and_their_floor(body: Body) -> None:
    rest = rest_joints(body, np.zeros(10, np.float32))[:22]
    standing = rest - [0, rest[:, 1].min(), 0]
    walk = standing[None] + np.linspace(0, 1, FRAMES)[:, None, None] * np.array([0.0, 0, 2.0])
    (found,) = fit_motions(body, [Motion("m", "s", "walks", walk, fps=20)])
    joints = posed(body, found).joints3d.numpy()[:, :22]
    assert found.name == "m" and found.fps == 20
    np.testing.assert_allclose(joints, walk, atol=0.01)


def camera_params(movement: Movement, body: Body) -> list[SmplParams]:
    """The movement as a camera sees it that stands at the origin and looks along -z."""
    turn = Rotation.from_euler("x", 180, degrees=True)
    rest = rest_joints(body, movement.betas)[0]
    return [
        SmplParams(
            (turn * Rotation.from_rotvec(movement.global_orient[at])).as_rotvec(),
            movement.body_pose[at],
            movement.betas,
            turn.apply(movement.transl[at] + rest) - rest,
        )
        for at in range(FRAMES)
    ]


def test_what_a_camera_saw_is_turned_upright(body: Body, movement: Movement) -> None:
    found = from_camera(body, "track", FPS, camera_params(movement, body))
    expected, joints = (posed(body, one).joints3d.numpy() for one in (movement, found))
    np.testing.assert_allclose(joints, expected, atol=1e-4)


def test_a_clip_stands_on_the_floor_at_the_origin(body: Body, movement: Movement) -> None:
    seen = camera_params(movement, body)
    stacked = [np.stack([getattr(one, name) for one in seen]) for name in ("global_orient", "body_pose", "transl")]
    camera = Camera([500, 500], [50, 50])
    sample = Sample("s", b"", [0, 0, 9, 9], "smpl24", np.zeros((24, 2)), np.zeros(24))
    estimate = PoseEstimate(np.zeros((24, 3)), np.zeros((24, 2)), camera)
    joints = np.zeros((FRAMES, 24, 3))
    plan = ClipPlan("clip", "m", "s", "", sample, estimate, camera, FPS, 0, 0.0, stacked[0], stacked[1],
                    movement.betas, stacked[2], joints, joints[..., :2])  # fmt: skip
    found = of_plan(body, plan)
    vertices = posed(body, found).vertices.numpy()
    assert vertices[..., 1].min() == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(found.roots(body)[0, [0, 2]], 0, atol=1e-5)
    expected = posed(body, movement).vertices.numpy()
    np.testing.assert_allclose(vertices - vertices[:1, :1], expected - expected[:1, :1], atol=2e-4)
