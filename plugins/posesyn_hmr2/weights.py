"""Weights in and out: the official checkpoint, and safetensors files of our own training.

The official file (``epoch=35-step=1000000.ckpt``) is Lightning's: the state dict stands under ``state_dict``, with the
names of ``posesyn_hmr2.network``. Beside them it holds ``initialized``, which nobody needs, and ``smpl.*``, a copy of
the SMPL body and of the regressor of 19 extra joints. They serve where the user names no other, and are never written.
Ours are safetensors with the same names, whose metadata say whose betas the network predicts (``body``).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from posesyn_core.body.model import Body, ShapeSpace, body_for_checkpoint
from posesyn_core.checkpoints import (
    Fit,
    compare,
    load_state_dict,
    read_metadata,
    read_state_dict,
    write_state_dict,
)
from posesyn_core.files import atomic_path, existing_file
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
_REGRESSOR, _PARENTS, _POSEDIRS = "smpl.joint_regressor_extra", "smpl.parents", "smpl.posedirs"
_BODY = {
    "smpl.v_template": "v_template", "smpl.shapedirs": "shapedirs", "smpl.J_regressor": "J_regressor",
    "smpl.lbs_weights": "weights", "smpl.faces_tensor": "f",
}  # fmt: skip


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
        if option == "" and self.smpl.keys() >= {*_BODY, _PARENTS, _POSEDIRS}:
            return _body_of(self.smpl)
        return body_for_checkpoint(option, needs_smpl=self.body == "smpl")


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
    return Loaded(network, body, {name: tensor for name, tensor in state.items() if name.startswith("smpl.")})


def save_network(network: Hmr2Network, body: ShapeSpace, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the weights, atomically: ``.ckpt`` in the official layout, else safetensors, the floats as ``dtype``."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if path.suffix == ".ckpt":
        with atomic_path(path) as temporary:
            torch.save({KEY: state}, temporary)
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
    sizes = evolve(_sizes(state), rounds=rounds)
    with torch.device("meta"):
        network = Hmr2Network(sizes)
    fit = compare(state, network, variant=_variant(sizes), ignored=IGNORED, optional=OPTIONAL)
    if fit.fits and not any(name.startswith("discriminator.") for name in state):
        network.discriminator = Discriminator(sizes.discriminator)
    return network, fit


def _sizes(state: Mapping[str, Tensor]) -> Sizes:
    """The sizes that a state dict shows; the published ones if it is not HMR 2.0's."""
    try:
        return sizes_of(state)
    except (KeyError, IndexError):
        return Sizes()


def _variant(sizes: Sizes) -> str:
    backbone = "ViT-H" if evolve(sizes, refines=False, rounds=1) == Sizes() else f"{sizes.channels} channels"
    return f"HMR 2.0 ({backbone}, {'mean_shape' if sizes.refines else 'zero'} token)"


def _body_of(smpl: Mapping[str, Tensor]) -> Body:
    """The body in a checkpoint, whose ``posedirs`` are (207, V * 3)."""
    arrays = {name: smpl[stored].numpy() for stored, name in _BODY.items()}
    parents = smpl[_PARENTS].numpy()
    arrays["kintree_table"] = np.stack([parents, np.arange(len(parents))])
    arrays["posedirs"] = smpl[_POSEDIRS].numpy().T.reshape(-1, 3, 207)
    return Body(arrays)
