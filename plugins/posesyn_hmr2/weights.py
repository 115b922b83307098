"""Weights in and out: the official checkpoint, and safetensors files of our own training.

The official file (``epoch=35-step=1000000.ckpt``) is Lightning's: the state dict stands under ``state_dict``, with the
names of ``posesyn_hmr2.network``. Beside them it holds ``initialized``, which nobody needs, and ``smpl.*``, a copy of
the SMPL body and of the regressor of 19 extra joints. They serve where the user names no other, and are never written.
Ours are safetensors with the same names, whose metadata say whose betas the network predicts (``body``).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from attrs import evolve, frozen
from torch import Tensor

from posesyn_core.body.agreement import body_for_checkpoint
from posesyn_core.body.model import BUFFERS, Body, ShapeSpace, body_of_buffers
from posesyn_core.files.checkpoints import (
    Fit,
    compare,
    load_state_dict,
    plain_state,
    read_metadata,
    read_state_dict,
    sizes_shown,
    write_checkpoint,
    write_state_dict,
)
from posesyn_core.files.paths import existing_file
from posesyn_hmr2.discriminator import Discriminator
from posesyn_hmr2.network import Hmr2Network, Sizes, sizes_of

KEY = "state_dict"
IGNORED = ("smpl.*", "initialized")
OPTIONAL = ("discriminator.*",)
"""A file made for inference alone may lack these; a training then begins with a new one."""
SMALL = Sizes(
    channels=80, depth=2, decoder_channels=64, decoder_depth=2, decoder_heads=1, decoder_hidden=64, discriminator=32
)
"""The sizes of "random", for tests."""
_BODY = "smpl."
_REGRESSOR = "smpl.joint_regressor_extra"


@frozen(eq=False)
class Loaded:
    """What a weight file gives: the network, whose betas it predicts, and its entries ``smpl.*``, if it has any."""

    network: Hmr2Network
    body: ShapeSpace = "free"
    smpl: Mapping[str, Tensor] = {}

    def regressor_for(self, body: Body) -> Tensor | None:
        """(19, V) the file's regressor of the extra joints, if it has one and ``body`` has so many vertices."""
        regressor = self.smpl.get(_REGRESSOR)
        return regressor if regressor is not None and regressor.shape[1] == len(body.v_template) else None

    def load_body(self, option: str) -> Body:
        """The body of the option ``body``; empty = that of the checkpoint, or as ``body_for_checkpoint`` decides."""
        buffers = {name.removeprefix(_BODY): tensor for name, tensor in self.smpl.items()}
        own = body_of_buffers(buffers) if buffers.keys() >= {*BUFFERS, "posedirs"} else None
        return body_for_checkpoint(option, needs_smpl=self.body == "smpl", own=own)


def load_network(weights: str, rounds: int = 1) -> Loaded:
    """The network of ``weights`` ("random", "random-full" of the published size, or a path).

    UserError if the file is missing, can't be read safely or does not hold HMR 2.0's weights.
    """
    if weights in ("random", "random-full"):
        return Loaded(Hmr2Network(evolve(SMALL if weights == "random" else Sizes(), rounds=rounds)))
    path = existing_file(Path(weights).expanduser(), "weights of hmr2")
    state = read_state_dict(path, KEY)
    network, fit = _compared(state, rounds)
    load_state_dict(network, state, fit, path)
    body: ShapeSpace = "free" if read_metadata(path).get("body") == "free" else "smpl"
    return Loaded(network, body, {name: tensor for name, tensor in state.items() if name.startswith(_BODY)})


def save_network(network: Hmr2Network, body: ShapeSpace, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the weights, atomically: ``.ckpt`` in the official layout, else safetensors, the floats as ``dtype``."""
    state = plain_state(network)
    if path.suffix == ".ckpt":
        write_checkpoint({KEY: state}, path)
        return
    write_state_dict(state, path, {"body": body}, dtype)


class Hmr2Weights:
    """HMR 2.0's WeightFormat. HMR2.0a and b have one architecture; ``mean_shape`` is the decoder's other mode."""

    def check(self, path: Path) -> Fit:
        """Compare with the network of the sizes that the file shows; with the published one if it shows none."""
        return _compared(read_state_dict(path, KEY))[1]

    def convert(self, source: Path, target: Path) -> None:
        """Backbone, head and discriminator; the copy of SMPL stays where it is."""
        loaded = load_network(str(source))
        save_network(loaded.network, loaded.body, target)


def _compared(state: Mapping[str, Tensor], rounds: int = 1) -> tuple[Hmr2Network, Fit]:
    """A network to load ``state`` into, without memory of its own, and how it fits."""
    sizes = evolve(sizes_shown(sizes_of, state, Sizes()), rounds=rounds)
    with torch.device("meta"):
        network = Hmr2Network(sizes)
    fit = compare(state, network, variant=_variant(sizes), ignored=IGNORED, optional=OPTIONAL)
    if fit.fits and not any(name.startswith("discriminator.") for name in state):
        network.discriminator = Discriminator(sizes.discriminator)
    return network, fit


def _variant(sizes: Sizes) -> str:
    backbone = "ViT-H" if evolve(sizes, refines=False, rounds=1) == Sizes() else f"{sizes.channels} channels"
    return f"HMR 2.0 ({backbone}, {'mean_shape' if sizes.refines else 'zero'} token)"
