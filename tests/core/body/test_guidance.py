"""Guidance maps of a plan: only what is wanted, and joints where the labels say."""

import cv2
import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.body.guidance import GUIDANCE, Surface, body_keypoints, guidance_maps, part_colours
from posesyn_core.body.model import Body, load_body
from posesyn_core.body.planning import posed_vertices
from posesyn_core.body.render import render
from posesyn_core.geometry.cameras import project
from posesyn_core.values import Camera, ClipPlan, PoseEstimate, Sample, SmplParams

SIZE = (160, 120)
CAMERA = Camera([260.0, 260.0], [59.5, 79.5])
BODY: Body = load_body()


def plan(frames: int, turn: float = 0.0, spread: float = 0.25) -> ClipPlan:
    """Random poses of a person about 3.8 m away, turned by ``turn`` radians from facing the camera."""
    rng = np.random.default_rng(3)
    orient = np.repeat([[np.pi * np.cos(turn / 2), 0, -np.pi * np.sin(turn / 2)]], frames, axis=0)
    pose = rng.normal(0, spread, (frames, 23, 3))
    betas, transl = rng.normal(0, 0.7, 10), rng.normal([0, -0.3, 3.8], 0.05, (frames, 3))
    tensors = (torch.tensor(a, dtype=torch.float32) for a in (orient, pose, np.tile(betas, (frames, 1)), transl))
    joints = BODY.joints(*tensors).numpy()
    pixels = project(joints, CAMERA.focal_length, CAMERA.principal_point)
    estimate = PoseEstimate(
        joints[0] - joints[0, :1], pixels[0], CAMERA, SmplParams(orient[0], pose[0], betas, transl[0])
    )
    reference = Sample("r", b"", [0, 0, 119, 159], "smpl24", pixels[0], np.ones(24), CAMERA)  # type: ignore[arg-type]
    return ClipPlan(
        "c", "m", "s", "", reference, estimate, CAMERA, 20.0, 0, 0.0, orient, pose, betas, transl, joints, pixels
    )


def test_only_the_wanted_maps_are_made() -> None:
    (only,) = guidance_maps(BODY, plan(1), SIZE, ("normal",))
    (every,) = guidance_maps(BODY, plan(1), SIZE)
    assert list(only) == ["normal"] and tuple(every) == GUIDANCE
    np.testing.assert_array_equal(only["normal"], every["normal"])
    assert all(image.shape == (*SIZE, 3) and image.dtype == np.uint8 for image in every.values())
    with pytest.raises(ValueError, match="no guidance outline"):
        next(guidance_maps(BODY, plan(1), SIZE, ("outline",)))


def test_ranges_and_axes() -> None:
    (maps,) = guidance_maps(BODY, plan(1, spread=0), SIZE)
    covered = maps["normal"].any(axis=-1)
    assert maps["depth"].max() == 255 and maps["depth"][covered].min() == 0 and not maps["depth"][~covered].any()
    normal = maps["normal"][covered].astype(float)
    assert (normal[:, 2] > 120).mean() > 0.98 and normal[:, 2].mean() > 190  # what is seen faces the camera
    row, column = np.nonzero(covered)
    for at in range(46, 82, 6):  # red: the trunk's left outline faces left, its right one right
        ends = column[row == at]
        assert maps["normal"][at, ends.min(), 0] < 60 and maps["normal"][at, ends.max(), 0] > 200
    top = maps["normal"][row.min(), column[row == row.min()]]
    assert top[:, 1].mean() > 200


def test_stored_joints_are_the_rendered_bodys_joints_on_500_frames() -> None:
    """Item by item: the posed surface's own joints, projected, against the labels."""
    drawn = plan(500)
    betas = np.tile(drawn.betas, (500, 1))
    tensors = (torch.tensor(np.array(a)) for a in (drawn.global_orient, drawn.body_pose, betas, drawn.transl))
    with torch.inference_mode():
        joints = BODY(*tensors).joints3d.numpy()
    seen = project(joints, drawn.camera.focal_length, drawn.camera.principal_point)
    stored = project(drawn.joints3d, drawn.camera.focal_length, drawn.camera.principal_point)
    assert np.linalg.norm(seen - stored, axis=-1).max() < 1
    assert np.linalg.norm(drawn.joints2d - stored, axis=-1).max() < 0.01


def regressed_joints(vertices: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """Joints (L, 24, 3) of drawn surfaces (L, V, 3) alone: skinning is linear in the joints' transforms, so least
    squares over all vertices finds these, whatever poses they came from."""
    shape = torch.tensor(betas, dtype=torch.float32)[None]
    rest = (BODY.v_template + torch.einsum("bk,vak->bva", shape, BODY.shapedirs)[0]).double().numpy()
    joints = BODY.rest_joints(shape)[0].double().numpy()
    places = np.concatenate([rest, np.ones((len(rest), 1))], axis=1)
    skinned = (BODY.weights.double().numpy()[:, :, None] * places[:, None]).reshape(len(rest), 24 * 4)
    transforms = np.einsum("tv,lvc->ltc", np.linalg.pinv(skinned), vertices).reshape(-1, 24, 4, 3)
    return np.einsum("jt,ljtc->ljc", np.concatenate([joints, np.ones((24, 1))], axis=1), transforms)


def painted_parts(vertices: np.ndarray, surface: Surface) -> np.ndarray:
    """The body parts as a painter would draw them, triangles from far to near: 0 = background, 1 + a joint's number =
    moved most by that joint, 255 = between two of them."""
    pixels = np.rint(16 * project(vertices, CAMERA.focal_length, CAMERA.principal_point)).astype(np.int32)
    canvas = np.zeros(SIZE, np.uint8)
    for face in surface.faces[np.argsort(-vertices[surface.faces, 2].mean(axis=1))]:
        labels = surface.labels[face]
        part = int(labels[0]) + 1 if (labels == labels[0]).all() else 255
        cv2.fillConvexPoly(canvas, pixels[face], part, cv2.LINE_8, 4)
    return canvas


@pytest.mark.parametrize("count", [6, pytest.param(500, marks=pytest.mark.slow)])
def test_the_maps_show_the_surface_whose_joints_are_stored(count: int) -> None:
    """From the labels to the drawn surface, and from there to the maps, neither by the formula that made them."""
    clip, surface = plan(count), Surface.of(BODY)
    surfaces = np.stack(list(posed_vertices(BODY, clip)))
    seen = project(regressed_joints(surfaces, clip.betas), clip.camera.focal_length, clip.camera.principal_point)
    stored = project(clip.joints3d, clip.camera.focal_length, clip.camera.principal_point)
    assert np.linalg.norm(seen - stored, axis=-1).max() < 0.1
    shares = []
    for vertices, maps in zip(surfaces, guidance_maps(BODY, clip, SIZE, ("semantic_map",)), strict=True):
        painted = painted_parts(vertices, surface)
        for part in np.unique(painted[(painted > 0) & (painted < 255)]):
            ours = (maps["semantic_map"] == part_colours()[part - 1]).all(axis=-1)
            theirs = painted == part
            if ours.sum() > 60:
                shares += [_within_a_pixel(ours, theirs), _within_a_pixel(theirs, ours)]
    assert len(shares) > 10 * count
    assert np.min(shares) > 0.9 and np.mean(shares) > 0.99


def _within_a_pixel(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The share of one mask that lies in the other, or in a pixel beside it."""
    return float(cv2.dilate(theirs.astype(np.uint8), np.ones((3, 3), np.uint8))[ours].mean())


def test_the_maps_show_the_labelled_joints() -> None:
    clip = plan(6)
    for maps, joints in zip(guidance_maps(BODY, clip, SIZE), clip.joints2d, strict=True):
        column, row = joints[[1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21]].astype(int).T
        inside = (row < SIZE[0]) & (column < SIZE[1]) & (row >= 0) & (column >= 0)
        shown = maps["normal"][row[inside], column[inside]].any(axis=-1)
        assert shown.mean() > 0.9  # an ankle's or a wrist's joint may lie on the outline
        assert (maps["dwpose"][row[inside], column[inside]].max(axis=-1) == 255).all()  # the discs of the joints


def test_face_points_are_drawn_only_where_they_are_seen() -> None:
    surface = Surface.of(BODY)
    counts = []
    for turn in (0.0, np.pi):
        clip = plan(1, turn, spread=0)
        (vertices,) = posed_vertices(BODY, clip)
        seen = render(vertices, surface.faces, CAMERA, SIZE)
        _, scores = body_keypoints(surface, vertices, clip.joints2d[0], CAMERA, seen)
        counts.append(int(scores[:3].sum()))
        assert scores[5:17].all() and np.flatnonzero(scores[17:]).tolist() == [0, 1, 3, 4]  # SMPL's feet are toes
    assert counts == [3, 0]  # nose and eyes: from the front, not from behind


def test_a_body_out_of_sight_leaves_the_maps_black() -> None:
    clip = plan(1)
    away = evolve(clip, transl=clip.transl + np.array([50, 0, 0]), joints2d=clip.joints2d + 5000)
    (maps,) = guidance_maps(BODY, away, SIZE)
    assert not any(image.any() for image in maps.values())
