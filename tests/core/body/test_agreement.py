"""Which bodies are one: whatever makes other people of the same parameters is told, in the unit that matters."""

from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core.body.agreement import body_difference
from posesyn_core.body.model import Body, load_body, save_body


@pytest.fixture
def body() -> Body:
    return load_body()


def test_a_body_is_its_own_copy(body: Body, tmp_path: Path) -> None:
    save_body(body, tmp_path / "copy.npz")
    copy = load_body(tmp_path / "copy.npz")
    assert body_difference(body, copy) is None
    for name in ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "faces", "rest_template"):
        torch.testing.assert_close(getattr(copy, name), getattr(body, name), rtol=0, atol=0)


def test_a_copy_in_another_order_of_the_shapes_is_another(body: Body) -> None:
    other = load_body()
    other.rest_shapedirs.copy_(body.rest_shapedirs.roll(1, -1))
    assert "joints at rest are up to" in str(body_difference(body, other))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda body: body.rest_template.__setitem__((20, 0), body.rest_template[20, 0] + 0.045), "up to 45 mm apart"),
        (lambda body: body.v_template.__setitem__((7, 1), 0.0), "surfaces at rest"),
        (lambda body: body.weights.__setitem__((7, 1), 0.5), "follow other joints"),
    ],
)
def test_what_differs_is_said(body: Body, change: object, text: str) -> None:
    other = load_body()
    change(other)  # type: ignore[operator]
    assert text in str(body_difference(body, other))
    assert text in str(body_difference(other, body))


def test_pose_blend_shapes_make_another_surface(tmp_path: Path, body: Body) -> None:
    save_body(body, tmp_path / "plain.npz")
    with np.load(tmp_path / "plain.npz") as file:
        arrays = dict(file)
    arrays["posedirs"] = np.full_like(arrays["posedirs"], 1e-3)
    np.savez(tmp_path / "bent.npz", **arrays)
    assert "bend differently, by up to 2 mm" in str(body_difference(body, load_body(tmp_path / "bent.npz")))
