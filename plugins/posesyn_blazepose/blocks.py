"""What BlazePose's networks are built of: EfficientNet-like backbones and the residual blocks of their branches.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking" (2020) and Grishchenko et al., "BlazePose GHUM
Holistic" (2022); layer by layer as in the published graphs, whose batch norms are folded into the convolutions.
"""

from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional


class Convolution(nn.Conv2d):
    """A convolution with bias that keeps the size (or halves it), then ReLU6 if ``active``.

    With stride 2, TensorFlow's SAME pads 3 x 3 kernels at the right and below alone; the backbone's own strided layers
    pad on both sides (``centred``).
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1,
        active: bool = True, centred: bool = False,
    ) -> None:  # fmt: skip
        aside = stride == 2 and not centred
        super().__init__(inputs, outputs, kernel, stride, 0 if aside else kernel // 2, groups=groups)
        self.active, self.aside = active, aside

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, outputs, H / stride, W / stride)."""
        x = super().forward(functional.pad(x, (0, 1, 0, 1)) if self.aside else x)
        return functional.relu6(x) if self.active else x


def depthwise(
    channels: int, kernel: int = 3, *, stride: int = 1, active: bool = True, centred: bool = False
) -> nn.Module:
    """A convolution of each channel by itself."""
    return Convolution(
        channels, channels, kernel, stride=stride, groups=channels, active=active, centred=centred
    )  # fmt: skip


class Separable(nn.Sequential):
    """A depthwise convolution 3 x 3 and a pointwise one."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, active: bool = True, inner: bool = True,
        centred: bool = False,
    ) -> None:  # fmt: skip
        """``active``: ReLU6 after the second, ``inner``: after the first."""
        super().__init__(
            depthwise(inputs, stride=stride, active=inner, centred=centred), Convolution(inputs, outputs, active=active)
        )


class Residual(nn.Module):
    """ReLU6 of a separable convolution and its input, which is pooled and gets channels of zeros where it must."""

    def __init__(self, inputs: int, outputs: int | None = None, *, stride: int = 1, inner: bool = True) -> None:
        super().__init__()
        outputs = outputs or inputs
        self.branch = Separable(inputs, outputs, stride=stride, active=False, inner=inner)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        branch = self.branch(x)
        if self.stride == 2:
            x = functional.max_pool2d(x, 2)
        if self.more:
            x = functional.pad(x, (0, 0, 0, 0, 0, self.more))
        return functional.relu6(x + branch)


class Inverted(nn.Module):
    """An inverted bottleneck: expand, convolve each channel, project without activation; added to its input if
    neither size nor channels change."""

    def __init__(self, inputs: int, outputs: int, kernel: int, factor: int = 6, *, stride: int = 1) -> None:
        super().__init__()
        hidden = inputs * factor
        self.expand = Convolution(inputs, hidden)
        self.convolve = depthwise(hidden, kernel, stride=stride, centred=True)
        self.project = Convolution(hidden, outputs, active=False)
        self.added = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = self.project(self.convolve(self.expand(x)))
        return x + y if self.added else y


@frozen
class BackboneSizes:
    """``widths``: channels after the stem and after each of the five groups of blocks (the third and fourth at the same
    size of map); ``depths``: residual blocks in each group beside its first; ``narrow``: how many of the first blocks
    expand by 4 instead of 6."""

    widths: tuple[int, int, int, int, int, int]
    depths: tuple[int, int, int, int, int]
    narrow: int = 1

    @property
    def top(self) -> int:
        """Channels of the last map."""
        return 6 * self.widths[5]


KERNELS = (3, 5, 3, 5, 5)


class Backbone(nn.Module):
    """Pictures -> maps of 1/2, 1/4, 1/8, 1/16 and, of the last expansion, 1/32 of the size."""

    def __init__(self, sizes: BackboneSizes) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Convolution(3, 24, 3, stride=2, centred=True), depthwise(24), Convolution(24, sizes.widths[0], active=False)
        )
        groups, blocks = [], 0
        for group, (depth, kernel) in enumerate(zip(sizes.depths, KERNELS, strict=True)):
            inputs, outputs = sizes.widths[group : group + 2]
            layers = []
            for block in range(depth + 1):
                stride = 2 if block == 0 and group != 3 else 1
                factor = 4 if blocks < sizes.narrow else 6
                layers.append(Inverted(inputs if block == 0 else outputs, outputs, kernel, factor, stride=stride))
                blocks += 1
            groups.append(nn.Sequential(*layers))
        self.groups = nn.ModuleList(groups)
        self.expand = nn.Sequential(Convolution(sizes.widths[5], sizes.top), depthwise(sizes.top))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, S, S) -> maps (B, width, S / 2, S / 2) to (B, top, S / 32, S / 32)."""
        half = self.stem(images)
        quarter = self.groups[0](half)
        eighth = self.groups[1](quarter)
        sixteenth = self.groups[3](self.groups[2](eighth))
        return half, quarter, eighth, sixteenth, self.expand(self.groups[4](sixteenth))


def doubled(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2 H, 2 W), bilinear about the pixels' centres."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
