"""The starter's looks: a mirrored one means the same, and two of them together are one body before one camera."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from posesyn_blazepose.looks import to_wide
from posesyn_blazepose.network import SIZE
from posesyn_blazepose.starter_network import FOCAL_LENGTH, Mean, StarterNetwork, Unmirror
from posesyn_core.body.model import load_body
from posesyn_core.geometry.rotations import axis_angle_to_matrix

Answer = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> StarterNetwork:
    torch.manual_seed(0)
    return StarterNetwork(load_body()).eval()


def answer(seed: int) -> Answer:
    """Of three people, in the middle of their crops or near it."""
    draw = torch.Generator().manual_seed(seed)
    aside = 0.2 * torch.randn(3, 2, generator=draw)
    depth = 3 + torch.rand(3, 1, generator=draw)
    return {
        "rotmat": axis_angle_to_matrix(0.7 * torch.randn(3, 24, 3, generator=draw)),
        "betas": torch.randn(3, 10, generator=draw),
        "transl": torch.cat([aside * depth, depth], 1),
    }


def squares(seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.rand(3, 4, generator=draw)
    return torch.stack(
        [200 + 50 * numbers[:, 0], 200 + 50 * numbers[:, 1], 150 + 100 * numbers[:, 2], numbers[:, 3]], 1
    )


def in_wide(place: Tensor, square: Tensor) -> Tensor:
    """Where the camera of a square's crop sees a place (B, 3): pixels of the wide crop."""
    return to_wide((place[:, None, :2] / place[:, None, 2:]) * FOCAL_LENGTH + SIZE / 2, square)[:, 0]


@given(st.integers(0, 2**31))
def test_two_looks_that_say_the_same_say_it_together(seed: int) -> None:
    said, square = answer(seed), squares(seed + 1)
    together = Mean()(said, square, said, square)
    for name, tensor in together.items():
        torch.testing.assert_close(tensor, said[name], atol=1e-4, rtol=0)


@given(st.integers(0, 2**31))
def test_a_body_is_seen_between_the_places_that_two_looks_say(seed: int) -> None:
    one, two, first, second = answer(seed), answer(seed + 1), squares(seed + 2), squares(seed + 3)
    found = Mean()(one, first, two, second)
    seen = [in_wide(said["transl"], square) for said, square in ((one, first), (two, second), (found, second))]
    torch.testing.assert_close(seen[2], (seen[0] + seen[1]) / 2, atol=1e-2, rtol=0)
    sizes = [square[:, 2] / said["transl"][:, 2] for said, square in ((one, first), (two, second), (found, second))]
    assert ((sizes[2] >= torch.minimum(*sizes[:2]) - 1e-3) & (sizes[2] <= torch.maximum(*sizes[:2]) + 1e-3)).all()


def test_the_crops_turn_is_taken_out_of_the_first_looks_heading() -> None:
    """Before an upright camera the same body leans by the crop's turn."""
    said, upright = answer(0), squares(1)
    upright[:, 3] = 0
    turned = upright.clone()
    turned[:, 3] = 0.4
    lean = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.4]))
    leaning = {**said, "rotmat": torch.cat([lean @ said["rotmat"][:, :1], said["rotmat"][:, 1:]], 1)}
    found = Mean()(said, turned, leaning, upright)
    torch.testing.assert_close(found["rotmat"], leaning["rotmat"], atol=1e-5, rtol=0)


def test_what_is_mirrored_twice_is_as_before() -> None:
    said = {**answer(0), "points": torch.rand(3, 24, 2)}
    twice = Unmirror()(Unmirror()(said))
    for name, tensor in twice.items():
        torch.testing.assert_close(tensor, said[name], atol=1e-6, rtol=0)


def test_left_and_right_change_places() -> None:
    said = {**answer(0), "points": torch.zeros(3, 24, 2)}
    said["points"][:, 20] = torch.tensor([0.1, 0.05])  # the left wrist, to the right of the crop's middle
    found = Unmirror()(said)
    torch.testing.assert_close(found["points"][:, 21], torch.tensor([[-0.1 - 1 / FOCAL_LENGTH, 0.05]]).expand(3, 2))
    turned = said["rotmat"][:, 18] @ torch.tensor([1.0, 0, 0])  # the left elbow's
    torch.testing.assert_close(found["rotmat"][:, 19] @ torch.tensor([-1.0, 0, 0]), turned * torch.tensor([-1.0, 1, 1]))


def test_a_person_is_looked_at_three_times_and_the_second_time_mirrored(network: StarterNetwork) -> None:
    seen, crops = list[Tensor](), list[Tensor]()
    hooks = [
        network.cropper.register_forward_hook(lambda _m, _given, said: crops.append(said)),
        network.eyes.backbone.register_forward_hook(lambda _m, given, _said: seen.append(given[0])),
    ]
    wide = torch.from_numpy(np.random.default_rng(1).random((1, 3, 448, 448), np.float32))
    with torch.inference_mode():
        network(wide)
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(crops) == 3
    for number, (looked, crop) in enumerate(zip(seen, crops, strict=True)):
        torch.testing.assert_close(looked, crop.flip(-1) if number == 1 else crop)
