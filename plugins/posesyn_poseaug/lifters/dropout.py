"""Dropout whose masks are cheap: on a CPU torch draws them one number at a time, which takes longer than the layers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import relu


class Dropout(nn.Module):
    """``nn.Dropout`` with masks of 8 or 16 random bits a value, from torch's global generator."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def extra_repr(self) -> str:
        return f"rate={self.rate}"

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; each value is dropped with probability ``rate``, the others are scaled up."""
        if not self.training or self.rate == 0:
            return x
        return x * kept(x, self.rate).to(x.dtype).mul_(1 / (1 - self.rate))


class DroppedRelu(Dropout):
    """ReLU and the same dropout after it, in fewer passes over the values; in training it overwrites what it is given,
    which a norm before it can do without."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; negative values are 0 too."""
        if not self.training or self.rate == 0:
            return relu(x)
        y: Tensor = _DroppedRelu.apply(x, self.rate)
        return y


class _DroppedRelu(torch.autograd.Function):
    """What is positive behind it has come through both, so the result itself is the gradient's mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        y = x.relu_().mul_(kept(x, rate)).mul_(1 / (1 - rate))
        ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        ctx.rate = rate
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.threshold_backward(gradient, y, 0)
        return passed.mul_(1 / (1 - ctx.rate)), None


def kept(x: Tensor, rate: float) -> Tensor:
    """0 with probability ``rate``, else 1, in the shape of ``x``; integers, by which floats are multiplied fast.

    The rate is met to 1/65536; multiples of 1/256, such as the published quarter, take half as many random bits.
    """
    kind, levels = (torch.int8, 1 << 8) if (rate * 256).is_integer() else (torch.int16, 1 << 16)
    words = torch.empty(-(-x.numel() * kind.itemsize // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    bits = words.view(kind)[: x.numel()].view(x.shape)
    # written as what it compares, not as bool: torch has vector instructions for that alone
    return torch.ge(bits, round(rate * levels) - levels // 2, out=torch.empty_like(bits))
