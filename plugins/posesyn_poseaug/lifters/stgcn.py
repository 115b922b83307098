"""ST-GCN for a single frame (Cai et al., ICCV 2019): graph convolutions over 17 joints, then over 5 limbs, then both.

Official parameter names (prefix ``stgcn.``); 1x1 convolutions keep their shapes and are applied as matrix products to
channels-last features (N, V, C), V being joints or limbs.
"""

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from posesyn_poseaug.lifters.dropout import Dropout

NECK = 9
"""Where the 17th joint goes: the middle of thorax (8) and head (9)."""
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
PAIRS = ((6, 3), (5, 2), (4, 1), (11, 14), (12, 15), (13, 16))
DEPTHS = (1, 2, 3, 4, 2, 3, 4, 0, 1, 2, 3, 2, 3, 4, 2, 3, 4)
"""Steps from the centre, the spine (the left hip is 2 away, the right one 1: an oddity of the official tables)."""
LIMBS = ((11, 12, 13), (14, 15, 16), (4, 5, 6), (1, 2, 3), (0, 7, 8, 9, 10))
"""Left arm, right arm, left leg, right leg, body."""
LIMB_PAIRS = ((0, 1), (2, 3))
LIMB_DEPTHS = (1, 1, 1, 1, 0)
KINDS = 4
"""Of edges: to itself, from a joint further from the centre, from a nearer one, to the mirrored one."""
DATA_EPSILON = 0.1
"""Of the input's norm: the official code passes its momentum there."""


@frozen
class Sizes:
    """The sizes of a network; the defaults are those of the released ones.

    ``dropout`` below 0 means the original value of every layer, with which the baselines were trained.
    """

    channels: tuple[int, int, int] = (128, 128, 256)
    pooled: int = 512
    dropout: float = -1.0

    def rate(self, original: float) -> float:
        """The dropout of a layer whose original is that."""
        return original if self.dropout < 0 else self.dropout


def adjacency(
    depths: tuple[int, ...], edges: tuple[tuple[int, int], ...], pairs: tuple[tuple[int, int], ...]
) -> Tensor:
    """(4, V, V) by kind of edge, row = source: the edges, the pairs and self loops, each column summing to 1 in all."""
    size = len(depths)
    links = torch.eye(size, dtype=torch.float64)
    mirrored = torch.zeros(size, size, dtype=torch.bool)
    for a, b in (*edges, *pairs):
        links[a, b] = links[b, a] = 1
    for a, b in pairs:
        mirrored[a, b] = mirrored[b, a] = True
    links = links / links.sum(0, keepdim=True)
    depth = torch.tensor(depths)
    source, target = depth[:, None].expand(size, size), depth[None].expand(size, size)
    own = torch.eye(size, dtype=torch.bool)
    rest = ~own & ~mirrored
    kinds = (own, rest & (source > target), rest & (source <= target), mirrored & ~own)
    return torch.stack([torch.where(kind, links, 0.0) for kind in kinds])


BODY_GRAPH = adjacency(DEPTHS, tuple((joint, parent) for joint, parent in enumerate(PARENTS) if parent >= 0), PAIRS)
LIMB_GRAPH = adjacency(LIMB_DEPTHS, tuple((4, limb) for limb in range(4)), LIMB_PAIRS)


class PointConv2d(nn.Module):
    """A 1x1 convolution over channels-last features: (..., in) -> (..., out)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, 1)
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight[:, :, 0, 0], self.bias)


class Norm(nn.BatchNorm2d):
    """BatchNorm over the last axis of (N, V, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(
            x.flatten(0, 1), self.running_mean, self.running_var, self.weight, self.bias,
            self.training, self._momentum(), self.eps,
        ).unflatten(0, x.shape[:2])  # fmt: skip

    def _momentum(self) -> float:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return 0.1 if self.momentum is None else self.momentum


class GraphConv(nn.Module):
    """(N, V, in) -> (N, V, out): four 1x1 convolutions, each carried along its kind of edge."""

    graph: Tensor

    def __init__(self, inputs: int, outputs: int, graph: Tensor) -> None:
        super().__init__()
        self.outputs = outputs
        self.conv = PointConv2d(inputs, KINDS * outputs)
        self.register_buffer("graph", graph.flatten(0, 1).T.contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kinds = self.conv(x).unflatten(2, (KINDS, self.outputs)).transpose(1, 2).flatten(1, 2)
        return self.graph.to(x) @ kinds


class Block(nn.Module):
    """Graph convolution, norm, ReLU, 1x1 convolution, norm, and a residual: (N, V, in) -> (N, V, out)."""

    def __init__(self, inputs: int, outputs: int, graph: Tensor, sizes: Sizes, *, first: bool = False) -> None:
        super().__init__()
        drop = sizes.rate(0.05)
        self.gcn = GraphConv(inputs, outputs, graph)
        self.tcn = nn.Sequential(
            Norm(outputs), nn.ReLU(), Dropout(drop), PointConv2d(outputs, outputs), Norm(outputs), Dropout(drop)
        )
        self.first = first
        self.residual = nn.Sequential()
        if not first and inputs != outputs:
            self.residual = nn.Sequential(PointConv2d(inputs, outputs), Norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.tcn(self.gcn(x))
        return relu(y if self.first else y + self.residual(x))


class NonLocal(nn.Module):
    """Self-attention over the joints with a skip (Wang et al., CVPR 2018), embedded Gaussian, unscaled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.g = PointConv2d(channels, inner)
        norm = Norm(channels)
        nn.init.zeros_(norm.weight)
        self.W = nn.Sequential(PointConv2d(inner, channels), norm)
        self.theta = PointConv2d(channels, inner)
        self.phi = PointConv2d(channels, inner)

    def forward(self, x: Tensor) -> Tensor:
        attention = torch.softmax(self.theta(x) @ self.phi(x).mT, -1)
        y: Tensor = self.W(attention @ self.g(x)) + x
        return y


class Trunk(nn.Module):
    """(N, 17, 2) -> (N, 17, 3)."""

    limb_of: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        first, second, third = sizes.channels
        self.data_bn = nn.BatchNorm1d(2 * len(PARENTS), eps=DATA_EPSILON)
        self.st_gcn_networks = nn.Sequential(
            Block(2, first, BODY_GRAPH, sizes, first=True),
            Block(first, second, BODY_GRAPH, sizes),
            Block(second, third, BODY_GRAPH, sizes),
        )
        self.st_gcn_pool = nn.Sequential(
            Block(third, sizes.pooled, LIMB_GRAPH, sizes), Block(sizes.pooled, sizes.pooled, LIMB_GRAPH, sizes)
        )
        self.conv4 = nn.Sequential(
            PointConv2d(sizes.pooled, sizes.pooled), Norm(sizes.pooled), nn.ReLU(), Dropout(sizes.rate(0.25))
        )
        self.conv2 = nn.Sequential(
            PointConv2d(2 * sizes.pooled, third), Norm(third), nn.ReLU(), Dropout(sizes.rate(0.1))
        )
        self.non_local = NonLocal(2 * third)
        self.fcn = nn.Sequential(Dropout(sizes.rate(0.1)), PointConv2d(2 * third, 3))
        limb_of = torch.empty(len(PARENTS), dtype=torch.long)
        for limb, joints in enumerate(LIMBS):
            limb_of[list(joints)] = limb
        self.register_buffer("limb_of", limb_of, persistent=False)

    def forward(self, joints: Tensor) -> Tensor:
        x = self.st_gcn_networks(self.data_bn(joints.flatten(1)).unflatten(1, (len(PARENTS), 2)))
        limbs = self.st_gcn_pool(torch.stack([x[:, list(joints)].amax(1) for joints in LIMBS], 1))
        whole = self.conv4(limbs.amax(1, keepdim=True)).expand_as(limbs)
        parts = self.conv2(torch.cat([whole, limbs], -1))
        both = torch.cat([x, parts[:, self.limb_of]], -1)
        pose: Tensor = self.fcn(self.non_local(both))
        return pose


class StGcn(nn.Module):
    """(N, 16, 2) -> (N, 16, 3); it predicts the root too, near 0."""

    kept: Tensor

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        self.stgcn = Trunk(sizes)
        kept = torch.tensor([joint for joint in range(len(PARENTS)) if joint != NECK])
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, keypoints: Tensor) -> Tensor:
        neck = keypoints[:, NECK - 1 : NECK + 1].mean(1, keepdim=True)
        joints = torch.cat([keypoints[:, :NECK], neck, keypoints[:, NECK:]], 1)
        return self.stgcn(joints)[:, self.kept]
