"""Weights of convolutions rounded to half precision so that their errors add up to nothing.

Rounding to the nearest number is best for each weight. But what a convolution is given has much the same mean for all
pictures (after a ReLU, it is never negative): the errors then move each of its outputs by an amount of its own, all
over the picture. Weights that lie about halfway between two numbers of half precision can as well be rounded the other
way; as many are as bring that amount to nothing. (AdaRound, Nagel et al., ICML 2020, learns such choices.)
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def round_weights(network: nn.Module, given: Iterable[Mapping[str, Tensor]], dtype: torch.dtype) -> None:
    """Round the convolutions of ``network``, in float32 and eval mode, to numbers of ``dtype``; in place.

    ``given`` are typical inputs of the network.
    """
    for part, mean in _means(network, given).items():
        part.weight.data = _rounded_layer(part, mean, dtype)


def _means(network: nn.Module, given: Iterable[Mapping[str, Tensor]]) -> dict[nn.Conv2d | nn.ConvTranspose2d, Tensor]:
    """The mean (channels,) of what each convolution is given."""
    convolutions = [part for part in network.modules() if isinstance(part, CONVOLUTIONS)]
    if not convolutions:
        return {}
    seen: dict[nn.Module, list[Tensor]] = {}

    def note(part: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.setdefault(part, []).append(arguments[0].mean((0, 2, 3)))

    hooks = [part.register_forward_pre_hook(note) for part in convolutions]
    with torch.no_grad():
        for inputs in given:
            network(**inputs)
    for hook in hooks:
        hook.remove()
    return {part: torch.stack(seen[part]).mean(0) for part in convolutions if part in seen}


def _rounded_layer(part: nn.Conv2d | nn.ConvTranspose2d, mean: Tensor, dtype: torch.dtype) -> Tensor:
    """The convolution's rounded weight, in the shape that it has."""
    weight = part.weight.detach()
    if isinstance(part, nn.ConvTranspose2d):
        if part.groups > 1:
            return weight.to(dtype).float()
        weight = weight.transpose(0, 1)
    rows = weight.flatten(1)  # one for each output
    means = mean.view(part.groups, -1).repeat_interleave(len(rows) // part.groups, 0)
    means = means.repeat_interleave(rows.shape[1] // means.shape[1], 1)
    found = rounded(rows, means, dtype).view(weight.shape)
    return found.transpose(0, 1) if isinstance(part, nn.ConvTranspose2d) else found


def rounded(weight: Tensor, mean: Tensor, dtype: torch.dtype) -> Tensor:
    """``weight`` (O, I) as numbers of ``dtype``, in float32, each one of the two next to it: the nearer one, but for so
    many that the errors times ``mean`` (O, I) add up to about 0 in every row."""
    nearest = weight.to(dtype).float()
    error = nearest - weight
    beyond = torch.where(error > 0, -torch.inf, torch.inf).to(dtype)
    other = torch.where(error == 0, nearest, torch.nextafter(nearest.to(dtype), beyond).float())
    step = (other - nearest) * mean
    total = (error * mean).sum(1, keepdim=True)
    helps = step * total < 0
    cost = torch.where(helps, (other - weight).abs() - error.abs(), torch.inf)
    order = cost.argsort(dim=1, stable=True)
    gained = torch.where(helps, step.abs(), 0).gather(1, order).cumsum(1)
    turned = torch.zeros_like(helps).scatter(1, order, gained <= total.abs()) & helps
    return torch.where(turned, other, nearest)
