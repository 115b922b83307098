"""Rotation forms: round trips, and the layouts of the 6D form."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.geometry import rotations as r

components = st.floats(-3, 3, allow_nan=False)
axis_angles = st.lists(components, min_size=3, max_size=3).map(lambda v: torch.tensor(v, dtype=torch.float64))
layouts = st.sampled_from(get_args(r.Layout))


def rodrigues(axis_angle: torch.Tensor) -> torch.Tensor:
    """exp of the cross-product matrix: the definition."""
    x, y, z = axis_angle.tolist()
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


@given(axis_angle=axis_angles)
def test_matrix_is_the_exponential_and_all_round_trips_return_to_it(axis_angle: torch.Tensor) -> None:
    matrix = r.axis_angle_to_matrix(axis_angle)
    torch.testing.assert_close(matrix, rodrigues(axis_angle))
    for there_and_back in (
        r.axis_angle_to_matrix(r.matrix_to_axis_angle(matrix)),
        r.quaternion_to_matrix(r.matrix_to_quaternion(matrix)),
        r.quaternion_to_matrix(r.axis_angle_to_quaternion(axis_angle)),
        r.axis_angle_to_matrix(r.quaternion_to_axis_angle(r.axis_angle_to_quaternion(axis_angle))),
        r.quaternion_to_matrix(-5 * r.matrix_to_quaternion(matrix)),
    ):
        torch.testing.assert_close(there_and_back, matrix)
    assert r.matrix_to_axis_angle(matrix).norm() <= torch.pi + 1e-9


@given(axis_angle=axis_angles, layout=layouts)
def test_six_d_round_trip_survives_stretching_its_vectors(axis_angle: torch.Tensor, layout: r.Layout) -> None:
    matrix = r.axis_angle_to_matrix(axis_angle)
    six_d = r.matrix_to_six_d(matrix, layout)
    torch.testing.assert_close(r.six_d_to_matrix(3 * six_d, layout), matrix)


def test_where_each_layout_keeps_the_first_vector() -> None:
    matrix = torch.arange(9.0).reshape(3, 3)
    assert r.matrix_to_six_d(matrix, "interleaved").tolist() == [0, 1, 3, 4, 6, 7]
    assert r.matrix_to_six_d(matrix, "columns").tolist() == [0, 3, 6, 1, 4, 7]
    assert r.matrix_to_six_d(matrix, "rows").tolist() == [0, 1, 2, 3, 4, 5]


def test_quaternions_have_w_first() -> None:
    quarter_turn_about_y = torch.tensor([0.0, torch.pi / 2, 0.0])
    expected = torch.tensor([0.5, 0.0, 0.5, 0.0]).sqrt()
    torch.testing.assert_close(r.axis_angle_to_quaternion(quarter_turn_about_y), expected)


def test_degenerate_six_d_gives_zero_columns_not_nan() -> None:
    assert torch.isfinite(r.six_d_to_matrix(torch.zeros(2, 6), "columns")).all()


def test_official_numbers(shared: Path) -> None:
    spin = np.load(shared / "parity/spin/io.npz")
    six_d, matrices = torch.from_numpy(spin["in/rot6d_in"]), torch.from_numpy(spin["out/rot6d_out"])
    torch.testing.assert_close(r.six_d_to_matrix(six_d.reshape(-1, 6), "interleaved"), matrices, atol=1e-6, rtol=0)
    hmr2 = np.load(shared / "parity/hmr2/io_geometry.npz")
    for case in ("rot6d", "rot6d_special"):
        given, expected = torch.from_numpy(hmr2[f"{case}_in"]), torch.from_numpy(hmr2[f"{case}_out"])
        torch.testing.assert_close(
            r.six_d_to_matrix(given.reshape(-1, 6), "columns"), expected.reshape(-1, 3, 3), atol=1e-6, rtol=0
        )


def test_official_axis_angles_and_quaternions(shared: Path) -> None:
    """The official code perturbs the axis-angle by 1e-8 before taking its norm: agreement to that order."""
    hmr2 = {
        name: torch.from_numpy(values)
        for name, values in np.load(shared / "parity/hmr2/io_geometry.npz").items()
        if name.startswith(("aa_", "quat_"))
    }
    matrices = r.axis_angle_to_matrix(hmr2["aa_in"].double())
    torch.testing.assert_close(matrices, hmr2["aa_out_f64"], atol=1e-6, rtol=0)
    matrices = r.quaternion_to_matrix(hmr2["quat_in"].double())
    torch.testing.assert_close(matrices, hmr2["quat_out_f64"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_batches_of_every_size(batch: int) -> None:
    """A batch of three once crossed along the wrong axis in the official code."""
    six_d = torch.randn(batch, 6, generator=torch.Generator().manual_seed(0))
    one_by_one = torch.stack([r.six_d_to_matrix(row, "columns") for row in six_d])
    torch.testing.assert_close(r.six_d_to_matrix(six_d, "columns"), one_by_one)
