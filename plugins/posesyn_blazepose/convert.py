"""From MediaPipe's .tflite files to state dicts of our networks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from posesyn_blazepose.detector_network import SIZE as DETECTOR_SIZE
from posesyn_blazepose.detector_network import DetectorNetwork
from posesyn_blazepose.network import SIZE, SIZES, LandmarkNetwork
from posesyn_blazepose.tflite_file import read_convolutions
from posesyn_core.errors import UserError


def network_of(variant: str) -> nn.Module:
    """An untrained network: "detector", or one of ``SIZES``."""
    return DetectorNetwork() if variant == "detector" else LandmarkNetwork(SIZES[variant])


VARIANTS = ("detector", *SIZES)


def convert(path: Path) -> tuple[str, Mapping[str, Tensor]]:
    """The variant of a .tflite file, and its weights under our names. UserError if it is none of BlazePose's."""
    convolutions = read_convolutions(path)
    shapes = [convolution.weight.shape for convolution in convolutions]
    for variant in VARIANTS:
        network = network_of(variant)
        names = in_order(network, DETECTOR_SIZE if variant == "detector" else SIZE)
        if shapes == [_weight(network, name).shape for name in names]:
            parts = {
                f"{name}.{part}": torch.from_numpy(getattr(convolution, part).copy())
                for name, convolution in zip(names, convolutions, strict=True)
                for part in ("weight", "bias")
            }
            return variant, parts
    raise UserError(f"{str(path)!r} holds none of BlazePose's networks: {', '.join(VARIANTS)}")


def _weight(network: nn.Module, name: str) -> Tensor:
    return network.get_parameter(f"{name}.weight")


def in_order(network: nn.Module, size: int) -> list[str]:
    """The names of a network's convolutions in the order in which the published graph runs them."""
    called: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.inference_mode():
        image = torch.zeros(1, 3, size, size)
        network(image, mask=True) if isinstance(network, LandmarkNetwork) else network(image)
    for hook in hooks:
        hook.remove()
    return _as_published(called)


AFTER = {
    "backbone.groups.0.0.expand": ("mask.finest",),
    "backbone.groups.1.0.expand": ("pyramid.laterals.0",),
    "backbone.groups.2.0.expand": ("pyramid.laterals.1", "tower.laterals.0", "eighth"),
    "backbone.groups.4.0.expand": ("pyramid.laterals.2", "tower.laterals.1", "sixteenth"),
}
"""Submodules that the published graphs run amid the backbone: each right after this convolution of it."""
FIRST_OF_TOWER, FIRST_OF_MASK = "tower.levels.0.0.branch.", "mask.reduce."
"""heavy's graph runs the first layers of the tower before the mask's."""


def _as_published(called: list[str]) -> list[str]:
    moved = (*(f"{name}." for names in AFTER.values() for name in names), FIRST_OF_TOWER)
    order = []
    for name in called:
        if name.startswith(moved):
            continue
        if name.startswith(FIRST_OF_MASK):
            order += [other for other in called if other.startswith(FIRST_OF_TOWER) and other not in order]
        order.append(name)
        for part in AFTER.get(name, ()):
            order += [other for other in called if other.startswith(f"{part}.")]
    return order
