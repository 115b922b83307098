"""Weights in and out: the official checkpoint, and safetensors files of our own training.

The official file (``model_checkpoint.pt``) holds the state dict under ``model``, beside the state of its training.
Ours are safetensors with the same names; their metadata say what the tensors don't: ``image_size`` (the crop's side),
``crop`` (how it is cut, see ``posesyn_spin.inputs``) and ``body`` (whose betas the network predicts).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from attrs import evolve, frozen
from torch import Tensor

from posesyn_core.body.model import ShapeSpace
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
from posesyn_spin.crops import CropKind
from posesyn_spin.network import Sizes, SpinNetwork, sizes_of

SMALL = Sizes(width=16, layers=(2, 2, 2, 2), hidden=256)


@frozen
class Setting:
    """What belongs to the weights of a network beside their numbers; the defaults are those of the official file."""

    image_size: int = 224
    crop: CropKind = "official"
    body: ShapeSpace = "smpl"


SMALL_SETTING = Setting(image_size=96, crop="affine", body="free")


def load_network(weights: str, dropout: float = 0.5) -> tuple[SpinNetwork, Setting]:
    """The network of ``weights`` and what belongs to it.

    ``weights`` is "random" (small), "random-full" (the published sizes) or a path. UserError if the file is missing or
    does not hold SPIN's weights.
    """
    if weights == "random":
        return SpinNetwork(SMALL, dropout), SMALL_SETTING
    if weights == "random-full":
        return SpinNetwork(Sizes(), dropout), evolve(Setting(), body="free")
    path = existing_file(Path(weights).expanduser(), "weights of spin")
    state = read_state_dict(path, "model")
    network = SpinNetwork(sizes_shown(sizes_of, state, Sizes()), dropout)
    load_state_dict(network, state, _fit(state), path)
    return network, _setting(path)


def save_network(network: SpinNetwork, setting: Setting, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the weights, atomically: ``.pt`` in the official layout, else safetensors with the floats as ``dtype``.

    The official layout has a place for neither the setting nor another precision.
    """
    state = plain_state(network)
    if path.suffix == ".pt":
        write_checkpoint({"model": state}, path)
        return
    write_state_dict(state, path, _metadata(setting), dtype)


class SpinWeights:
    """SPIN's WeightFormat; a file's variant is named by its width and depth, as nothing else varies."""

    def check(self, path: Path) -> Fit:
        """Compare with the network of the sizes that the file shows; with the published one if it shows none."""
        return _fit(read_state_dict(path, "model"))

    def convert(self, source: Path, target: Path) -> None:
        """Everything is the network's own: SPIN's files hold no body and no discriminator."""
        network, setting = load_network(str(source))
        save_network(network, setting, target)


def _fit(state: Mapping[str, Tensor]) -> Fit:
    sizes = sizes_shown(sizes_of, state, Sizes())
    with torch.device("meta"):
        network = SpinNetwork(sizes)
    return compare(state, network, variant=_variant(sizes))


def _variant(sizes: Sizes) -> str:
    blocks = "-".join(str(count) for count in sizes.layers)
    return "SPIN (ResNet-50)" if sizes == Sizes() else f"SPIN (width {sizes.width}, blocks {blocks})"


def _metadata(setting: Setting) -> dict[str, str]:
    return {"image_size": str(setting.image_size), "crop": setting.crop, "body": setting.body}


def _setting(path: Path) -> Setting:
    """What a file says of its network; files of ours that name a size alone are from the starter's training."""
    metadata = read_metadata(path)
    if "image_size" not in metadata:
        return Setting()
    known = _metadata(SMALL_SETTING) | metadata
    return Setting(int(known["image_size"]), known["crop"], known["body"])  # type: ignore[arg-type]
