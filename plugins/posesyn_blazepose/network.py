"""BlazePose's landmark networks (lite, full, heavy): a crop of 256 pixels -> 39 landmarks, flag, heatmaps, person mask.

Layer for layer the graphs ``pose_landmark_*.tflite``. Landmarks 0..32 are the pose, 33 and 34 say where the next crop
lies, the others are not used.
"""

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_blazepose.blocks import Backbone, BackboneSizes, Convolution, Residual, Separable, doubled

SIZE = 256
"""Pixels of the crop's side."""
CELLS = 64
"""Cells of the heatmaps' side."""
LANDMARKS = 39
REACH = 4
"""Cells about a landmark in which its heatmap refines it: a window of 9 x 9."""
SURE = 0.5
"""The heatmap's probability from which it does."""
CELL_STEP, SURE_STEP = 0.05, 0.01
"""Widths, in cells and in probability, of what is a jump in MediaPipe."""


@frozen
class Sizes:
    """``lateral``: channels of the feature pyramid; ``tower``: (channels, residual blocks) of the maps of 1/8, 1/16 and
    1/32 between pyramid and regressor (heavy alone); ``width``: the regressor's channels; ``depths``: its residual
    blocks at 4 x 4 and at 2 x 2; ``plain_half``: whether the mask's finest lateral is a residual block (lite
    alone)."""

    backbone: BackboneSizes
    lateral: int
    width: int
    depths: tuple[int, int]
    tower: tuple[tuple[int, int], ...] = ()
    residual_half: bool = False


SIZES = {
    "lite": Sizes(BackboneSizes((8, 16, 24, 40, 56, 96), (1, 1, 2, 2, 3)), 32, 192, (2, 3), residual_half=True),
    "full": Sizes(BackboneSizes((16, 24, 32, 64, 88, 144), (1, 1, 2, 2, 3)), 48, 288, (4, 5)),
    "heavy": Sizes(
        BackboneSizes((24, 32, 56, 112, 160, 272), (3, 3, 5, 5, 7), narrow=2),
        48, 288, (7, 7), tower=((96, 6), (192, 7), (288, 7)),
    ),
}  # fmt: skip


class Pyramid(nn.Module):
    """The backbone's maps brought together at 1/4 of the size."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = sizes.backbone.widths
        self.laterals = nn.ModuleList(Separable(widths[at], sizes.lateral) for at in (1, 2, 4))
        self.top = Separable(sizes.backbone.top, sizes.lateral)

    def forward(self, quarter: Tensor, eighth: Tensor, sixteenth: Tensor, top: Tensor) -> Tensor:
        """Maps of falling size -> (B, lateral, S / 4, S / 4)."""
        laterals = [lateral(x) for lateral, x in zip(self.laterals, (quarter, eighth, sixteenth), strict=True)]
        x = self.top(top)
        for lateral in reversed(laterals):
            x = doubled(x) + lateral
        return x


class Mask(nn.Module):
    """Which pixels show the person."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.backbone.widths[0]
        self.finest = Residual(width) if sizes.residual_half else Separable(width, 8)
        self.reduce = Separable(sizes.lateral, 8)
        self.half_blocks = nn.Sequential(Residual(8), Residual(8))
        self.full_blocks = nn.Sequential(Residual(8), Residual(8))
        self.out = Convolution(8, 1, 3, active=False)

    def forward(self, half: Tensor, pyramid: Tensor) -> Tensor:
        """Maps of S / 2 and S / 4 -> logits (B, S, S)."""
        lateral = self.finest(half)
        x = self.half_blocks(doubled(self.reduce(pyramid)) + lateral)
        return self.out(self.full_blocks(doubled(x)))[:, 0]


class Tower(nn.Module):
    """heavy's way from the pyramid down to 1/32, the backbone's maps of 1/8 and 1/16 added on it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = sizes.backbone.widths
        self.laterals = nn.ModuleList(
            Separable(widths[at], channels) for at, (channels, _) in zip((2, 4), sizes.tower[:2], strict=True)
        )
        inputs, levels = sizes.lateral, []
        for channels, depth in sizes.tower:
            levels.append(
                nn.Sequential(Residual(inputs, channels, stride=2), *(Residual(channels) for _ in range(depth)))
            )
            inputs = channels
        self.levels = nn.ModuleList(levels)

    def forward(self, pyramid: Tensor, eighth: Tensor, sixteenth: Tensor) -> Tensor:
        """-> (B, the last level's channels, S / 32, S / 32)."""
        first, second = (lateral(x) for lateral, x in zip(self.laterals, (eighth, sixteenth), strict=True))
        x = self.levels[0](pyramid) + first
        return self.levels[2](self.levels[1](x) + second)


class Regressor(nn.Module):
    """The last maps -> landmarks in the crop and in the world, and whether there is a person."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.top = Separable(sizes.backbone.top, width)
        blocks: list[nn.Module] = []
        for depth in sizes.depths:
            blocks += [Residual(width, stride=2), *(Residual(width) for _ in range(depth))]
        self.blocks = nn.Sequential(*blocks)
        self.landmarks = nn.Conv2d(width, LANDMARKS * 5, 2)
        self.world = nn.Conv2d(width, LANDMARKS * 3, 2)
        self.flag = nn.Conv2d(width, 1, 2)

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """(B, width, 2, 2) -> ``landmarks`` (B, 39, 5), ``world`` (B, 39, 3), ``flag`` (B,)."""
        return {
            "landmarks": self.landmarks(hidden).reshape(-1, LANDMARKS, 5),
            "world": self.world(hidden).reshape(-1, LANDMARKS, 3),
            "flag": torch.sigmoid(self.flag(hidden)).flatten(),
        }


class LandmarkNetwork(nn.Module):
    """One crop -> everything that BlazePose says of it."""

    def __init__(self, sizes: Sizes) -> None:
        """Random weights."""
        super().__init__()
        self.sizes = sizes
        self.backbone = Backbone(sizes.backbone)
        self.pyramid = Pyramid(sizes)
        self.mask = Mask(sizes)
        self.tower = Tower(sizes) if sizes.tower else None
        self.heatmaps = Convolution(sizes.lateral, LANDMARKS, active=False)
        self.regressor = Regressor(sizes)

    def forward(self, images: Tensor, mask: bool = False, heatmaps: bool = True) -> dict[str, Tensor]:
        """Crops (B, 3, 256, 256), RGB in 0..1.

        ``landmarks`` (B, 39, 5): x, y, z in pixels of the crop, logits of visibility and presence, unrefined; ``flag``
        (B,) probability of a person; ``world`` (B, 39, 3) metres from the middle of the hips; with ``heatmaps`` their
        logits (B, 39, 64, 64); with ``mask`` its logits (B, 256, 256).
        """
        half, quarter, eighth, sixteenth, top = self.backbone(images)
        said, below = {}, None
        if mask or heatmaps or self.tower is not None:
            pyramid = self.pyramid(quarter, eighth, sixteenth, top)
            if mask:
                said["mask"] = self.mask(half, pyramid)
            if self.tower is not None:
                below = self.tower(pyramid, eighth, sixteenth)
            if heatmaps:
                said["heatmaps"] = self.heatmaps(pyramid)
        last = self.regressor.top(top)
        hidden = self.regressor.blocks(last if below is None else below + last)
        return {**self.regressor(hidden), **said}


def joined(network: LandmarkNetwork) -> LandmarkNetwork:
    """The network with one layer fewer, for looks without mask, and itself no more: nothing bends what the stem's last
    layer says before the first group's expands it, so both are one product.

    For lite that is less work, and spares ONNX Runtime a map of 8 channels, which it lays out anew.
    """
    stem, block = network.backbone.stem, network.backbone.groups[0].get_submodule("0")
    last, expand = stem[2], block.get_submodule("expand")
    assert isinstance(last, Convolution) and isinstance(expand, Convolution)
    one = Convolution(last.in_channels, expand.out_channels)
    weight, before = expand.weight[..., 0, 0], last.weight[..., 0, 0]
    with torch.no_grad():
        one.weight.copy_((weight @ before)[..., None, None])
        one.get_parameter("bias").copy_(weight @ last.get_parameter("bias") + expand.get_parameter("bias"))
    stem[2] = nn.Identity()
    block.set_submodule("expand", one)
    return network


def refined(landmarks: Tensor, heatmaps: Tensor) -> Tensor:
    """x and y of landmarks (B, 39, 5) moved to the centre of what their heatmap (B, 39, 64, 64) shows about them.

    In a window of 9 x 9 cells about the landmark's own; only where the heatmap is sure. As a sum over the whole map
    with a weight that is 0 outside the window, so that it can be exported and learnt through. Where MediaPipe's choices
    jump (the window to the next cell, a heatmap to being sure) this goes over in a small step, so that the last digits
    of two engines don't end pixels apart.
    """
    cells = torch.arange(CELLS, device=landmarks.device, dtype=landmarks.dtype)
    place = landmarks[..., :2].detach() * (CELLS / SIZE)
    beyond = (cells + 0.5 - place[..., None]).abs() - (REACH + 0.5)
    near = (0.5 - beyond / CELL_STEP).clamp(0, 1)
    shown, near_rows = torch.sigmoid(heatmaps) * near[..., :1, :], near[..., 1, :]
    # products with the rows' window, small ones, in place of another map of the size of all heatmaps
    sums, moments = (torch.stack([near_rows, near_rows * cells], 2) @ shown).unbind(2)
    total, columns, rows = sums.sum(-1), (sums * cells).sum(-1), moments.sum(-1)
    centres = torch.stack([columns, rows], -1) / total.clamp(min=1e-6)[..., None] * (SIZE / CELLS)
    inside = ((place > -1) & (place < CELLS)).all(-1).to(landmarks.dtype)
    most = (shown.amax(3) * near_rows).amax(2)
    sure = ((most - SURE) / SURE_STEP + 0.5).clamp(0, 1) * inside
    moved = landmarks[..., :2] + sure[..., None] * (centres - landmarks[..., :2])
    return torch.cat([moved, landmarks[..., 2:]], -1)
