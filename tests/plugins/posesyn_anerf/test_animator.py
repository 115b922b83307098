"""The animator anerf: its people, its pictures, what it refuses, and its networks on engines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_anerf.animator import AnerfAnimator
from posesyn_anerf.cameras import RENDERED, cylinders, pixel_rays, to_c2w
from posesyn_anerf.config import AnerfConfig
from posesyn_anerf.field import Rays, render_rays
from posesyn_anerf.posing import pose
from posesyn_anerf.rendering import Renderer, View
from posesyn_core import Kind, SampleError, UserError
from posesyn_core.authoring.trial import trial
from posesyn_core.body.model import load_body
from posesyn_core.contracts.engines import EngineConfig
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.inference.verification import load, verify_accelerated
from posesyn_core.pipeline.casting import as_reference
from posesyn_core.registry import Registry
from posesyn_core.values import Actor, ClipPlan

SIZE = 48


def animator(**options: Any) -> AnerfAnimator:
    always: dict[str, Any] = {"weights": "random", "size": SIZE, "people": 4, "coarse": 24, "fine": 8}
    return AnerfAnimator(AnerfConfig(**(always | options)))


def plan_of(actor: Actor, turns: int = 2) -> ClipPlan:
    """The actor in the T-pose, and with the arms lowered."""
    reference = as_reference(load_body(), actor)
    smpl = reference.estimate.smpl
    assert smpl is not None
    angles = np.zeros((turns, 23, 3), np.float32)
    angles[1:, 15, 2], angles[1:, 16, 2] = -1.2, 1.2
    skeleton = actor.skeleton if reference.skeleton is None else reference.skeleton
    whole = np.concatenate([np.repeat(smpl.global_orient[None, None], turns, 0), angles], axis=1)
    frames = pose(axis_angle_to_matrix(torch.tensor(whole)), torch.tensor(skeleton), torch.zeros(turns, 3))
    joints = frames[..., :3, 3].numpy() + smpl.transl
    return ClipPlan(
        id="clip", motion_id="m", sample_id="s", caption="", reference=actor.sample, camera=actor.camera, fps=20.0,
        seed=1, reference_estimate=reference.estimate, residual_mm=0.0, global_orient=whole[:, 0], body_pose=angles,
        betas=smpl.betas, transl=np.repeat(smpl.transl[None], turns, 0), joints3d=joints, joints2d=joints[..., :2],
    )  # fmt: skip


def view_of(made: AnerfAnimator, plan: ClipPlan, at: int = 0) -> View:
    skts = made._frames(plan)[at]
    return View(skts, to_c2w(np.eye(4)), plan.camera.focal_length, plan.camera.principal_point, (SIZE, SIZE))


def test_people_stand_upright_in_the_picture_and_turn() -> None:
    made = animator(share=0.7)
    actors = made.actors()
    headings = []
    for actor in actors:
        points = actor.sample.keypoints2d
        assert points[15, 1] < points[0, 1] < points[10, 1]  # head, pelvis, foot
        assert (points > 0).all() and (points < SIZE).all()
        assert np.ptp(points[:, 1]) == pytest.approx(0.7 * SIZE / 1.12, rel=0.05)
        headings.append(points[16, 0] - points[17, 0])
    assert headings[0] > 0 > headings[2] and abs(headings[1]) < 0.2 * headings[0]  # front, side, back
    assert len({actor.sample.id for actor in actors}) == 4


def test_people_are_metres_tall_whatever_the_fields_unit() -> None:
    made = animator()
    (actor, *_) = made.actors()
    body = load_body().rest_joints(torch.zeros(1, 10))[0].numpy()
    np.testing.assert_allclose(actor.skeleton, body - body[:1], atol=1e-5)
    np.testing.assert_allclose(made.rest_pose, 1.7857143 * actor.skeleton, rtol=1e-5)
    assert not actor.smpl.shape_known  # nothing says whose betas they are


def test_the_pelvis_of_a_plan_is_where_its_labels_are() -> None:
    made = animator()
    plan = plan_of(made.actors()[1])
    joints = view_of(made, plan, 1).joints / made.unit
    np.testing.assert_allclose(joints, plan.joints3d[1], atol=2e-3)


def test_pictures_are_those_of_the_published_rendering() -> None:
    made = animator(skip=False)
    view = view_of(made, plan_of(made.actors()[0]))
    colours, opacity = made.renderer.render(view)
    pixels = made.renderer.pixels(view)
    around = cylinders(view.joints[None], RENDERED)
    numbers = (*pixel_rays(view.c2w, pixels, view.focal, view.centre), view.skts, around)
    origins, directions, skts, cylinder = (torch.tensor(np.asarray(n), dtype=torch.float32) for n in numbers)
    count = len(pixels)
    rays = Rays(origins, directions, skts[None].expand(count, -1, -1, -1), cylinder.expand(count, -1))
    with torch.inference_mode():
        expected = render_rays(made.loaded.field, rays, 24, 8).fine
    np.testing.assert_allclose(colours[pixels[:, 1], pixels[:, 0]], expected.rgb.numpy(), atol=1e-5)
    np.testing.assert_allclose(opacity[pixels[:, 1], pixels[:, 0]], expected.acc.numpy(), atol=1e-5)


@pytest.mark.parametrize("chunk", [100, 4096])
def test_what_is_left_out_shows_nothing(chunk: int) -> None:
    """The starter's person, with and without the samples that are left out; in chunks of any size."""
    made = animator(weights="starter", coarse=0, fine=0, chunk=chunk)
    view = view_of(made, plan_of(made.actors()[1]), 1)
    colours, opacity = made.renderer.render(view)
    renderer = made.renderer
    whole = Renderer(made.loaded.field, renderer.coarse, renderer.fine, renderer.reach, skip=False)
    expected, expected_opacity = whole.render(view)
    assert 255 * np.abs(colours - expected).mean() < 1
    assert np.abs(opacity - expected_opacity).mean() < 1 / 255
    assert len(renderer.pixels(view)) < 0.7 * len(whole.pixels(view))
    assert opacity[SIZE // 2, SIZE // 2] > 0.5  # somebody is there


def test_frames_have_the_picture_behind_them(tmp_path: Path) -> None:
    checked = np.kron(np.indices((6, 9)).sum(0) % 2, np.ones((20, 20)))[..., None] * np.array([200, 100, 50])
    for name in ("b10", "b2"):
        (tmp_path / f"{name}.png").write_bytes(encode_png(checked.astype(np.uint8)))
    made = animator(weights="starter", background=str(tmp_path), coarse=0, fine=0)
    actor = made.actors()[0]
    behind = load_image(actor.sample.image)
    assert behind.shape == (SIZE, SIZE, 3) and behind.max() == 200
    first, second = made.animate(plan_of(actor))
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first[0], behind[0])  # nobody reaches the edge
    assert (first != behind).any() and (first != second).any()


@pytest.mark.parametrize("background", ["nowhere", "empty"])
def test_a_background_must_be_there(tmp_path: Path, background: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is neither white, black, a picture nor a folder with pictures"):
        animator(background=str(tmp_path / background)).actors()


def test_a_skeleton_out_of_reach_is_refused() -> None:
    with pytest.raises(UserError, match=r"out of the field's reach: .* set the animator's 'unit'"):
        animator(unit=17.86)


def test_a_plan_of_another_skeleton_is_refused() -> None:
    made = animator()
    plan = plan_of(made.actors()[0])
    for wrong, reason in (
        (evolve(plan, joints3d=plan.joints3d * 1.2), "of another skeleton than the field's"),
        (evolve(plan, body_pose=np.full_like(plan.body_pose, np.nan)), "numbers that are not finite"),
    ):
        with pytest.raises(SampleError, match=reason):
            list(made.animate(wrong))


def test_a_skeleton_may_come_from_a_file(tmp_path: Path) -> None:
    rest = 1.1 * animator().rest_pose
    np.savez(tmp_path / "rest.npz", rest_pose=rest[None])
    np.testing.assert_allclose(animator(skeleton=str(tmp_path / "rest.npz")).rest_pose, rest, rtol=1e-6)
    np.savez(tmp_path / "wrong.npz", rest_pose=rest[:3])
    with pytest.raises(UserError, match="must be an npz with rest_pose"):
        animator(skeleton=str(tmp_path / "wrong.npz"))


def test_it_fits_its_protocol() -> None:
    registry = Registry.discover()
    findings = list(trial(registry, Kind.ANIMATOR, "anerf", {"size": SIZE}))
    assert findings and all(finding.passed for finding in findings), findings


@pytest.mark.parametrize("weights", ["random", "starter"])
def test_an_engine_takes_the_networks_over(weights: str) -> None:
    made = animator(weights=weights)
    plan = plan_of(made.actors()[0], turns=1)
    (expected,) = made.animate(plan)
    networks = made.networks()
    assert [network.name for network in networks] == ["coarse"] * (weights == "random") + ["fine", "colour"]
    engine = TorchEngine(EngineConfig(batch=(1, 2)))
    assert verify_accelerated(made, networks, load(networks, engine), "fp32").accepted
    (found,) = made.animate(plan)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_networks_run_on_onnx_runtime() -> None:
    pytest.importorskip("posesyn_onnx.engine")
    made = animator()
    plan = plan_of(made.actors()[0], turns=1)
    (expected,) = made.animate(plan)
    engine = Registry.discover().create(Kind.ENGINE, "onnx", {"batch": [1, 2]}, "test")
    networks = made.networks()
    assert verify_accelerated(made, networks, load(networks, engine), "fp32").accepted
    (found,) = made.animate(plan)
    assert np.abs(found.astype(int) - expected).max() <= 1
