"""The engines that need nothing but torch: eager execution and ``torch.compile``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from posesyn_core.components import ExportableModule, NetworkCall, option

if TYPE_CHECKING:
    import torch


@frozen
class TorchConfig:
    """Options of the torch engines."""

    device: str = option("cpu", "torch device: cpu, cuda, cuda:1, mps")


@frozen
class TorchEngine:
    """Runs the module as it is, in inference mode."""

    config: TorchConfig
    compiled: bool = False

    def load(self, module: ExportableModule) -> NetworkCall:
        """Move ``module`` to the device (and compile it); the result maps CPU tensors to CPU tensors."""
        import torch

        network = module.module.to(self.config.device).eval()
        run = torch.compile(network, dynamic=True) if self.compiled else network

        def call(tensors: "Mapping[str, torch.Tensor]") -> "Mapping[str, torch.Tensor]":
            with torch.inference_mode():
                outputs = run(**{name: tensor.to(self.config.device) for name, tensor in tensors.items()})
                return {name: tensor.cpu() for name, tensor in outputs.items()}

        return call
