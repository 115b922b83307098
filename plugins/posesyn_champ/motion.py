"""Temporal modules of AnimateDiff: every pixel attends along the frames of its window.

They stand behind every layer of the denoising network; ``motion_module.pth`` holds their weights.
"""

import math

import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from posesyn_champ.attention import Attention

HEADS = 8
GROUPS = 32
PLACES = 32
"""The longest window: frames that the position table knows."""


class PositionTable(nn.Module):
    """Sine and cosine of each place in the window, a stored buffer (1, 32, C)."""

    pe: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rate = torch.exp(-math.log(10000.0) * torch.arange(0, channels, 2) / channels)
        angles = torch.arange(PLACES)[:, None] * rate
        self.register_buffer("pe", torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None])


class TemporalAttention(Attention):
    """Attention over frames that know their place in the window."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, HEADS)
        self.pos_encoder = PositionTable(channels)

    def forward(self, x: Tensor, bank: Tensor | None = None, frames: int = 1) -> Tensor:
        """x (pixels, F, C), F at most 32."""
        return super().forward(x + self.pos_encoder.pe[:, : x.shape[1]], bank, frames)


class TemporalBlock(nn.Module):
    """Two attentions along the frames and a feed-forward layer, each with residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(channels) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.ff = FeedForward(channels, activation_fn="geglu")
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(pixels, F, C) -> (pixels, F, C)."""
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            x = x + attention(norm(x))
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """One temporal block between linear layers, with residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels)])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """x (B * frames, C, h, w) -> the same shape."""
        height, width = x.shape[2:]
        tokens = self.norm(x).unflatten(0, (-1, frames)).permute(0, 3, 4, 1, 2).flatten(0, 2)  # (B h w, F, C)
        tokens = self.proj_out(self.transformer_blocks[0](self.proj_in(tokens)))
        return x + tokens.unflatten(0, (-1, height, width)).permute(0, 3, 4, 1, 2).flatten(0, 1)


class MotionModule(nn.Module):
    """The temporal transformer under its official name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """x (B * frames, C, h, w) -> the same shape."""
        return self.temporal_transformer(x, frames)
