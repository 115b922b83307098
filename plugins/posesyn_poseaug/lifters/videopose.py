"""VideoPose3D for a single frame (Pavllo et al., CVPR 2019): convolutions of width 1 over a signal of length 1.

That is an MLP, so the weights, which keep the convolutions' names and shapes, are applied as plain matrix products.
"""

from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import pad

from posesyn_core.training.dense import dense
from posesyn_poseaug.lifters.dropout import NormedRelu
from posesyn_poseaug.skeleton import BONES, JOINTS


@frozen
class Sizes:
    """The sizes of a network; the defaults are those of the released ones (``--stages 4``)."""

    width: int = 1024
    blocks: int = 4
    dropout: float = 0.25


class PointConv(nn.Module):
    """A convolution of width 1 whose input has length 1: (N, in) -> (N, out)."""

    bias: nn.Parameter | None

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        """torch's default initialisation of a convolution."""
        super().__init__()
        convolution = nn.Conv1d(inputs, outputs, 1, bias=bias)
        self.weight = convolution.weight
        self.bias = convolution.bias if bias else None  # type: ignore[assignment]  # a Parameter, though typed Tensor

    def forward(self, x: Tensor) -> Tensor:
        return dense(x, self.weight[:, :, 0], self.bias)


class VideoPose(nn.Module):
    """(N, 16, 2) -> (N, 16, 3); the root is 0 by construction."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        self.expand_conv = PointConv(2 * JOINTS, sizes.width)
        self.expand_bn = nn.BatchNorm1d(sizes.width)
        self.layers_conv = nn.ModuleList(PointConv(sizes.width, sizes.width) for _ in range(2 * sizes.blocks))
        self.layers_bn = nn.ModuleList(nn.BatchNorm1d(sizes.width) for _ in range(2 * sizes.blocks))
        self.shrink = PointConv(sizes.width, 3 * BONES, bias=True)
        self.activation = NormedRelu(sizes.dropout)

    def forward(self, keypoints: Tensor) -> Tensor:
        x = self.activation(self.expand_conv(keypoints.flatten(1)), self.expand_bn)
        layers = list(zip(self.layers_conv, self.layers_bn, strict=True))
        for first, second in zip(layers[::2], layers[1::2], strict=True):
            x = x + self._layer(self._layer(x, *first), *second)
        return pad(self.shrink(x).unflatten(1, (BONES, 3)), (0, 0, 1, 0))

    def _layer(self, x: Tensor, convolution: nn.Module, norm: nn.Module) -> Tensor:
        y: Tensor = self.activation(convolution(x), norm)
        return y
