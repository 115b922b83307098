"""Squares about reference people: in the picture, with room for the person, and a camera that sees the same body."""

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core import Camera, PoseEstimate, Sample, SmplParams
from posesyn_core.body.cropping import reference_square, seen_in
from posesyn_core.body.model import Body, load_body
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.crops import apply_affine, invert_affine
from posesyn_core.values import Neighbour

BODY: Body = load_body()
FOCAL, WIDTH, HEIGHT = 1000.0, 1280, 720


def standing(x: float, depth: float, box: tuple[float, float, float, float]) -> tuple[Sample, PoseEstimate]:
    """Somebody with the given person box; the body stands ``depth`` metres away."""
    camera = Camera([FOCAL, FOCAL], [WIDTH / 2, HEIGHT / 2])
    smpl = SmplParams([np.pi, 0, 0], np.zeros((23, 3)), np.zeros(10), [x, 0.0, depth])  # type: ignore[arg-type]
    joints3d = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    joints2d = project(joints3d + np.float32([x, 0, depth]), camera.focal_length, camera.principal_point)
    sample = Sample("s", b"", box, "smpl24", joints2d, np.ones(24), camera, head_size=30.0)  # type: ignore[arg-type]
    return sample, PoseEstimate(joints3d, joints2d, camera, smpl)


def side(matrix: np.ndarray, size: int) -> float:
    return size / matrix[0, 0]


@given(st.floats(0, 1200), st.floats(0, 650), st.floats(20, 400), st.floats(20, 600), st.sampled_from([64, 256, 512]))
def test_the_square_lies_in_the_picture_if_it_fits_and_holds_the_person(
    x: float, y: float, width: float, height: float, size: int
) -> None:
    box = (x, y, min(x + width, WIDTH - 1.0), min(y + height, HEIGHT - 1.0))
    sample, estimate = standing(0, 5.0, box)
    matrix = reference_square(BODY, sample, estimate, WIDTH, HEIGHT, size)
    assert matrix[0, 0] == matrix[1, 1] > 0 and matrix[0, 1] == matrix[1, 0] == 0  # nothing is squashed
    corners = apply_affine(invert_affine(matrix), [[-0.5, -0.5], [size - 0.5, size - 0.5]])
    longest = max(box[2] - box[0], box[3] - box[1])
    assert side(matrix, size) >= longest
    if side(matrix, size) <= HEIGHT:
        assert (corners >= -0.51).all() and (corners[1] <= [WIDTH - 0.49, HEIGHT - 0.49]).all()
        inside = apply_affine(matrix, np.reshape(box, (2, 2)))
        assert (inside >= -1.0).all() and (inside <= size).all()


def test_who_sits_gets_the_room_to_stand_up() -> None:
    sample, estimate = standing(0, 5.0, (600, 300, 700, 400))
    matrix = reference_square(BODY, sample, estimate, WIDTH, HEIGHT, 512)
    assert 1.65 * FOCAL / 5.0 < side(matrix, 512) < 2.3 * FOCAL / 5.0


def test_a_person_taller_than_the_picture_is_wide_is_shown_whole() -> None:
    sample, estimate = standing(0, 2.0, (60, 0, 140, 719))
    matrix = reference_square(BODY, sample, estimate, 200, 720, 512)
    assert side(matrix, 512) == pytest.approx(1.05 * 719)
    np.testing.assert_allclose(apply_affine(matrix, [[99.5, 359.5]]), [[255.5, 255.5]], atol=0.5)  # in the middle


def test_the_camera_sees_the_same_body_in_the_square() -> None:
    sample, estimate = standing(0.7, 6.0, (700, 200, 850, 600))
    sample = evolve(sample, neighbours=(Neighbour([10, 20, 30, 40], "smpl24", sample.keypoints2d, np.ones(24)),))  # type: ignore[arg-type]
    matrix = reference_square(BODY, sample, estimate, WIDTH, HEIGHT, 256)
    moved, seen = seen_in(matrix, b"square", sample, estimate)
    assert estimate.smpl is not None and moved.image == b"square"
    placed = estimate.joints3d + estimate.smpl.transl
    expected = apply_affine(matrix, estimate.joints2d)
    np.testing.assert_allclose(seen.joints2d, expected, atol=1e-2)
    again = project(placed, seen.camera.focal_length, seen.camera.principal_point)
    np.testing.assert_allclose(again, expected, atol=1e-2)
    np.testing.assert_array_equal(seen.joints3d, estimate.joints3d)
    np.testing.assert_allclose(moved.keypoints2d, expected, atol=1e-2)
    np.testing.assert_allclose(moved.neighbours[0].keypoints2d, expected, atol=1e-2)
    np.testing.assert_allclose(moved.box.reshape(2, 2), apply_affine(matrix, sample.box.reshape(2, 2)), atol=1e-2)
    assert moved.head_size == pytest.approx(30 * 256 / side(matrix, 256))
