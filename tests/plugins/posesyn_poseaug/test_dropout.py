"""Dropout by few random bits."""

import pytest
import torch
from torch import nn

from posesyn_poseaug.lifters.dropout import Dropout, NormedRelu


@pytest.mark.parametrize("rate", [0.25, 0.75, 0.1, 0.375])
def test_it_drops_its_share_and_scales_the_rest(rate: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(rate)(torch.ones(401, 1001))
    assert float((dropped == 0).float().mean()) == pytest.approx(rate, abs=3e-3)
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])


def normed(width: int, dtype: torch.dtype) -> nn.BatchNorm1d:
    """A norm that does something."""
    norm = nn.BatchNorm1d(width).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.1])
@pytest.mark.parametrize(("rows", "width"), [(64, 100), (900, 300), (2, 5)])
def test_behind_norm_and_relu_it_is_the_same_with_the_same_gradients(
    rows: int, width: int, rate: float, trained: bool
) -> None:
    def plain(x: torch.Tensor, norm: nn.BatchNorm1d) -> torch.Tensor:
        y: torch.Tensor = Dropout(rate)(torch.relu(norm(x)))
        return y

    found = []
    for layer in (NormedRelu(rate), plain):
        torch.manual_seed(0)
        norm = normed(width, torch.float64).requires_grad_(trained)
        x = torch.randn(rows, width, dtype=torch.float64, requires_grad=True)
        torch.manual_seed(1)
        y = layer(x * 2 + 1, norm)
        (y**2).sum().backward()
        found.append((y.detach(), x.grad, *(p.grad for p in norm.parameters()), *norm.buffers()))
    assert (found[0][2] is not None) == trained
    for ours, torch_s in zip(*found, strict=True):
        torch.testing.assert_close(ours, torch_s, atol=1e-12, rtol=1e-9)


def test_in_bfloat16_it_is_near() -> None:
    found = []
    for enabled in (True, False):
        torch.manual_seed(0)
        layer, norm, weight = NormedRelu(0.25), normed(50, torch.float32), torch.randn(50, 30)
        x = torch.randn(80, 30, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = layer(nn.functional.linear(x, weight), norm)
        y.float().sum().backward()
        found.append((y.detach().float(), x.grad))
    for rough, exact in zip(*found, strict=True):
        assert rough is not None and exact is not None
        assert float((rough - exact).norm() / exact.norm()) < 0.2


def test_with_a_norm_at_rest_the_averages_are_left_alone() -> None:
    norm = normed(7, torch.float32).eval()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(5, 7)
    torch.testing.assert_close(NormedRelu(0.25).eval()(x, norm), norm(x).clamp(min=0))
    torch.manual_seed(0)
    y, whole = NormedRelu(0.25)(x, norm), norm(x).clamp(min=0) / 0.75
    torch.testing.assert_close(y, torch.where(y == 0, 0, whole))
    assert (y > 0).sum() < (whole > 0).sum()
    assert all(torch.equal(norm.state_dict()[name], value) for name, value in before.items())
    assert Dropout(0.25).eval()(x) is x


def test_one_row_can_not_be_normed() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        NormedRelu(0.25)(torch.randn(1, 7), normed(7, torch.float32))
