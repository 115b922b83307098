"""The re-projection animator: the person's colours on the posed body, nothing of the person left behind it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.body.model import load_body
from posesyn_core.body.render import composite, diffuse, normals, render, vertex_normals
from posesyn_core.components import Animator
from posesyn_core.errors import SampleError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.geometry.cameras import project
from posesyn_core.values import Camera, ClipPlan, PoseEstimate, Sample, SmplParams
from posesyn_reprojection import animator as module
from posesyn_reprojection.animator import ReprojectionAnimator
from posesyn_reprojection.config import ReprojectionConfig
from posesyn_reprojection.plugin import register_animators

SIZE = (180, 150)
CAMERA = Camera(np.array([300.0, 300.0]), np.array([74.5, 89.5]))
UPRIGHT = np.array([np.pi, 0, 0], np.float32)
RED = np.array([210.0, 40.0, 40.0])


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def animator():
    return ReprojectionAnimator(ReprojectionConfig())


def arms_down() -> np.ndarray:
    pose = np.zeros((23, 3), np.float32)
    pose[15, 2], pose[16, 2] = -1.1, 1.1
    return pose


def smpl(pose: np.ndarray | None = None, depth: float = 3.8, x: float = 0.0) -> SmplParams:
    return SmplParams(UPRIGHT, arms_down() if pose is None else pose, np.zeros(10), np.array([x, -0.3, depth]))


def posed(body, params: SmplParams):
    arrays = (params.global_orient, params.body_pose, params.betas, params.transl)
    out = body(*(torch.tensor(array)[None] for array in arrays))
    return out.vertices[0].numpy(), out.joints3d[0].numpy()


def estimate_of(body, params: SmplParams, camera: Camera = CAMERA) -> PoseEstimate:
    joints = posed(body, params)[1]
    pixels = project(joints, camera.focal_length, camera.principal_point)
    return PoseEstimate(joints - joints[:1], pixels, camera, params)


def photograph(body, params: SmplParams, camera: Camera = CAMERA, size=SIZE) -> np.ndarray:
    """A red body before a grey-green wall."""
    ramp = np.linspace(90, 140, size[1], dtype=np.uint8)
    wall = np.repeat(np.stack([ramp - 20, ramp + 20, ramp], axis=-1)[None], size[0], axis=0)
    vertices, faces = posed(body, params)[0], body.faces.numpy()
    seen = render(vertices, faces, camera, size)
    light = diffuse(normals(seen, faces, vertex_normals(vertices, faces)), np.array([0.3, -0.5, -1]), 0.6)
    return composite(seen, RED * light, wall)


def reference_of(body, params: SmplParams, **change) -> Sample:
    pixels = estimate_of(body, params).joints2d
    box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    image = encode_png(photograph(body, params))
    return evolve(Sample("test/one/0", image, box, "smpl24", pixels, np.ones(24)), **change)


def plan_of(body, reference: Sample, estimate: PoseEstimate, count: int = 4) -> ClipPlan:
    """The person turns and raises the left arm and the left leg."""
    turn = np.linspace(0, 2.5, count)
    pose = np.repeat(arms_down()[None], count, axis=0)
    pose[:, 15, 2] += np.linspace(0, 2, count)
    pose[:, 0, 0] -= np.linspace(0, 1.2, count)
    orient = np.stack([np.pi * np.cos(turn / 2), np.zeros(count), -np.pi * np.sin(turn / 2)], axis=1)
    joints = [
        posed(body, evolve(estimate.smpl, global_orient=o, body_pose=p))[1] for o, p in zip(orient, pose, strict=True)
    ]
    return ClipPlan(
        id="clip",
        motion_id="motion",
        sample_id="hard",
        caption="",
        reference=reference,
        reference_estimate=estimate,
        camera=estimate.camera,
        fps=20.0,
        seed=0,
        residual_mm=0.0,
        global_orient=orient,
        body_pose=pose,
        betas=estimate.smpl.betas,
        transl=np.repeat(estimate.smpl.transl[None], count, axis=0),
        joints3d=np.stack(joints),
        joints2d=project(np.stack(joints), estimate.camera.focal_length, estimate.camera.principal_point),
    )


def is_red(image: np.ndarray) -> np.ndarray:
    red, green, _ = image.astype(int).transpose(2, 0, 1)
    return red - green > 30


def silhouettes(body, plan: ClipPlan, size=SIZE) -> np.ndarray:
    """Where each frame's body must appear (L, H, W)."""
    people = [
        SmplParams(o, p, plan.betas, t) for o, p, t in zip(plan.global_orient, plan.body_pose, plan.transl, strict=True)
    ]
    return np.stack([render(posed(body, p)[0], body.faces.numpy(), plan.camera, size).mask for p in people])


def test_the_plugin_offers_it(animator):
    (component,) = register_animators()
    assert component.name == "reprojection" and isinstance(animator, Animator)


def test_the_body_appears_where_the_labels_say_and_nowhere_else(body, animator):
    plan = plan_of(body, reference_of(body, smpl()), estimate_of(body, smpl()))
    frames = list(animator.animate(plan))
    expected = silhouettes(body, plan)
    assert len(frames) == 4
    for frame, mask, joints in zip(frames, expected, plan.joints2d, strict=True):
        assert frame.shape == (*SIZE, 3) and frame.dtype == np.uint8
        assert is_red(frame)[mask].mean() > 0.97  # one sample per pixel against four: edges differ by a hair
        assert is_red(frame)[~mask].mean() < 0.01
        column, row = np.rint(joints[:22]).astype(int).T
        assert is_red(frame)[row, column].mean() > 0.9  # the silhouette covers the labelled joints
    assert (expected[0] != expected[-1]).mean() > 0.05  # and the poses do differ


def test_an_imperfect_estimate_is_mended_by_the_labels(body, animator):
    rng = np.random.default_rng(4)
    wrong = smpl(arms_down() + rng.normal(0, 0.12, (23, 3)).astype(np.float32), depth=3.9, x=0.03)
    reference = reference_of(body, smpl(), id="test/wrong/0")
    plan = plan_of(body, reference, estimate_of(body, wrong))
    frames, expected = np.stack(list(animator.animate(plan))), silhouettes(body, plan)
    assert is_red(frames.reshape(-1, SIZE[1], 3)).reshape(expected.shape)[expected].mean() > 0.95
    person = animator._person(reference, plan.reference_estimate)
    assert is_red(person.background).mean() < 0.002  # no ghost


def test_without_labels_the_outline_is_found_by_colour(body, animator):
    shifted = estimate_of(body, smpl(x=0.04))
    reference = reference_of(body, smpl(), id="test/unlabelled/0", confidence=np.zeros(24))
    person = animator._person(reference, shifted)
    assert is_red(person.background).mean() < 0.003
    assert is_red(person.texture).mean() > 0.97


def test_the_reference_pose_looks_like_the_reference(body, animator):
    reference, estimate = reference_of(body, smpl(), id="test/same/0"), estimate_of(body, smpl())
    frame = next(iter(animator.animate(plan_of(body, reference, estimate))))
    difference = np.abs(frame.astype(int) - load_image(reference.image).astype(int)).max(axis=-1)
    assert np.median(difference) <= 2 and (difference > 40).mean() < 0.01


def test_a_large_photograph_keeps_its_size(body, animator):
    camera = Camera(np.array([1800.0, 1800.0]), np.array([500.0, 640.0]))
    size = (1280, 1000)
    estimate = estimate_of(body, smpl(), camera)
    image = encode_png(photograph(body, smpl(), camera, size))
    reference = reference_of(body, smpl(), id="test/large/0", image=image, keypoints2d=estimate.joints2d)
    plan = plan_of(body, reference, estimate, count=1)
    (frame,) = animator.animate(plan)
    expected = silhouettes(body, plan, size)[0]
    assert frame.shape == (*size, 3)
    assert is_red(frame)[expected].mean() > 0.97 and is_red(frame)[~expected].mean() < 0.01


def test_threads_share_one_person(body, monkeypatch):
    made = []
    monkeypatch.setattr(module, "lift", lambda *a, lift=module.lift: (made.append(a), lift(*a))[1])
    fresh = ReprojectionAnimator(ReprojectionConfig())
    plan = plan_of(body, reference_of(body, smpl()), estimate_of(body, smpl()), count=2)
    with ThreadPoolExecutor(4) as pool:
        clips = list(pool.map(lambda _: np.stack(list(fresh.animate(plan))), range(4)))
    assert len(made) == 1 and all(np.array_equal(clip, clips[0]) for clip in clips)


def test_only_so_many_people_are_kept(body):
    small = ReprojectionAnimator(ReprojectionConfig(references=2))
    estimate = estimate_of(body, smpl())
    for name in "abc":
        small._person(reference_of(body, smpl(), id=name), estimate)
    assert [name for name, _ in small.people] == ["b", "c"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body, e: evolve(e, smpl=None), "no body"),
        (lambda body, e: estimate_of(body, smpl(x=40.0)), "outside its image"),
        (lambda body, e: evolve(e, smpl=smpl(depth=-4.0)), "behind the camera"),
    ],
)
def test_a_reference_without_a_usable_body_is_refused(body, animator, change, reason):
    estimate = estimate_of(body, smpl())
    reference = reference_of(body, smpl(), id=f"test/{reason}", confidence=np.zeros(24))
    plan = evolve(plan_of(body, reference, estimate), reference_estimate=change(body, estimate))
    with pytest.raises(SampleError, match=reason):
        next(iter(animator.animate(plan)))
