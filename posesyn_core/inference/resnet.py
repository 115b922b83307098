"""Residual blocks (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, figure 5).

Parameter names are torchvision's (conv1, bn1, ..., downsample.0, downsample.1), which every checkpoint in the field
uses. As there, a bottleneck's stride is on its 3x3 convolution.
"""

from typing import ClassVar

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride (ResNet-18 and -34)."""

    expansion: ClassVar[int] = 1
    """Output channels per inner channel."""

    def __init__(self, channels: int, inner: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(channels, inner, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, inner, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions (ResNet-50 and deeper)."""

    expansion: ClassVar[int] = 4
    """Output channels per inner channel."""

    def __init__(self, channels: int, inner: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, self.expansion * inner, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * inner)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(channels, self.expansion * inner, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, 4 inner, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def residual_group(
    block: type[BasicBlock] | type[Bottleneck], channels: int, inner: int, count: int, stride: int = 1
) -> nn.Sequential:
    """``count`` blocks, of which the first has the stride: (B, channels, ...) -> (B, block.expansion * inner, ...)."""
    rest = (block(block.expansion * inner, inner) for _ in range(count - 1))
    return nn.Sequential(block(channels, inner, stride), *rest)


def _projection(channels: int, out: int, stride: int) -> nn.Module | None:
    """The shortcut of a block that changes the size of what it gets; None where it does not."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
