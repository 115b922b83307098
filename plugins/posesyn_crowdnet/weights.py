"""Weights in and out: official snapshots (``.pth.tar``), and safetensors files of our own training.

An official snapshot holds ``epoch``, ``network`` (the state dict of a DataParallel network) and the optimiser's state.
The state dict has VPoser (whole; 3DCrowdNet uses the decoder) and the neutral SMPL body as ``human_model_layer.*``, so
that one file is all that is needed. ``snapshot_0.pth.tar``, which official training starts from, is a backbone alone
and is refused. Ours are safetensors of the same names, whose metadata say in ``body`` whose betas are predicted.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from attrs import frozen
from torch import Tensor

from posesyn_core.body.agreement import body_for_checkpoint
from posesyn_core.body.model import Body, ShapeSpace
from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import (
    Fit,
    compare,
    load_state_dict,
    needs_smpl,
    plain_state,
    read_state_dict,
    sizes_shown,
    write_checkpoint,
    write_state_dict,
)
from posesyn_crowdnet.body import body_from
from posesyn_crowdnet.network import CrowdNetwork, Sizes, sizes_of

SMALL = Sizes(width=8, graph=24, prior=40, vertices=0, faces=0)
FULL = Sizes(vertices=0, faces=0)
OPTIONAL = ("vposer.vposer.bodyprior_enc_*", "*.num_batches_tracked", "human_model_layer.th_betas")
"""Names that a file may lack: the network computes nothing with them."""
IGNORED = ("vposer.*", "human_model_layer.*")
"""Names beside ours that mean nothing here."""
PREFIX = "module."


@frozen
class Loaded:
    """A network, and whose betas it predicts (None for random weights: those of whatever body it is used with)."""

    network: CrowdNetwork
    betas: ShapeSpace | None

    def load_body(self, body: str) -> Body:
        """The body to pose: that of the option ``body``, else the one that the weights bring, else core's policy."""
        buffers = self.network.human_model_layer
        own = None if buffers is None else body_from(buffers, self.betas or "smpl")
        return body_for_checkpoint(body, needs_smpl=self.betas == "smpl", own=own)


def load_network(weights: str) -> Loaded:
    """The network of ``weights``: "random" (small), "random-full" (the published size) or a file.

    UserError if the file is missing or does not hold 3DCrowdNet's weights.
    """
    if weights in ("random", "random-full"):
        return Loaded(CrowdNetwork(SMALL if weights == "random" else FULL), None)
    path = Path(weights).expanduser()
    state = read_state_dict(path, "network")
    network = CrowdNetwork(sizes_shown(sizes_of, state, FULL))
    fit = _fit(state)
    if fit.variant == START:
        raise UserError(
            f"weights {str(path)!r} are a backbone alone (snapshot_0, which official training starts from); use a "
            "trained snapshot, or weights = 'random-full' to train from nothing"
        )
    load_state_dict(network, state, fit, path)
    return Loaded(network, "smpl" if needs_smpl(path) else "free")


def save_network(network: CrowdNetwork, betas: ShapeSpace, path: Path) -> None:
    """Write the weights, atomically: ``.tar`` and ``.pth`` in the official layout, else safetensors.

    The official layout is read by the official code with ``--exp_dir``; epoch 0 is where it then goes on.
    """
    state = plain_state(network)
    if path.suffix in (".tar", ".pth"):
        parallel = {PREFIX + name: tensor for name, tensor in state.items()}
        write_checkpoint({"epoch": 0, "network": parallel}, path)
        return
    write_state_dict(state, path, {"body": betas})


class CrowdNetWeights:
    """3DCrowdNet's WeightFormat."""

    def check(self, path: Path) -> Fit:
        """Compare with the network of the sizes that the file shows; with the published one if it shows none."""
        return _fit(read_state_dict(path, "network"))

    def convert(self, source: Path, target: Path) -> None:
        """The body goes with the network, as in the official file: it is SMPL's, under SMPL's licence."""
        loaded = load_network(str(source))
        save_network(loaded.network, loaded.betas or "smpl", target)


START = "3DCrowdNet's start, a backbone alone"


def _fit(state: Mapping[str, Tensor]) -> Fit:
    sizes = sizes_shown(sizes_of, state, FULL)
    with torch.device("meta"):
        network = CrowdNetwork(sizes)
    if any(name.startswith("backbone.") for name in state) and not any("rotation_net" in name for name in state):
        variant = START
    elif (sizes.width, sizes.graph, sizes.prior) == (FULL.width, FULL.graph, FULL.prior):
        variant = "3DCrowdNet (ResNet-50)"
    else:
        variant = f"3DCrowdNet (width {sizes.width}, graph {sizes.graph}, prior {sizes.prior})"
    return compare(state, network, variant=variant, ignored=IGNORED, optional=OPTIONAL)
