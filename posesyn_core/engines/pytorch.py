"""The engines that need nothing but torch: eager, and compiled."""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from attrs import frozen

from posesyn_core.contracts.engines import EngineConfig, ExportableModule, NetworkCall
from posesyn_core.engines.batches import check_batch
from posesyn_core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn


@frozen
class TorchEngine:
    """Runs the module as torch does: eagerly, or compiled."""

    config: EngineConfig
    compiled: bool = False

    def load(self, module: ExportableModule) -> NetworkCall:
        """Put the network, or a copy if that changes it, onto the device. UserError if there is none."""
        import torch

        device = _device(self.config.device)
        network = _on(module, self.config.precision, device)
        run = _compile(network, device) if self.compiled else network

        def call(tensors: "Mapping[str, torch.Tensor]") -> "Mapping[str, torch.Tensor]":
            check_batch(module, tensors, self.config.batch)
            home = next(iter(tensors.values())).device
            with torch.inference_mode(), _true_float32(device):
                outputs = run(**{name: tensor.to(device) for name, tensor in tensors.items()})
                # CUDA graphs write their outputs to the same place in every call
                return {name: _own(tensor, home, self.compiled) for name, tensor in outputs.items()}

        return call


def _device(name: str) -> "torch.device":
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA raises the latter
        reason = str(error).splitlines()[0]
        raise UserError(f"the device {name!r} can't be used: {reason}; choose another with --device") from error
    return torch.device(name)


def _true_float32(device: "torch.device") -> "AbstractContextManager[None]":
    """Let cuDNN compute float32 as such: in its default, TF32, convolutions keep ten bits of the mantissa."""
    import torch

    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if device.type == "cuda" else nullcontext()


def _on(module: ExportableModule, precision: str, device: "torch.device") -> "nn.Module":
    """The network on a device; the estimator's own one stays where it is, for it may be in training there."""
    from posesyn_core.engines.precision import in_precision

    network = in_precision(module, precision)
    if all(weight.device == device for weight in network.parameters()):
        return network
    return copy.deepcopy(network).to(device)


def _compile(network: "nn.Module", device: "torch.device") -> "Callable[..., Mapping[str, torch.Tensor]]":
    """Compiled for the first batch size it meets, and for any size if it meets another."""
    import torch

    return torch.compile(network, mode="reduce-overhead" if device.type == "cuda" else "default")


def _own(tensor: "torch.Tensor", home: "torch.device", reused: bool) -> "torch.Tensor":
    return tensor.clone() if reused and tensor.device == home else tensor.to(home)
