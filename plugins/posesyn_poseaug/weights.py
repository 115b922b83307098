"""Weights of the lifters: official checkpoints in, and safetensors of our own.

PoseAug's files (``ckpt_best*.pth.tar``, plain ``torch.save`` files) hold the state dict under ``model_pos``, those of
the baselines under ``state_dict``, with one set of names for all code ages. A network's sizes are read from the shapes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import (
    Fit,
    compare,
    load_state_dict,
    plain_state,
    read_state_dict,
    sizes_shown,
    write_checkpoint,
    write_state_dict,
)
from posesyn_core.files.paths import existing_file
from posesyn_poseaug.lifters import semgcn, simplebaseline, stgcn, videopose

KEYS = ("model_pos", "state_dict")
State = Mapping[str, Tensor]


@frozen
class LifterKind:
    """A kind of lifter: ``title`` as in the paper, ``make`` of its sizes, which are ``full`` or ``small``, those that a
    checkpoint has ``shown``, or ``sized`` by a width. ``epochs`` and ``rate`` are its own training's,
    ``augmented_rate`` is PoseAug's. ``ends`` are the layers that see the 2D joints and that answer: they keep their
    digits whatever the others are rounded to, for 8 bits are 4 of 1000 pixels."""

    title: str
    make: Callable[..., nn.Module]
    full: object
    small: object
    shown: Callable[[State], object]
    sized: Callable[[int], object]
    ends: tuple[str, ...]
    epochs: int = 50
    rate: float = 1e-3
    augmented_rate: float = 1e-4

    def published(self) -> nn.Module:
        """Untrained, at the published size."""
        return self.make(self.full)


def _count(state: State, prefix: str) -> int:
    """How many members of a list of layers the state has."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _simplebaseline(state: State) -> simplebaseline.Sizes:
    return simplebaseline.Sizes(len(state["w1.weight"]), _count(state, "linear_stages."))


def _videopose(state: State) -> videopose.Sizes:
    return videopose.Sizes(len(state["expand_conv.weight"]), _count(state, "layers_conv.") // 2)


def _semgcn(state: State) -> semgcn.Sizes:
    return semgcn.Sizes(len(state["gconv_input.0.gconv.bias"]), _count(state, "gconv_layers."))


def _stgcn(state: State) -> stgcn.Sizes:
    first, second, third = (len(state[f"stgcn.st_gcn_networks.{at}.tcn.0.weight"]) for at in range(3))
    return stgcn.Sizes((first, second, third), len(state["stgcn.st_gcn_pool.0.tcn.0.weight"]))


LIFTERS: Mapping[str, LifterKind] = {
    "semgcn": LifterKind(
        "SemGCN", semgcn.SemGcn, semgcn.Sizes(), semgcn.Sizes(32, 2), _semgcn, semgcn.Sizes,
        ("gconv_input", "gconv_output"),
        epochs=100, rate=2e-2, augmented_rate=1e-3,
    ),
    "simplebaseline": LifterKind(
        "SimpleBaseline", simplebaseline.SimpleBaseline, simplebaseline.Sizes(), simplebaseline.Sizes(64),
        _simplebaseline,
        simplebaseline.Sizes,
        ("w1", "w2"),
    ),
    "stgcn": LifterKind(
        "ST-GCN (1-frame)", stgcn.StGcn, stgcn.Sizes(), stgcn.Sizes((16, 16, 32), 32), _stgcn,
        lambda width: stgcn.Sizes((width // 2, width // 2, width), 2 * width),
        ("stgcn.st_gcn_networks.0", "stgcn.fcn"),
    ),
    "videopose": LifterKind(
        "VPose (1-frame)", videopose.VideoPose, videopose.Sizes(), videopose.Sizes(64), _videopose, videopose.Sizes,
        ("expand_conv", "shrink"),
    ),
}  # fmt: skip
"""The four, by name."""


def build(name: str, state: State, dropout: float | None = None) -> nn.Module:
    """An untrained network of the sizes that ``state`` shows (the published ones if it shows none)."""
    kind = LIFTERS[name]
    sizes = sizes_shown(kind.shown, state, kind.full)
    return kind.make(sizes if dropout is None else evolve(sizes, dropout=dropout))  # type: ignore[misc]


def load_network(name: str, weights: str, dropout: float | None = None, width: int = 0) -> nn.Module:
    """The network of ``weights``: "starter", "random" (small, untrained), "random-full" (at the published size), or a
    file; the untrained ones of another ``width`` if that is not 0.

    UserError if the file is missing or holds another network's weights.
    """
    kind = LIFTERS[name]
    if weights in ("random", "random-full"):
        sizes = kind.sized(width) if width else kind.small if weights == "random" else kind.full
        return kind.make(sizes if dropout is None else evolve(sizes, dropout=dropout))  # type: ignore[misc]
    path = existing_file(weights_file(name, weights), f"weights of {name}")
    state = read_state_dict(path, *KEYS)
    network = build(name, state, dropout)
    load_state_dict(network, state, _fit(name, state), path)
    return network


def starter_file(name: str) -> Path:
    """Where a lifter's starter weights lie, if it has some."""
    return Path(__file__).with_name("weights") / f"starter-{name}.safetensors"


def weights_file(name: str, weights: str) -> Path:
    """The file of a lifter's ``weights``. UserError for "starter" where there is none."""
    if weights != "starter":
        return Path(weights).expanduser()
    if not starter_file(name).exists():
        having = ", ".join(sorted(other for other in LIFTERS if starter_file(other).exists())) or "no lifter"
        raise UserError(f"no starter weights come with {name!r} ({having} has some): name a weight file")
    return starter_file(name)


def save_network(network: nn.Module, path: Path, joint_set: str = "", dtype: torch.dtype = torch.float32) -> None:
    """Write the weights, atomically: ``.tar`` in PoseAug's layout, else safetensors under the official names that say
    in which joints they answer, the floats as ``dtype``."""
    state = plain_state(network)
    if path.suffix == ".tar":
        write_checkpoint({"epoch": 0, "model_pos": state}, path)
        return
    write_state_dict(state, path, {"joint_set": joint_set} if joint_set else None, dtype)


@frozen
class LifterWeights:
    """The WeightFormat of one lifter."""

    name: str

    def check(self, path: Path) -> Fit:
        """Compare with the network of the sizes that the file shows."""
        return _fit(self.name, read_state_dict(path, *KEYS))

    def convert(self, source: Path, target: Path) -> None:
        """Everything in a file is the network's own."""
        if target.suffix == ".tar":
            raise UserError(f"{str(target)!r}: weights are converted to .safetensors")
        save_network(load_network(self.name, str(source)), target)


def _fit(name: str, state: State) -> Fit:
    with torch.device("meta"):
        network = build(name, state)
    return compare(state, network, variant=LIFTERS[name].title)
