"""Attention over the pixels of a frame, with the reference's features as further keys: all of Champ's networks use it.

Parameters carry the official names, which are those of diffusers' ``Transformer2DModel``. N counts frames: those of all
clips of a batch B in a row, F each.
"""

import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Attention(nn.Module):
    """Multi-head attention; queries, keys and values without bias.

    ``rows``: how many rows of the batch are attended to at once (0 = all). Less memory where no fused kernel runs.
    """

    def __init__(self, channels: int, heads: int, context: int = 0) -> None:
        """``context`` is the width of what is attended to, if it is another."""
        super().__init__()
        self.heads = heads
        self.rows = 0
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context or channels, channels, bias=False)
        self.to_v = nn.Linear(context or channels, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor, bank: Tensor | None = None, frames: int = 1) -> Tensor:
        """x (N, T, C) attends to itself and to ``bank`` (B, S, C), which all ``frames`` of its clip share."""
        query, key, value = self.to_q(x), self.to_k(x), self.to_v(x)
        if bank is not None:  # projected once per clip, not once per frame
            key = torch.cat([key, every_frame(self.to_k(bank), frames)], dim=1)
            value = torch.cat([value, every_frame(self.to_v(bank), frames)], dim=1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        if self.rows:
            parts = zip(*(part.split(self.rows) for part in (query, key, value)), strict=True)
            gathered = torch.cat([scaled_dot_product_attention(*part) for part in parts])
        else:
            gathered = scaled_dot_product_attention(query, key, value)
        return self.to_out(gathered.transpose(1, 2).flatten(2))

    def of_one(self, token: Tensor) -> Tensor:
        """What any query gets from a single ``token`` (B, 1, context): (B, 1, C).

        The softmax over one key is 1, so queries and keys (``to_q``, ``to_k``) have no influence.
        """
        return self.to_out(self.to_v(token))


def every_frame(x: Tensor, frames: int) -> Tensor:
    """(B, ...) -> (B * frames, ...): each row as often as its clip has frames."""
    return x[:, None].expand(-1, frames, *[-1] * (x.ndim - 1)).flatten(0, 1)


class TransformerBlock(nn.Module):
    """Self-attention, the image token (where ``token`` gives its width) and a feed-forward layer, each with residual.

    With one image token, cross-attention is a constant vector: ``norm2``, ``attn2.to_q`` and ``attn2.to_k`` are in
    every checkpoint and influence nothing.
    """

    def __init__(self, channels: int, heads: int, token: int = 0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads)
        if token:
            self.norm2 = nn.LayerNorm(channels)
            self.attn2 = Attention(channels, heads, token)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn="geglu")

    def forward(self, x: Tensor, token: Tensor | None = None, bank: Tensor | None = None, frames: int = 1) -> Tensor:
        """x (N, T, C), ``token`` (B, 1, width), ``bank`` (B, S, C) -> (N, T, C)."""
        x = x + self.attn1(self.norm1(x), bank, frames)
        if token is not None:
            x = x + every_frame(self.attn2.of_one(token), frames)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """One block over the pixels of each frame, between 1x1 convolutions, with residual."""

    def __init__(self, channels: int, heads: int, groups: int, token: int = 0) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, heads, token)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, token: Tensor | None = None, bank: Tensor | None = None, frames: int = 1) -> Tensor:
        """x (N, C, h, w) -> (N, C, h, w)."""
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        tokens = self.transformer_blocks[0](tokens, token, bank, frames)
        return x + self.proj_out(tokens.transpose(1, 2).unflatten(2, x.shape[2:]))
