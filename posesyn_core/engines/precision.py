"""A network in another precision: halved, but for the parts that need float32; its callers see float32 all the same.

The half-precision network is strongly typed: every cast stands in the module itself, at its inputs and outputs and at
the borders of the parts that stay in float32. Eager torch, torch.compile, ONNX Runtime and TensorRT so compute the same
thing, and none of them has to guess which layer may be lowered.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from posesyn_core.contracts.engines import INT8, PRECISIONS, ExportableModule
from posesyn_core.errors import UserError

DTYPES: Mapping[str, torch.dtype] = dict(zip(PRECISIONS, (torch.float32, torch.float16, torch.bfloat16), strict=True))


class Float32Borders(nn.Module):
    """A network in half precision behind float32 inputs and outputs; integers pass as they are.

    Takes its inputs by name or in the order of ``names``; returns the network's dict.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.names, self.dtype = network, names, dtype

    def forward(self, *tensors: Tensor, **named: Tensor) -> dict[str, Tensor]:
        inputs = {**dict(zip(self.names, tensors, strict=False)), **named}
        outputs = self.network(**{name: _cast(tensor, self.dtype) for name, tensor in inputs.items()})
        return {name: _cast(tensor, torch.float32) for name, tensor in outputs.items()}


class KeptFloat32(nn.Module):
    """A part that computes in float32 inside a network of another dtype."""

    def __init__(self, part: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.part, self.dtype = part.float(), dtype

    def forward(self, *arguments: Any, **named: Any) -> Any:
        arguments, named = pytree.tree_map_only(Tensor, lambda t: _cast(t, torch.float32), (arguments, named))
        return pytree.tree_map_only(Tensor, lambda t: _cast(t, self.dtype), self.part(*arguments, **named))


def in_precision(module: ExportableModule, precision: str) -> nn.Module:
    """``module`` for inference in "fp32", "fp16" or "bf16", taking and returning float32 tensors by name.

    The module itself is never changed: in half precision the result is a copy. UserError for another precision, or if
    ``keep_fp32`` names a part that the network does not have.
    """
    if precision == INT8:
        raise UserError("int8 is for the engines 'onnx' and 'openvino', which read graphs that are quantised")
    if precision not in DTYPES:
        raise UserError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    dtype = DTYPES[precision]
    if dtype == torch.float32:
        return Float32Borders(module.module, tuple(module.example), dtype).eval()
    network = copy.deepcopy(module.module).eval().to(dtype)
    kept = dict(module.module.named_modules())
    for name in module.keep_fp32:
        if name not in kept:
            raise UserError(f"the network {module.name!r} has no part {name!r}, which it wants kept in float32")
        # from the original: a weight that went through half precision has lost its digits
        network.set_submodule(name, KeptFloat32(copy.deepcopy(kept[name]).eval(), dtype))
    return Float32Borders(network, tuple(module.example), dtype)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
