"""Guidance encoders: a map of the body (depth, normal, semantic, skeleton) -> features beside the latents.

Zhu et al., "Champ" (ECCV 2024), section 3.3. The kinds of guidance have encoders of one shape with weights of their
own; their features are summed and added to the denoising network's first layer.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from posesyn_champ.attention import SpatialTransformer

HEADS = 8
GROUPS = 32


class GuidanceEncoder(nn.Module):
    """Convolutions that shrink a map eightfold, and self-attention over what is left of it.

    ``attentions.0`` to ``attentions.4`` and ``guidance_attention`` are in every checkpoint and never used.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 96, 256), outputs: int = 320) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        steps = [step for here, there in pairwise(channels) for step in ((here, here, 1), (here, there, 2))]
        self.blocks = nn.ModuleList(nn.Conv2d(a, b, 3, stride=stride, padding=1) for a, b, stride in steps)
        self.attentions = nn.ModuleList(_attention(width) for _, width, _ in steps)
        self.guidance_attention = _attention(channels[-1])
        self.conv_out = nn.Conv2d(channels[-1], outputs, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, 3, H, W) in 0..1 -> features (N, C, H / 8, W / 8); each frame for itself."""
        x = silu(self.conv_in(maps))
        for block in self.blocks:
            x = silu(block(x))
        return self.conv_out(self.attentions[-1](x))


def _attention(channels: int) -> SpatialTransformer:
    return SpatialTransformer(channels, HEADS, min(GROUPS, channels))


def fuse(encoders: nn.ModuleDict, maps: Mapping[str, Tensor], chunk: int, take: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum of what the encoders see, (1, C, F, h, w); ``maps`` by the kind of guidance, bytes (F, 3, H, W).

    ``chunk`` frames are encoded at once, which changes nothing but the memory; ``take`` puts what is encoded onto the
    encoders' device, in their precision.
    """
    total = sum(
        torch.cat([encoders[kind](take(part / 255)) for part in frames.split(chunk)]) for kind, frames in maps.items()
    )
    assert isinstance(total, Tensor)
    return total.transpose(0, 1)[None]
