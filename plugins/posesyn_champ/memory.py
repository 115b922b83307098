"""Where the networks are while they run and while they wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.errors import UserError

Offload = Literal["none", "model", "sequential"]


@frozen
class Placement:
    """Device, number format and offloading of a group of networks, as in diffusers' pipelines.

    "none": all networks stay on the device. "model": each is there while it is used (:meth:`using`) and in main memory
    else. "sequential": each layer is there while it runs.
    """

    device: torch.device
    dtype: torch.dtype
    offload: Offload = "none"

    def settle(self, network: nn.Module) -> None:
        """Put a network where it waits. UserError if the device can't be used."""
        nn.Module.to(network, self.dtype)  # diffusers' own method warns of parts that it would rather keep in float32
        try:
            if self.offload == "none":
                network.to(self.device)
            elif self.offload == "sequential":
                from accelerate import cpu_offload

                cpu_offload(network, self.device)
        except (RuntimeError, AssertionError) as error:  # torch built without CUDA raises the latter
            reason = str(error).splitlines()[0]
            raise UserError(f"the device {str(self.device)!r} can't be used: {reason}; choose another") from error

    @contextmanager
    def using(self, network: nn.Module) -> Iterator[None]:
        """Have the network on the device within the block."""
        if self.offload != "model":
            yield
            return
        network.to(self.device)
        try:
            yield
        finally:
            network.to("cpu")

    def take(self, tensor: Tensor) -> Tensor:
        """A tensor as the networks take it; integers keep their type."""
        return tensor.to(self.device, self.dtype) if tensor.is_floating_point() else tensor.to(self.device)


REMEDIES = "lower context_frames, width and height, take precision 'fp16', or set offload to 'model' or 'sequential'"
"""What to do about a clip for which memory does not suffice."""
