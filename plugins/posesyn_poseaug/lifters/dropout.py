"""Dropout whose masks are cheap: on a CPU torch draws them one number at a time, which takes longer than the layers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import relu

CACHED = 1 << 17
"""Values to be worked on at a time, so that they stay in the processor's second cache."""


class Dropout(nn.Module):
    """``nn.Dropout`` with masks of 2 to 16 random bits a value, from torch's global generator."""

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


class NormedRelu(Dropout):
    """A norm over the batch, ReLU and this dropout, in fewer passes over the values than one after the other."""

    def forward(self, x: Tensor, norm: nn.BatchNorm1d) -> Tensor:  # type: ignore[override]  # what comes first, too
        """(N, C) -> (N, C) through ``norm``, whose running averages move in training."""
        if not (self.training and norm.training) or len(x) == 1:  # of which torch says that it can't be normed
            return super().forward(relu(norm(x)))
        assert norm.num_batches_tracked is not None and norm.momentum is not None  # as all norms of lifters
        norm.num_batches_tracked.add_(1)
        averages = norm.running_mean, norm.running_var
        y: Tensor = _NormedRelu.apply(x, norm.weight, norm.bias, *averages, norm.momentum, norm.eps, self.rate)
        return y


class _NormedRelu(torch.autograd.Function):
    """What is positive behind it has come through ReLU and dropout, so the result itself is the gradient's mask. The
    scale of what is not dropped is the norm's, too: ReLU lets it pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor,
        momentum: float, eps: float, rate: float,
    ) -> Tensor:  # fmt: skip
        ctx.eps, ctx.scale = eps, 1 / (1 - rate)
        weight, bias = weight * ctx.scale, bias * ctx.scale
        y, *moments = torch.native_batch_norm(x, weight, bias, mean, var, True, momentum, eps)
        y.relu_()
        if rate > 0:
            rows = max(1, CACHED // y[0].numel()) if y.device.type == "cpu" else len(y)
            for some, mask in zip(y.split(rows), kept(y, rate).split(rows), strict=True):
                some.mul_(mask)
        ctx.save_for_backward(x, y, weight, *moments)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, mean, deviation = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradient, y, 0)
        to_x, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            passed, x, weight, None, None, mean, deviation, True, ctx.eps, ctx.needs_input_grad[:3]
        )
        scaled = (None if each is None else each * ctx.scale for each in (to_weight, to_bias))
        return to_x, *scaled, None, None, None, None, None


def kept(x: Tensor, rate: float) -> Tensor:
    """0 with probability ``rate``, else 1, in the shape of ``x``; integers, by which floats are multiplied fast.

    The rate is met to 1/65536; multiples of 1/256 take half as many random bits, those of the published quarter two.
    """
    if (rate * 4).is_integer():
        return _kept_by_pairs(x, round(rate * 4))
    kind, levels = (torch.int8, 1 << 8) if (rate * 256).is_integer() else (torch.int16, 1 << 16)
    bits = _random(x.numel(), kind, x.device).view(x.shape)
    # written as what it compares, not as bool: torch has vector instructions for that alone
    return torch.ge(bits, round(rate * levels) - levels // 2, out=torch.empty_like(bits))


def _kept_by_pairs(x: Tensor, quarters: int) -> Tensor:
    """A byte holds four values' two bits each."""
    count = -(-x.numel() // 4)
    bits = _random(count, torch.uint8, x.device)
    mask = torch.empty(4, count, dtype=torch.uint8, device=x.device)
    for at, part in enumerate(mask):
        torch.ge(bits & (3 << 2 * at), quarters << 2 * at, out=part)
    return mask.flatten()[: x.numel()].view(x.shape)


def _random(count: int, kind: torch.dtype, device: torch.device) -> Tensor:
    """Integers of all values."""
    words = torch.empty(-(-count * kind.itemsize // 8), dtype=torch.int64, device=device)
    return words.random_(-(2**63), None).view(kind)[:count]
