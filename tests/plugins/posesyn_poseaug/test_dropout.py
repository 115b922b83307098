"""Dropout by few random bits."""

import pytest
import torch

from posesyn_poseaug.lifters.dropout import Dropout, DroppedRelu


@pytest.mark.parametrize("rate", [0.25, 0.1])
def test_it_drops_its_share_and_scales_the_rest(rate: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(rate)(torch.ones(401, 1001))
    assert float((dropped == 0).float().mean()) == pytest.approx(rate, abs=3e-3)
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.1])
def test_behind_a_relu_it_is_the_same_with_the_same_gradients(rate: float) -> None:
    found = []
    for layers in (DroppedRelu(rate), torch.nn.Sequential(torch.nn.ReLU(), Dropout(rate))):
        torch.manual_seed(0)
        x = torch.randn(64, 100, requires_grad=True)
        torch.manual_seed(1)
        y = layers(x * 2)
        (y**2).sum().backward()
        found.append((y.detach(), x.grad))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_at_inference_it_is_a_relu() -> None:
    x = torch.randn(5, 7)
    torch.testing.assert_close(DroppedRelu(0.25).eval()(x), x.clamp(min=0))
    assert Dropout(0.25).eval()(x) is x
