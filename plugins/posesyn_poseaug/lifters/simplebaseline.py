"""SimpleBaseline (Martinez et al., ICCV 2017): a residual MLP; official parameter names (``posenet_name`` mlp)."""

from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import pad

from posesyn_core.training.dense import Linear
from posesyn_poseaug.lifters.dropout import NormedRelu
from posesyn_poseaug.skeleton import BONES, JOINTS


@frozen
class Sizes:
    """The sizes of a network; the defaults are those of the released ones (``--stages 2``)."""

    width: int = 1024
    stages: int = 2
    dropout: float = 0.25


class Stage(nn.Module):
    """Two layers and a skip around both, (N, W) -> (N, W)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.w1 = Linear(sizes.width, sizes.width)
        self.batch_norm1 = nn.BatchNorm1d(sizes.width)
        self.w2 = Linear(sizes.width, sizes.width)
        self.batch_norm2 = nn.BatchNorm1d(sizes.width)
        self.activation = NormedRelu(sizes.dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.w1(x), self.batch_norm1)
        return x + self.activation(self.w2(y), self.batch_norm2)


class SimpleBaseline(nn.Module):
    """(N, 16, 2) -> (N, 16, 3); the root is 0 by construction."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        """Random weights: He's."""
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        self.w1 = Linear(2 * JOINTS, sizes.width)
        self.batch_norm1 = nn.BatchNorm1d(sizes.width)
        self.linear_stages = nn.ModuleList(Stage(sizes) for _ in range(sizes.stages))
        self.w2 = Linear(sizes.width, 3 * BONES)
        self.activation = NormedRelu(sizes.dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, keypoints: Tensor) -> Tensor:
        x = self.activation(self.w1(keypoints.flatten(1)), self.batch_norm1)
        for stage in self.linear_stages:
            x = stage(x)
        return pad(self.w2(x).unflatten(1, (BONES, 3)), (0, 0, 1, 0))
