"""Linear layers that train fast on a CPU.

Torch computes float32 products by MKL there, which on some processors (AMD's with AVX-512) is a fifth slower than
oneDNN, the library that torch itself uses for convolutions. Large products go to the latter here; where it isn't to be
had, everything is ``torch.nn.functional.linear``.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

LARGE = 1 << 24
"""Multiplications from which on oneDNN's start, about a tenth of a millisecond, is worth its while."""
LARGEST = 1 << 28
"""And from which on it is worth a copy of what it wants turned over."""


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`dense`."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return dense(input, self.weight, self.bias)


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``linear`` of rows ``x`` (N, in) by ``weight`` (out, in) and ``bias`` (out,), with the same gradients.

    Autocast, float64, other devices and graphs that are being exported or compiled get ``linear`` itself.
    """
    if not _suited(x, weight):
        return linear(x, weight, bias)
    product: Tensor = _Dense.apply(x, weight, bias)
    return product


def _suited(x: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()  # first: a condition on sizes would be part of what is compiled
        and x.ndim == 2
        and len(x) * weight.numel() >= LARGE
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and _available()
    )


@cache
def _available() -> bool:
    """Whether torch was built with oneDNN and has its product of plain tensors."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b by oneDNN."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


class _Dense(torch.autograd.Function):
    """``linear``, all three of its large products by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x.contiguous(), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            _product(gradient.contiguous(), weight.T, None) if to_x else None,
            _to_weight(gradient, x) if to_weight else None,
            gradient.sum(0) if to_bias else None,
        )


def _to_weight(gradient: Tensor, x: Tensor) -> Tensor:
    """(out, in) the gradient of the weight, of the answer's (N, out) and the rows (N, in)."""
    if gradient.numel() * x.shape[1] < LARGEST:
        return gradient.T @ x
    return _product(gradient.T.contiguous(), x.T, None)
