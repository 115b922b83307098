"""Batch norms folded into the convolutions before them: in half precision a norm of its own rounds once more.

Which norm follows which convolution is seen as the network runs on an example, and not guessed from names.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

VARIANCE = 4
"""Where torch's batch norms take the running variance among their arguments; a convolution's second is its weight."""


class _Watch(TorchDispatchMode):
    """Counts calls of convolutions (by their weight), of norms (by their variance), and of the one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[Tensor, int]] = {}
        self.convolutions, self.norms, self.uses = Counter[int](), Counter[int](), Counter[int]()
        self.pairs: Counter[tuple[int, int]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [self.made[id(leaf)][1] for leaf in tree_leaves((args, kwargs)) if id(leaf) in self.made]
        self.uses.update(given)
        if func.overloadpacket is torch.ops.aten.convolution:
            self.convolutions[id(args[1])] += 1
            self.made[id(result)] = result, id(args[1])  # held, so that no other tensor gets its id
        elif "batch_norm" in str(func):
            self.norms[id(args[VARIANCE])] += 1
            self.pairs.update((weight, id(args[VARIANCE])) for weight in given)
        return result

    def inseparable(self) -> dict[int, int]:
        """Variance -> weight, where the norm takes nothing but the convolution's results and nothing else does."""
        return {
            variance: weight
            for (weight, variance), count in self.pairs.items()
            if count == self.norms[variance] == self.convolutions[weight] == self.uses[weight]
        }


def fold_norms(network: nn.Module, example: Mapping[str, Tensor]) -> None:
    """Fold batch norms of ``network``, in eval mode, into convolutions whose results they alone take; in place."""
    parts = dict(network.named_modules())
    norms = {name: part for name, part in parts.items() if isinstance(part, nn.BatchNorm2d)}
    if not norms:
        return
    with torch.no_grad(), _Watch() as watch:
        network(**example)
    weights = watch.inseparable()
    convolutions = {
        id(part.weight): part for part in parts.values() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
    }
    for name, norm in norms.items():
        convolution = convolutions.get(weights.get(id(norm.running_var), 0))
        if convolution is not None and convolution.groups == 1:
            _fold(convolution, norm)
            network.set_submodule(name, nn.Identity())


def _fold(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        *(convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias),
        transpose=isinstance(convolution, nn.ConvTranspose2d),
    )
