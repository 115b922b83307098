"""Labels are right by construction: joints measured in the drawn frames themselves are where the labels say."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from posesyn_core.body.model import Body, load_body
from posesyn_core.geometry.cameras import project
from posesyn_core.values import Camera, ClipPlan, PoseEstimate, Sample, SmplParams
from posesyn_reprojection.animator import ReprojectionAnimator
from posesyn_reprojection.config import ReprojectionConfig
from posesyn_reprojection.lifting import Person

SIZE = (400, 360)
CAMERA = Camera([620.0, 640.0], [171.3, 207.6])
LIMBS = {15: 80, 18: 80, 19: 80}
"""Head and elbows: the surface below each of them moves with that joint alone, and so many pixels must show it for a
measurement."""
DARKEST, SHADES = 20, 230


def plan_of(body: Body, count: int) -> ClipPlan:
    """Random poses, turns and places of one person, all of it in the image."""
    rng = np.random.default_rng(11)
    half = rng.uniform(-np.pi, np.pi, count) / 2
    orient = np.pi * np.stack([np.cos(half), np.zeros(count), -np.sin(half)], axis=1)
    pose, betas = rng.normal(0, 0.25, (count, 23, 3)), rng.normal(0, 0.7, 10)
    transl = rng.normal([0, -0.3, 4.2], [0.05, 0.05, 0.3], (count, 3))
    tensors = (torch.tensor(a, dtype=torch.float32) for a in (orient, pose, np.tile(betas, (count, 1)), transl))
    joints = body.joints(*tensors).numpy()
    pixels = project(joints, CAMERA.focal_length, CAMERA.principal_point)
    estimate = PoseEstimate(
        joints[0] - joints[0, :1], pixels[0], CAMERA, SmplParams(orient[0], pose[0], betas, transl[0])
    )
    box = np.concatenate([pixels[0].min(0), pixels[0].max(0)])
    reference = Sample("r", b"", box, "smpl24", pixels[0], np.ones(24), CAMERA)
    return ClipPlan(
        "c", "m", "s", "", reference, estimate, CAMERA, 20.0, 0, 0.0, orient, pose, betas, transl, joints, pixels
    )


def shades(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Places (N, 3) between ``low`` and ``high`` as colours."""
    return (DARKEST + SHADES * (places - low) / (high - low)).astype(np.float32)


def places(colours: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The inverse."""
    return (colours.astype(np.float64) - DARKEST) / SHADES * (high - low) + low


def painted(colours: np.ndarray, faces: int) -> Person:
    """Somebody whose vertices have these colours, before black."""
    return Person(
        background=np.zeros((*SIZE, 3), np.uint8),
        texture=np.zeros((4, 4, 3), np.uint8),
        uv=np.zeros((faces, 3, 2), np.float32),
        trust=np.zeros((len(colours), 1), np.float32),
        colours=colours,
    )


def drawn(plan: ClipPlan, person: Person, monkeypatch: pytest.MonkeyPatch) -> Iterator[np.ndarray]:
    """The animator's frames of such a person."""
    animator = ReprojectionAnimator(ReprojectionConfig())
    monkeypatch.setattr(animator, "_person", lambda *_: person)
    return animator.animate(plan)


def joint_in_image(seen: np.ndarray, pixels: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Where a joint is (2,): the ``pixels`` (N, 2) that show the points ``seen`` (N, 3) of a limb at rest give that
    limb's rotation and place before the camera, and these the joint's, (3,) at rest."""
    (fx, fy), (cx, cy) = CAMERA.focal_length.astype(float), CAMERA.principal_point.astype(float)
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    kept = np.ones(len(seen), bool)
    for _ in range(3):  # a pixel that shows two limbs is neither's
        found, turn, place = cv2.solvePnP(seen[kept], pixels[kept], matrix, None, flags=cv2.SOLVEPNP_SQPNP)
        assert found
        off = np.linalg.norm(cv2.projectPoints(seen, turn, place, matrix, None)[0][:, 0] - pixels, axis=1)
        kept = off < max(0.5, float(np.median(off)))
    return cv2.projectPoints(joint[None], turn, place, matrix, None)[0].reshape(2)


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_joints_measured_in_the_drawn_frames_are_the_stored_ones(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame is drawn twice: with colours that tell which limb a pixel shows, and finer where on that limb."""
    body = load_body()
    plan, faces, weights = plan_of(body, count), len(body.faces), body.weights.numpy()
    betas = torch.tensor(np.array(plan.betas))[None]
    rest = (body.v_template + torch.einsum("bk,vak->bva", betas, body.shapedirs)[0]).numpy()
    joints = body.rest_joints(betas)[0].numpy()
    whole = rest.min(0), rest.max(0)
    own = [weights.argmax(1) == joint for joint in range(24)]
    bounds = [(rest[at].min(0), rest[at].max(0)) if at.any() else whole for at in own]
    fine = np.zeros_like(rest)
    for at, bound in zip(own, bounds, strict=True):
        fine[at] = shades(rest[at], *bound)
    limbs = {joint: cKDTree(rest[weights[:, joint] > 0.99]) for joint in LIMBS}
    first, second = (
        drawn(plan, painted(shades(rest, *whole), faces), monkeypatch),
        drawn(plan, painted(fine, faces), monkeypatch),
    )
    errors = []
    for rough, exact, stored in zip(first, second, plan.joints3d, strict=True):
        expected = project(stored, plan.camera.focal_length, plan.camera.principal_point)
        mixed = cv2.morphologyEx(rough, cv2.MORPH_GRADIENT, np.ones((3, 3))).max(axis=-1) > 8
        rows, columns = np.nonzero(rough.all(axis=-1) & ~mixed)
        about = places(rough[rows, columns], *whole)
        for joint, limb in limbs.items():
            at = limb.query(about, distance_upper_bound=0.015)[0] < 0.015
            if at.sum() >= LIMBS[joint]:
                pixels = np.stack([columns[at], rows[at]], axis=1).astype(np.float64)
                seen = places(exact[rows[at], columns[at]], *bounds[joint])
                errors.append(np.linalg.norm(joint_in_image(seen, pixels, joints[joint]) - expected[joint]))
    assert len(errors) > count / 4
    assert np.max(errors) < 1
