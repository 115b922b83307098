"""Weights are rounded to a neighbour in half precision, so that for typical inputs their errors add up to nothing."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from posesyn_core.engines.rounding import round_weights, rounded

HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


@HALVES
@given(seed=st.integers(0, 2**31), inputs=st.integers(1, 300))
def test_every_weight_goes_to_one_of_its_neighbours(dtype: torch.dtype, seed: int, inputs: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    weight, mean = torch.randn(3, inputs, generator=chance), torch.randn(3, inputs, generator=chance)
    weight[:, :1] = 0
    found, nearest = rounded(weight, mean, dtype), weight.to(dtype).float()
    assert torch.equal(found.to(dtype).float(), found)
    between = (found.to(dtype) == nearest.to(dtype)) | ((found - weight) * (nearest - weight) < 0)
    assert between.all()
    step = (found - nearest).abs().to(dtype)
    ulp = (
        torch.nextafter(nearest.to(dtype).abs(), torch.tensor(torch.inf, dtype=dtype)) - nearest.to(dtype).abs()
    ).float()
    assert (step.float() <= ulp).all()
    before, after = (((each - weight) * mean).sum(1).abs() for each in (nearest, found))
    assert (after <= before + 1e-6).all()


@HALVES
def test_errors_of_what_is_never_negative_add_up_to_nothing(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight, mean = torch.randn(50, 600), torch.rand(50, 600)
    nearest = weight.to(dtype).float()
    before, after = (((each - weight) * mean).sum(1).std() for each in (nearest, rounded(weight, mean, dtype)))
    assert after < 0.15 * before


class Net(nn.Module):
    """Convolutions of every kind, behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, groups=4)
        self.up, self.last = nn.ConvTranspose2d(16, 12, 2, stride=2), nn.Conv2d(12, 5, 3)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"y": self.last(self.up(self.grouped(self.first(images).relu()).relu()).relu())}


def test_a_network_is_nearer_to_itself_than_with_its_weights_rounded_to_the_nearest() -> None:
    torch.manual_seed(0)
    net = Net().eval()
    typical = [{"images": torch.rand(1, 3, 16, 16)} for _ in range(4)]
    images = torch.rand(8, 3, 16, 16)
    chosen = copy.deepcopy(net)
    round_weights(chosen, typical, torch.bfloat16)
    nearest = copy.deepcopy(net)
    for part in nearest.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.weight.data = part.weight.data.bfloat16().float()
            own = next(other for name, other in chosen.named_modules() if nearest.get_submodule(name) is part)
            assert torch.equal(own.weight.bfloat16().float(), own.weight)
    with torch.inference_mode():
        exact = net(images)["y"]
        far, near = ((each(images)["y"] - exact).square().mean().sqrt() for each in (nearest, chosen))
    assert near < 0.6 * far
