"""BlazePose's person detector: a picture of 224 pixels -> for 2254 anchors a face box, four points of the body, a
score.

Layer for layer the graph ``pose_detection.tflite``.
"""

import torch
from torch import Tensor, nn

from posesyn_blazepose.blocks import Backbone, BackboneSizes, Convolution, Residual, Separable, doubled

SIZE = 224
"""Pixels of the picture's side."""
NUMBERS = 12
"""Of an anchor: x, y, width, height of the face, then x, y of four points."""
SIZES = BackboneSizes((16, 24, 40, 80, 112, 192), (1, 1, 2, 2, 3))
BLOCK = 2
"""A cell's channels become cells of half its side by blocks of so many."""
ANCHORS = {8: 2, 16: 2, 32: 6}
"""Anchors in each cell, by the cell's stride in pixels."""


class DetectorNetwork(nn.Module):
    """Pictures in, raw boxes and scores out."""

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        self.backbone = Backbone(SIZES)
        self.eighth = Separable(SIZES.widths[2], 96, inner=False)
        self.sixteenth = Separable(SIZES.widths[4], 192, inner=False)
        self.sixteenth_top = Convolution(SIZES.top, 192)
        self.sixteenth_blocks = nn.Sequential(Residual(192, inner=False), Residual(192, inner=False))
        self.eighth_top = Convolution(192, 96)
        self.eighth_blocks = nn.Sequential(Residual(96, inner=False), Residual(96, inner=False))
        channels = {8: 96 // BLOCK**2, 16: 192 // BLOCK**2, 32: SIZES.top // BLOCK**2}
        self.heads = nn.ModuleList(
            nn.ModuleList(
                Separable(channels[stride], count * numbers, stride=2, active=False, inner=False, centred=True)
                for numbers in (1, NUMBERS)
            )
            for stride, count in ANCHORS.items()
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, 224, 224), RGB in -1..1 -> ``scores`` (B, 2254) logits, ``boxes`` (B, 2254, 12) pixels."""
        _, _, eighth, sixteenth, top = self.backbone(images)
        x = self.sixteenth_blocks(self.sixteenth_top(doubled(top)) + self.sixteenth(sixteenth))
        y = self.eighth_blocks(self.eighth_top(doubled(x)) + self.eighth(eighth))
        found = []
        for head, level in zip(self.heads, (y, x, top), strict=True):
            spread = cells_of_blocks(level)
            found.append(
                [
                    _by_anchor(branch(spread), numbers)
                    for branch, numbers in zip(head.children(), (1, NUMBERS), strict=True)
                ]
            )
        scores, boxes = (torch.cat([level[k] for level in found], 1) for k in (0, 1))
        return {"scores": scores[..., 0], "boxes": boxes}


def cells_of_blocks(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C / 4, 2 H, 2 W), the block's row and column the outermost part of the channels' index.

    TensorFlow's DEPTH_TO_SPACE; torch's ``pixel_shuffle`` has them innermost.
    """
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, BLOCK, BLOCK, channels // BLOCK**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // BLOCK**2, height * BLOCK, width * BLOCK)


def _by_anchor(x: Tensor, numbers: int) -> Tensor:
    """(B, anchors x numbers, H, W) -> (B, H x W x anchors, numbers), row by row."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, numbers)
