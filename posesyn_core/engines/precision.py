"""A network in another precision: halved, but for the parts that need float32; its callers see float32 all the same.

The half-precision network is strongly typed: every part casts what it is given to the type that it computes in, and
what leaves a part that is kept in float32 stays float32 until a halved part takes it. Eager torch, torch.compile, ONNX
Runtime and TensorRT so compute the same thing, and none of them has to guess which layer may be lowered.
"""

import copy
from collections.abc import Collection, Mapping
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from posesyn_core.contracts.engines import INT8, PRECISIONS, ExportableModule
from posesyn_core.engines.folding import fold_norms
from posesyn_core.engines.rounding import round_weights
from posesyn_core.errors import UserError

DTYPES: Mapping[str, torch.dtype] = dict(zip(PRECISIONS, (torch.float32, torch.float16, torch.bfloat16), strict=True))

TYPICAL = 4
"""How many of a network's typical inputs tell the means by which its weights are rounded."""


class Float32Borders(nn.Module):
    """A network in half precision behind float32 inputs and outputs; integers, and what is ``kept``, pass as they are.

    Takes its inputs by name or in the order of ``names``; returns the network's dict.
    """

    def __init__(
        self, network: nn.Module, names: tuple[str, ...], dtype: torch.dtype, kept: Collection[str] = ()
    ) -> None:
        super().__init__()
        self.network, self.names, self.dtype, self.kept = network, names, dtype, tuple(kept)

    def forward(self, *tensors: Tensor, **named: Tensor) -> dict[str, Tensor]:
        inputs = {**dict(zip(self.names, tensors, strict=False)), **named}
        halved = {name: t if name in self.kept else _cast(t, self.dtype) for name, t in inputs.items()}
        return {name: _cast(tensor, torch.float32) for name, tensor in self.network(**halved).items()}


def in_precision(module: ExportableModule, precision: str) -> nn.Module:
    """``module`` for inference in "fp32", "fp16" or "bf16", taking and returning float32 tensors by name.

    The module itself is never changed: in half precision the result is a copy. UserError for another precision, or if
    ``keep_fp32`` names a part that the network does not have.
    """
    if precision == INT8:
        raise UserError("int8 is for the engines 'onnx' and 'openvino', which read graphs that are quantised")
    if precision not in DTYPES:
        raise UserError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    dtype, names = DTYPES[precision], tuple(module.example)
    if dtype == torch.float32:
        return Float32Borders(module.module, names, dtype).eval()
    network = copy.deepcopy(module.module).eval()
    fold_norms(network, _where_it_is(network, module.example))
    kept = [(name, _found(network, module.name, name)) for name in module.keep_fp32 if name not in names]
    if module.calibration is not None:
        typical = (_where_it_is(network, inputs) for inputs in islice(module.calibration(), TYPICAL))
        round_weights(network, typical, dtype)
    network.to(dtype)
    for name, part in kept:
        _put_back(network, name, part)
    for part in network.modules():
        if any(weight.dtype == dtype for weight in part.parameters(recurse=False)):
            _casts(part, dtype)
    return Float32Borders(network, names, dtype, set(names) & set(module.keep_fp32))


def _where_it_is(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs on the network's device."""
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def _found(network: nn.Module, named: str, name: str) -> nn.Module | Tensor:
    """A copy of a part, or of one of a part's own tensors: a weight that went through half precision has lost its
    digits."""
    modules = dict(network.named_modules(remove_duplicate=False))
    parent, _, own = name.rpartition(".")
    if name in modules:
        return copy.deepcopy(modules[name])
    if parent in modules and isinstance(tensor := getattr(modules[parent], own, None), Tensor):
        return tensor.detach().clone()
    raise UserError(f"the network {named!r} has no part {name!r}, which it wants kept in float32")


def _put_back(network: nn.Module, name: str, part: nn.Module | Tensor) -> None:
    if isinstance(part, nn.Module):
        network.set_submodule(name, part)
        _casts(part, torch.float32)
    else:
        parent, _, own = name.rpartition(".")
        getattr(network.get_submodule(parent), own).data = part


def _casts(part: nn.Module, dtype: torch.dtype) -> None:
    """Let a part cast what it is given."""
    part.register_forward_pre_hook(partial(_given, dtype), with_kwargs=True)


def _given(dtype: torch.dtype, _: nn.Module, arguments: Any, named: Any) -> Any:
    return pytree.tree_map_only(Tensor, partial(_cast, dtype=dtype), (arguments, named))


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
