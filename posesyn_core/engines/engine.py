"""Engines: the batches that they are given, and the two that need nothing but torch."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from posesyn_core.components import Engine, EngineConfig, ExportableModule, NetworkCall
from posesyn_core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")

CPU_PASS = 8
"""On a CPU a network always computes so many samples at once, and with that a sample's result depends on itself alone:
kernels are chosen by the batch's size, but treat its rows alike. Larger batches are hardly faster there."""


@frozen
class LoadedNetwork:
    """A network on an engine, with the smallest and the largest batch that it should be given."""

    call: NetworkCall
    batch: tuple[int, int]

    def passes(self, items: Sequence[T]) -> Iterator[tuple[list[T], int]]:
        """Split a batch into (pass, how many of it count); a pass that is too small repeats its last item."""
        least, most = self.batch
        for at in range(0, len(items), most):
            part = list(items[at : at + most])
            yield part + part[-1:] * (least - len(part)), len(part)

    def __call__(self, tensors: "Mapping[str, torch.Tensor]") -> "Mapping[str, torch.Tensor]":
        """As a NetworkCall for any batch: in passes, put together again."""
        import torch

        size = len(next(iter(tensors.values())))
        if self.batch[0] <= size <= self.batch[1]:
            return self.call(tensors)
        outputs = []
        for rows, count in self.passes(range(size)):
            part = self.call({name: tensor[torch.tensor(rows)] for name, tensor in tensors.items()})
            outputs.append({name: tensor[:count] for name, tensor in part.items()})
        return {name: torch.cat([part[name] for part in outputs]) for name in outputs[0]}


def load_network(engine: Engine, module: ExportableModule) -> LoadedNetwork:
    """Make an estimator's network ready. On a CPU all passes have one size (see :data:`CPU_PASS`)."""
    least, most = engine.config.batch
    if engine.config.device == "cpu":
        least = most = min(max(CPU_PASS, least), most)
    return LoadedNetwork(engine.load(module), (least, most))


def check_batch(module: ExportableModule, tensors: "Mapping[str, torch.Tensor]", batch: tuple[int, int]) -> None:
    """UserError if the ``tensors`` of one call hold more or fewer samples than the network was made ready for."""
    size = len(next(iter(tensors.values())))
    if not batch[0] <= size <= batch[1]:
        raise UserError(
            f"the network {module.name!r} was made ready for batches of {batch[0]} to {batch[1]} samples and got "
            f"{size}; set the engine's batch = [{min(size, batch[0])}, {max(size, batch[1])}]"
        )


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
