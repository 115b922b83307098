"""Eq. 9: laying a motion onto the reference person's orientation."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_core.method.orientation import Mode, align_orientation, camera_to_y_up, orient_to_camera

seeds = st.integers(0, 2**32 - 1)


def motion(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return Rotation.random(6, rng=rng).as_rotvec(), Rotation.random(rng=rng).as_rotvec()


def matrices(axis_angle: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(axis_angle).as_matrix()


@given(seed=seeds)
def test_anchored_keeps_every_rotation_between_frames(seed: int) -> None:
    orient, initial = motion(seed)
    given, aligned = matrices(orient), matrices(align_orientation(orient, initial))
    np.testing.assert_allclose(aligned[0], matrices(initial), atol=1e-7)
    np.testing.assert_allclose(
        aligned[1:] @ aligned[:-1].transpose(0, 2, 1), given[1:] @ given[:-1].transpose(0, 2, 1), atol=1e-7
    )


@given(seed=seeds)
def test_literal_takes_only_the_rotation_since_the_frame_before(seed: int) -> None:
    orient, initial = motion(seed)
    given, aligned = matrices(orient), matrices(align_orientation(orient, initial, "literal"))
    np.testing.assert_allclose(aligned[0], matrices(initial), atol=1e-7)
    np.testing.assert_allclose(aligned[1:], given[1:] @ given[:-1].transpose(0, 2, 1) @ matrices(initial), atol=1e-7)


def test_a_turn_accumulates_when_anchored_and_never_when_literal() -> None:
    turn = np.linspace(0, np.pi / 2, 10)[:, None] * [0, 1, 0]
    anchored, literal = (align_orientation(turn, np.zeros(3), mode) for mode in ("anchored", "literal"))
    np.testing.assert_allclose(anchored, turn, atol=1e-7)
    np.testing.assert_allclose(literal[1:], np.tile([0, np.pi / 18, 0], (9, 1)), atol=1e-7)


@pytest.mark.parametrize("mode", get_args(Mode))
def test_kind_precision_and_empty_motions(mode: Mode) -> None:
    orient, initial = motion(1)
    aligned = align_orientation(torch.tensor(orient, dtype=torch.float32), torch.tensor(initial), mode)
    assert isinstance(aligned, torch.Tensor) and aligned.dtype == torch.float32
    np.testing.assert_allclose(matrices(aligned.numpy()), matrices(align_orientation(orient, initial, mode)), atol=1e-5)
    assert align_orientation(np.zeros((1, 3)), initial, mode).shape == (1, 3)
    with pytest.raises(ValueError, match="sideways"):
        align_orientation(orient, initial, "sideways")  # type: ignore[arg-type]


@given(seed=seeds)
def test_orientations_and_points_change_frames_together(seed: int) -> None:
    """Rotating a body in the motion's frame, then going to the camera = going by the rotation in the camera's frame."""
    orient, _ = motion(seed)
    body = np.random.default_rng(seed).normal(size=(6, 10, 3))
    in_motion = body @ matrices(orient).transpose(0, 2, 1)
    in_camera = body @ matrices(orient_to_camera(orient)).transpose(0, 2, 1)
    np.testing.assert_allclose(camera_to_y_up(in_camera), in_motion, atol=1e-7)
    np.testing.assert_allclose(matrices(orient_to_camera(orient_to_camera(orient))), matrices(orient), atol=1e-7)
    np.testing.assert_array_equal(camera_to_y_up(camera_to_y_up(body)), body)


def test_a_left_turn_stays_a_left_turn_in_the_camera() -> None:
    """A person facing the camera who turns to their left ends up facing +x, the right of the image."""
    left_turn = np.linspace(0, np.pi / 2, 5)[:, None] * [0, 1, 0]  # +z to +x, y up
    facing_the_camera = np.array([np.pi, 0, 0])
    aligned = align_orientation(orient_to_camera(left_turn), facing_the_camera)
    np.testing.assert_allclose(matrices(aligned[-1]) @ [0, 0, 1], [1, 0, 0], atol=1e-7)
    np.testing.assert_allclose(matrices(aligned[-1]) @ [0, 1, 0], [0, -1, 0], atol=1e-7)  # still upright


@given(seed=seeds)
def test_heading_turns_the_motion_about_the_vertical_alone(seed: int) -> None:
    orient, initial = motion(seed)
    given, aligned = matrices(orient), matrices(align_orientation(orient, initial, "heading"))
    turns = aligned @ given.transpose(0, 2, 1)
    np.testing.assert_allclose(turns, np.broadcast_to(turns[0], turns.shape), atol=1e-7)
    np.testing.assert_allclose(turns[0] @ [0, 1, 0], [0, 1, 0], atol=1e-7)

    def distance(angle: float) -> float:
        turned = matrices(np.array([0, angle, 0])) @ aligned[0]
        return float(np.linalg.norm(turned - matrices(initial)))

    assert distance(0) <= min(distance(angle) for angle in np.linspace(-3, 3, 31)) + 1e-9


@given(seed=seeds, angle=st.floats(-3, 3))
def test_heading_agrees_with_anchored_where_only_the_heading_differs(seed: int, angle: float) -> None:
    orient, _ = motion(seed)
    initial = (Rotation.from_rotvec([0, angle, 0]) * Rotation.from_rotvec(orient[0])).as_rotvec()
    heading, anchored = (align_orientation(orient, initial, mode) for mode in ("heading", "anchored"))
    np.testing.assert_allclose(matrices(heading[0]), matrices(anchored[0]), atol=1e-6)
