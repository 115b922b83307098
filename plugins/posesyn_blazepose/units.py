"""Weights measured in units of their own size, so that one learning rate serves them all.

BlazePose's batch norms are folded into its convolutions: the root mean squares of its tensors run from 0.005 to 50. One
step of one size for all wrecks it. In units of each tensor's own root mean square, steps of 1e-4 teach it.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize


class InUnits(nn.Module):
    """What is learnt, times a unit, is the weight."""

    unit: Tensor

    def __init__(self, unit: Tensor) -> None:
        super().__init__()
        self.register_buffer("unit", unit)

    def forward(self, learnt: Tensor) -> Tensor:
        return learnt * self.unit

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What must be learnt for ``weight``."""
        return weight / self.unit


def learn_in_units(module: nn.Module, share: float = 1.0) -> None:
    """From now on the convolutions' tensors below ``module`` are learnt in ``share`` of their root mean square."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and not parametrize.is_parametrized(layer):
            for name in ("weight", "bias"):
                size = getattr(layer, name).detach().square().mean().sqrt().clamp(min=1e-6)
                parametrize.register_parametrization(layer, name, InUnits(size * share))


def plain_weights(network: nn.Module) -> Mapping[str, Tensor]:
    """The state dict as it would be without units."""
    state = {}
    for name, value in network.state_dict().items():
        layer, _, rest = name.partition(".parametrizations.")
        if not rest:
            state[name] = value
        elif rest.endswith(".original"):
            part = rest.removesuffix(".original")
            state[f"{layer}.{part}"] = getattr(network.get_submodule(layer), part).detach()
    return state
