"""The starter's two looks as one answer, against a naive twin and where the answer is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from posesyn_blazepose.starter_network import FOCAL_LENGTH, Weighed

Answer = dict[str, Tensor]
SQUARES = st.tuples(st.floats(150, 300), st.floats(150, 300), st.floats(80, 400), st.floats(-3.1, 3.1))
FIRST = torch.tensor([[224.0, 224, 336, 0]])


def answer(seed: int, apart: float, root: Rotation | None = None) -> Answer:
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(24, rng).as_matrix()
    if root is not None:
        rotations[0] = root.as_matrix()
    values = {
        "rotmat": rotations,
        "betas": rng.standard_normal(10),
        "transl": rng.uniform([-0.3, -0.3, 3], [0.3, 0.3, 9]),
        "apart": np.array(apart),
    }
    return {name: torch.from_numpy(value[None].astype(np.float32)) for name, value in values.items()}


def camera(square: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Of a crop at a square: how it is turned (3, 3), its principal point and its focal length in the wide crop."""
    turn = Rotation.from_rotvec([0, 0, square[3]]).as_matrix()
    return turn, square[:2], FOCAL_LENGTH / 256 * square[2]


def moved(said: Answer, before: np.ndarray, after: np.ndarray) -> Answer:
    """The same body before another crop's camera: where the picture shows it, as large."""
    (turn, middle, focal), (new_turn, new_middle, new_focal) = camera(before), camera(after)
    rotmat, transl = said["rotmat"][0].double().numpy(), said["transl"][0].double().numpy()
    place = middle + (turn @ [*(transl[:2] / transl[2] * focal), 0])[:2]
    seen = (new_turn.T @ [*(place - new_middle), 0])[:2] / new_focal
    rotmat[0] = new_turn.T @ turn @ rotmat[0]
    depth = transl[2] * new_focal / focal
    values = {"rotmat": rotmat, "transl": np.array([*seen * depth, depth])}
    return said | {name: torch.from_numpy(value[None]).float() for name, value in values.items()}


@given(SQUARES, st.floats(0.003, 0.1), st.floats(0.003, 0.1))
def test_a_body_that_both_looks_see_stays_as_it_is(square: tuple[float, ...], near: float, far: float) -> None:
    first, upright = answer(0, near), torch.tensor([square])
    second = moved(first, FIRST[0].numpy(), np.array(square)) | {"apart": torch.tensor([far])}
    found = Weighed()(first, FIRST, second, upright)
    for name in ("rotmat", "betas", "transl"):
        torch.testing.assert_close(found[name], second[name], rtol=1e-3, atol=1e-3)


@given(SQUARES, st.integers(0, 99), st.floats(0, 1), st.floats(0.3, 3))
def test_weights_are_those_of_the_naive_twin(square: tuple[float, ...], seed: int, angle: float, ratio: float) -> None:
    before, after = FIRST[0].double().numpy(), np.array(square)
    second = answer(seed, 0.02)
    root = Rotation.from_matrix(second["rotmat"][0, 0].numpy()) * Rotation.from_rotvec([0.6 * angle, 0.8 * angle, 0])
    other = answer(seed + 100, 0.02 * ratio, root)
    found = Weighed()(moved(other, after, before), FIRST, second, torch.tensor([square]))

    power = 2 + 4 * (1 - np.cos(angle))
    weight = ratio**-power / (ratio**-power + 1)
    mixed = {name: weight * other[name][0].numpy() + (1 - weight) * second[name][0].numpy() for name in other}
    np.testing.assert_allclose(found["betas"][0], mixed["betas"], atol=2e-3)
    left, up = mixed["rotmat"][..., 0], mixed["rotmat"][..., 1]
    left = left / np.linalg.norm(left, axis=-1, keepdims=True)
    up = up - (left * up).sum(-1, keepdims=True) * left
    steady = np.linalg.norm(mixed["rotmat"][..., :2], axis=1).min(1) > 0.2  # opposite axes have no mean
    steady &= np.linalg.norm(up, axis=-1) > 0.2
    np.testing.assert_allclose(found["rotmat"][0].numpy()[steady, :, 0], left[steady], atol=2e-2)


def test_of_two_looks_that_see_a_person_the_other_way_round_the_better_one_is_taken() -> None:
    """Half as far from the landmarks: nearly all of it, where looks that agree are weighed 4 to 1."""
    back = Rotation.from_euler("y", 180, degrees=True)
    first, second = answer(1, 0.02, Rotation.identity()), answer(2, 0.04, back)
    upright = torch.tensor([[224.0, 224, 336, 0]])
    found = Weighed()(first, FIRST, second, upright)
    torch.testing.assert_close(found["betas"], first["betas"], rtol=0, atol=1e-2)
    agreeing = answer(2, 0.04, Rotation.identity())
    found = Weighed()(first, FIRST, agreeing, upright)
    torch.testing.assert_close(found["betas"], 0.8 * first["betas"] + 0.2 * agreeing["betas"])


@pytest.mark.parametrize("better", [0, 1])
def test_each_look_can_be_the_better_one(better: int) -> None:
    first, second = (answer(seed, 1e-3 if seed == better else 1.0) for seed in (0, 1))
    upright = torch.tensor([[200.0, 240, 150, 0.7]])
    found = Weighed()(first, FIRST, second, upright)
    expected = second if better else moved(first, FIRST[0].numpy(), upright[0].numpy())
    for name in ("rotmat", "transl"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-3)
