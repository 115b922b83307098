"""SemGCN (Zhao et al., CVPR 2019): graph convolutions whose edges have learned weights; official parameter names.

Its non-local layers are inert in PoseAug's code and absent here. The adjacency is no part of a checkpoint.
"""

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.training.dense import dense
from posesyn_poseaug.lifters.dropout import NormedRelu
from posesyn_poseaug.skeleton import JOINTS, PARENTS

FAR = -9e15
"""The logit of joints that are no neighbours."""


@frozen
class Sizes:
    """The sizes of a network; the defaults are those of the released ones."""

    width: int = 128
    blocks: int = 4
    dropout: float = 0.0


def neighbours() -> Tensor:
    """(16, 16) which joints a bone connects, and each with itself."""
    mask = torch.eye(JOINTS, dtype=torch.bool)
    for joint, parent in enumerate(PARENTS[1:], 1):
        mask[joint, parent] = mask[parent, joint] = True
    return mask


NEIGHBOURS = neighbours()
EDGES = int(NEIGHBOURS.sum())
PLACES = torch.eye(JOINTS * JOINTS)[NEIGHBOURS.flatten().nonzero()[:, 0]]
"""(46, 256) where each learned edge stands in the flat matrix, row by row."""


class GraphConv(nn.Module):
    """(N, 16, in) -> (N * 16, out): a joint's own features by one matrix, its neighbours' by another, weighed by a
    softmax over each row of the learned edges ``e``.

    Both are one product, of rows that hold a joint's own features and its neighbours' side by side.
    """

    places: Tensor
    far: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        """Xavier's weights, all edges alike."""
        super().__init__()
        self.W = nn.Parameter(torch.empty(2, inputs, outputs))
        self.e = nn.Parameter(torch.ones(1, EDGES))
        self.bias = nn.Parameter(torch.empty(outputs))
        nn.init.xavier_uniform_(self.W, gain=1.414)
        nn.init.uniform_(self.bias, -(outputs**-0.5), outputs**-0.5)
        self.register_buffer("places", PLACES, persistent=False)
        self.register_buffer("far", torch.where(NEIGHBOURS, 0, FAR), persistent=False)

    def adjacency(self) -> Tensor:
        """(16, 16): row by row the weights of a joint's neighbours and itself."""
        logits = (self.e @ self.places.to(self.e)).unflatten(1, (JOINTS, JOINTS))[0]
        return torch.softmax(logits + self.far.to(logits), dim=1)

    def mixing(self) -> Tensor:
        """(32, 16): two rows for every joint, which pick out itself and weigh its neighbours."""
        adjacency = self.adjacency()
        own = adjacency * torch.eye(JOINTS, dtype=adjacency.dtype, device=adjacency.device)
        return torch.stack([own, adjacency - own], 1).flatten(0, 1)

    def forward(self, x: Tensor, *, normed: bool = False) -> Tensor:
        """``normed``: a norm over the batch follows, which takes the bias away again.

        Its gradient is nothing but rounding then, of which Adam makes steps of the full rate (officially 0.02): more
        than the running averages keep up with, so that errors at inference jump from epoch to epoch. So it is left as
        it is, which changes nothing else; officially it moves, and the best epoch is chosen by its error.
        """
        mixed = (self.mixing() @ x).reshape(-1, 2 * x.shape[2])
        return dense(mixed, self.W.flatten(0, 1).T, self.bias.detach() if normed else self.bias)


class GraphLayer(nn.Module):
    """Graph convolution, norm over the channels, ReLU: (N, 16, in) -> (N, 16, out)."""

    def __init__(self, inputs: int, sizes: Sizes) -> None:
        super().__init__()
        self.gconv = GraphConv(inputs, sizes.width)
        self.bn = nn.BatchNorm1d(sizes.width)
        self.activation = NormedRelu(sizes.dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.gconv(x, normed=self.bn.training), self.bn)
        return y.unflatten(0, (-1, JOINTS))


class Block(nn.Module):
    """Two layers and a skip around both."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.gconv1 = GraphLayer(sizes.width, sizes)
        self.gconv2 = GraphLayer(sizes.width, sizes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.gconv2(self.gconv1(x))
        return y


class SemGcn(nn.Module):
    """(N, 16, 2) -> (N, 16, 3); it predicts the root too, near 0."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        self.gconv_input = nn.Sequential(GraphLayer(2, sizes))
        self.gconv_layers = nn.Sequential(*(Block(sizes) for _ in range(sizes.blocks)))
        self.gconv_output = GraphConv(sizes.width, 3)

    def forward(self, keypoints: Tensor) -> Tensor:
        pose: Tensor = self.gconv_output(self.gconv_layers(self.gconv_input(keypoints)))
        return pose.unflatten(0, (-1, JOINTS))
