"""Dropout whose masks are cheap: on a CPU torch draws them one number at a time, which takes longer than the layers."""

import torch
from torch import Tensor, nn

LEVELS = 1 << 16
"""A value is dropped by 16 random bits: the rate is met to 1/65536."""


class Dropout(nn.Module):
    """``nn.Dropout`` with masks of 16 bits a value, from torch's global generator."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def extra_repr(self) -> str:
        return f"rate={self.rate}"

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; each value is dropped with probability ``rate``, the others are scaled up."""
        if not self.training or self.rate == 0:
            return x
        return x * mask(x, self.rate)


def mask(x: Tensor, rate: float) -> Tensor:
    """0 with probability ``rate``, else 1 / (1 - rate), in the shape of ``x``."""
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    threshold = round(rate * LEVELS) - LEVELS // 2
    return (bits >= threshold).to(x.dtype).mul_(1 / (1 - rate))
