"""A network divided between the processes of a training, for one that is too large for a single GPU.

Each process holds its share of every weight, of its gradient and of the optimiser's state. Torch's FSDP
(``fully_shard``) puts a layer's weights together on all of them for as long as that layer computes, and sums gradients
where their share lies. Layers are the items of lists (``nn.ModuleList``), a transformer's blocks; all else is one more.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils import _pytree as pytree

from posesyn_core.errors import UserError

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
MIXED = "mixed torch.Tensor and DTensor"
"""What torch says where a part of a divided network is called without the whole."""


def divide(network: nn.Module, device: torch.device, processes: int) -> None:
    """Divide ``network`` between the ``processes`` of this training; all of them call this. In place."""
    mesh = init_device_mesh(device.type, (processes,))
    for weight in network.parameters():
        weight.data = weight.data.contiguous()  # of no other layout does FSDP take any
    lists = [part for part in network.modules() if type(part) is nn.ModuleList]
    layers = [layer for part in reversed(lists) for layer in part if type(layer) is not nn.ModuleList]
    for part in (*layers, network):
        divided = fully_shard(part, mesh=mesh)
        divided.set_gradient_divide_factor(1.0)  # losses are shares of the mean already
        divided.set_force_sum_reduction_for_comms(True)  # which every kind of process group can do


@contextmanager
def whole(network: nn.Module) -> Iterator[None]:
    """All weights in every process, for the first one to measure or save; all enter, and leave, together."""
    parts = [part for part in network.modules() if isinstance(part, FSDPModule)]
    told = weights(network)

    def tell(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
        state.update({prefix + name: tensor for name, tensor in told.items()})

    hook = network.register_state_dict_post_hook(tell)  # FSDP's own would tell of a share
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    yield
    hook.remove()
    for part in parts:
        part.reshard()
        part.set_reshard_after_forward(True, recurse=False)


def weights(network: nn.Module) -> dict[str, Tensor]:
    """What ``state_dict`` says of a network that is not divided, on the CPU; empty but in the first process."""
    return cast(dict[str, Tensor], get_model_state_dict(network, options=WHOLE))


def set_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give each process its share of ``state``, which all of them have."""
    set_model_state_dict(network, dict(state), options=StateDictOptions(full_state_dict=True))


def optimiser_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """An optimiser's ``state_dict`` as that of a training that is not divided, on the CPU."""
    return cast(dict[str, Any], pytree.tree_map_only(DTensor, lambda share: share.full_tensor().cpu(), dict(state)))


def divided_state(state: Mapping[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
    """The inverse of :func:`optimiser_state`: each process's share, laid out as ``parameters`` are."""

    def share(value: Any, of: nn.Parameter) -> Any:
        if not isinstance(value, Tensor) or value.shape != of.shape or not isinstance(of.data, DTensor):
            return value
        return distribute_tensor(value.to(of.device), of.data.device_mesh, of.data.placements)

    held = state["state"]
    shares = {at: {name: share(value, parameters[at]) for name, value in held[at].items()} for at in held}
    return {**state, "state": shares}


def undivided(value: Tensor) -> Tensor:
    """A number that all processes made together, as a plain tensor."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def refuse_parts(error: Exception, name: str) -> None:
    """UserError if ``error`` is that a loss called a part of a divided network without the whole."""
    if MIXED in str(error):
        raise UserError(
            f"{name} calls parts of its network and not the whole, which can't be divided: set finetune.sharded = false"
        ) from error
