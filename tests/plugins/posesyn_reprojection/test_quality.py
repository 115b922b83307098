"""What animated frames look like: soft outlines, plausible hidden sides, no background on bodies, no ghosts."""

from functools import cache

import cv2
import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.body.model import load_body
from posesyn_core.body.render import composite, render, window
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.cameras import project
from posesyn_core.seeds import rng
from posesyn_core.values import Camera, Image, PoseEstimate, Sample, SmplParams
from posesyn_reprojection.animator import ReprojectionAnimator, draw
from posesyn_reprojection.config import ReprojectionConfig
from posesyn_reprojection.lifting import Person, Surface
from posesyn_starter.appearance import Figure, draw_look
from posesyn_starter.poses import sample_poses
from posesyn_starter.scenery import draw_background
from posesyn_starter.world import draw_view, person_box, place_people, render_person

BODY = load_body()
FACES = BODY.faces.numpy().astype(np.int32)
SURFACE = Surface(BODY)
SIZE = (260, 220)
CAMERA = Camera([430.0, 430.0], [109.5, 129.5])
WALL = np.array([235.0, 20.0, 235.0])
DRESS = {"arm": [30, 170, 60], "hand": [30, 170, 60], "leg": [40, 60, 200], "foot": [40, 60, 200], "": [190, 60, 40]}
"""Arms green, legs blue, all else red, before a wall of magenta."""


def dress_of_faces() -> np.ndarray:
    """(F, 3) colours."""
    names = np.array(BODY.part_names)[BODY.part_labels.numpy()]
    return np.array([next(c for word, c in DRESS.items() if word in name) for name in names], np.float32)


def smpl(turn: float) -> SmplParams:
    """Somebody with the arms half down, turned by ``turn`` radians from facing the camera."""
    pose = np.zeros((23, 3), np.float32)
    pose[15, 2], pose[16, 2] = -0.8, 0.8
    orient = np.pi * np.array([np.cos(turn / 2), 0, -np.sin(turn / 2)])
    return SmplParams(orient, pose, np.zeros(10), [0.0, -0.3, 3.9])


def posed(params: SmplParams) -> tuple[np.ndarray, np.ndarray]:
    arrays = (params.global_orient, params.body_pose, params.betas, params.transl)
    found = BODY(*(torch.tensor(np.array(array))[None] for array in arrays))
    return found.vertices[0].numpy(), found.joints3d[0].numpy()


def estimate_of(params: SmplParams, camera: Camera) -> PoseEstimate:
    joints = posed(params)[1]
    return PoseEstimate(
        joints - joints[:1], project(joints, camera.focal_length, camera.principal_point), camera, params
    )


def photograph(params: SmplParams) -> tuple[Sample, PoseEstimate]:
    fine = SIZE[0] * 2, SIZE[1] * 2
    seen = render(posed(params)[0], FACES, window(CAMERA, (0, 0), SIZE, fine), fine)
    wall = np.broadcast_to(WALL, (*SIZE, 3)).astype(np.uint8)
    image = encode_png(composite(seen, dress_of_faces()[seen.face], wall))
    estimate = estimate_of(params, CAMERA)
    box = np.concatenate([estimate.joints2d.min(0), estimate.joints2d.max(0)])
    return Sample(f"{params.global_orient}", image, box, "smpl24", estimate.joints2d, np.ones(24)), estimate


@pytest.mark.parametrize("seen_from", [0.0, np.pi / 2])
def test_hidden_sides_take_the_colours_of_their_like_and_never_the_walls(seen_from: float) -> None:
    """Seen from the front, or from the left with the right arm and leg hidden; drawn from everywhere."""
    reference, estimate = photograph(smpl(seen_from))
    person = ReprojectionAnimator(ReprojectionConfig())._person(reference, estimate)
    for turn in seen_from + np.linspace(0, 2 * np.pi, 8, endpoint=False):
        vertices = posed(smpl(turn))[0]
        frame = draw(person, SURFACE, vertices, CAMERA, 640).astype(float)
        seen = render(vertices, FACES, CAMERA, SIZE)
        expected = seen.dense(dress_of_faces()[seen.face])
        inner = cv2.erode(seen.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        off = np.linalg.norm(frame - expected, axis=-1)[inner]
        assert (off < 60).mean() > 0.9  # the seams between the colours are not to the pixel
        assert (np.linalg.norm(frame - WALL, axis=-1)[inner] < 100).mean() < 0.002


@pytest.mark.parametrize("resolution", [90, 200, 210, 300, 600])
def test_outlines_are_soft_at_any_size(resolution: int) -> None:
    count = len(BODY.v_template)
    white = Person(
        background=np.zeros((*SIZE, 3), np.uint8),
        texture=np.zeros((4, 4, 3), np.uint8),
        uv=np.zeros((len(FACES), 3, 2), np.float32),
        trust=np.zeros((count, 1), np.float32),
        colours=np.full((count, 3), 250.0, np.float32),
    )
    vertices = posed(smpl(0.0))[0]
    share = draw(white, SURFACE, vertices, CAMERA, resolution)[..., 0] / 250.0
    fine = SIZE[0] * 4, SIZE[1] * 4
    truth = render(vertices, FACES, window(CAMERA, (0, 0), SIZE, fine), fine).mask.astype(np.float32)
    truth = cv2.resize(truth, SIZE[::-1], interpolation=cv2.INTER_AREA)
    partly = (truth > 0.2) & (truth < 0.8)
    assert ((share > 0.03) & (share < 0.97))[partly].mean() > 0.85
    assert share.sum() == pytest.approx(truth.sum(), rel=0.03)
    assert np.abs(share - truth)[partly].mean() < 0.25


@cache
def scene(part: str, number: int) -> tuple[Image, Image, Sample, PoseEstimate]:
    """A rendered photograph of a dressed person, the same without the person, and a person estimated a little off."""
    size, generator = 224, rng(5, f"{part}/{number}", "scene")
    poses = sample_poses(part, 1, generator)
    betas = generator.normal(0, 0.8, (1, 10)).astype(np.float32)
    people = place_people(BODY, poses.root, poses.body_pose, betas, poses.lift, part, size, generator)
    figure, view = Figure.of(BODY), draw_view(people, 0, generator)
    empty = draw_background(view, part, generator)
    image = render_person(figure, people.vertices[0], draw_look(figure, generator), view, empty)
    joints2d = project(people.joints3d[0], view.camera.focal_length, view.camera.principal_point)
    box = np.clip(person_box(people.vertices[0], view.camera), 0, size - 1)
    sample = Sample(f"{part}/{number}", encode_png(image), box, "smpl24", joints2d, np.ones(24))
    pose = people.body_pose[0] + generator.normal(0, 0.12, (23, 3))
    transl = people.transl[0] + generator.normal(0, 0.02, 3)
    return (
        image,
        empty,
        sample,
        estimate_of(SmplParams(people.global_orient[0], pose, np.zeros(10), transl), view.camera),
    )


def test_removed_people_leave_no_ghost() -> None:
    """What fills a person's place is told by the surroundings, not by the person: no share of the person's colours is
    left in it, pixel by pixel or on average."""
    shares, levels = [], []
    animator = ReprojectionAnimator(ReprojectionConfig())
    for part, number in ((part, number) for part in ("lab", "wild") for number in range(5)):
        image, empty, sample, estimate = scene(part, number)
        background = animator._person(sample, estimate).background
        person = (image != empty).any(axis=-1)
        assert (background != image).any(axis=-1)[person].mean() > 0.985  # some pixels are right by chance
        filled, theirs, truth = (array[person].astype(float) for array in (background, image, empty))
        known = np.stack([theirs.ravel(), truth.ravel(), np.ones(theirs.size)], axis=1)
        shares.append(np.linalg.lstsq(known, filled.ravel(), rcond=None)[0][0])
        contrast = theirs.mean(axis=0) - truth.mean(axis=0)
        levels.append((filled.mean(axis=0) - truth.mean(axis=0)) @ contrast / (contrast @ contrast))
    assert abs(np.mean(shares)) < 0.05 and np.max(np.abs(shares)) < 0.2
    assert abs(np.mean(levels)) < 0.1 and np.max(np.abs(levels)) < 0.35


def test_the_estimates_joints_are_those_of_its_body() -> None:
    """The labels pull the body where they are even if an estimator's 2D joints are not those of its body."""
    reference, estimate = photograph(smpl(0.0))
    odd = evolve(estimate, joints2d=estimate.joints2d + 7)
    animator = ReprojectionAnimator(ReprojectionConfig())
    np.testing.assert_array_equal(
        animator._person(reference, odd).texture, animator._person(reference, estimate).texture
    )
