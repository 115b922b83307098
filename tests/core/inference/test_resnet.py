"""Residual blocks: names, sizes, and what a block computes."""

import pytest
import torch
import torch.nn.functional as F

from posesyn_core.inference.resnet import BasicBlock, Bottleneck, residual_group


@pytest.mark.parametrize(("block", "convolutions", "out"), [(BasicBlock, 2, 8), (Bottleneck, 3, 32)])
def test_a_group_has_torchvisions_names_and_halves_the_map(
    block: type[BasicBlock] | type[Bottleneck], convolutions: int, out: int
) -> None:
    group = residual_group(block, 4, 8, 3, stride=2)
    names = {name.rpartition(".")[0] for name in group.state_dict()}
    expected = {f"{at}.{kind}{k}" for at in range(3) for kind in ("conv", "bn") for k in range(1, convolutions + 1)}
    assert names == expected | {"0.downsample.0", "0.downsample.1"}
    assert group(torch.zeros(2, 4, 12, 8)).shape == (2, out, 6, 4)


def test_a_block_that_changes_no_size_has_no_projection() -> None:
    assert BasicBlock(8, 8).downsample is None
    assert Bottleneck(8, 2).downsample is None
    assert BasicBlock(8, 8, stride=2).downsample is not None
    assert Bottleneck(8, 8).downsample is not None


@torch.no_grad()
def test_a_basic_block_is_the_published_formula() -> None:
    torch.manual_seed(0)
    block = BasicBlock(3, 3).double().eval()
    x = torch.randn(1, 3, 5, 5, dtype=torch.float64)
    scale = 1 / (1 + 1e-5) ** 0.5  # a fresh norm in evaluation
    inside = F.relu(scale * F.conv2d(x, block.conv1.weight, padding=1))
    expected = F.relu(x + scale * F.conv2d(inside, block.conv2.weight, padding=1))
    torch.testing.assert_close(block(x), expected)
