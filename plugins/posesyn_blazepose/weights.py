"""Weights in and out: those that come with PoseSyn, MediaPipe's .tflite files, and safetensors written here.

A file says by the sizes of its tensors which network it belongs to: lite, full, heavy or the detector.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from posesyn_blazepose.convert import VARIANTS, convert, network_of
from posesyn_blazepose.detector_network import DetectorNetwork
from posesyn_blazepose.network import SIZES, LandmarkNetwork
from posesyn_blazepose.starter_network import StarterNetwork
from posesyn_blazepose.units import plain_weights
from posesyn_core.body.model import load_body
from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import Fit, compare, load_state_dict, read_state_dict, write_state_dict
from posesyn_core.files.paths import existing_file

SHIPPED = Path(__file__).with_name("weights")
UNTRAINED = {"random": "lite", "random-full": "full"}


def load_landmarks(weights: str) -> LandmarkNetwork:
    """The landmark network of ``weights``: "full", "lite", "random", "random-full" or a file.

    UserError if the file is missing or holds none.
    """
    if weights in UNTRAINED:
        return LandmarkNetwork(SIZES[UNTRAINED[weights]]).eval()
    shipped = SHIPPED / f"{weights}.safetensors"
    path = shipped if weights in ("lite", "full") else existing_file(Path(weights).expanduser(), "weights of blazepose")
    variant, state = _read(path)
    if variant == "detector":
        raise UserError(f"{str(path)!r} holds BlazePose's person detector, not its landmarks")
    network = LandmarkNetwork(SIZES[variant])
    load_state_dict(network, state, compare(state, network, variant=variant), path)
    return network.eval()


def load_detector() -> DetectorNetwork:
    """The detector's network, with the weights that come with PoseSyn."""
    network = DetectorNetwork()
    network.load_state_dict(read_state_dict(SHIPPED / "detector.safetensors"))
    return network.eval()


def load_starter(weights: str) -> StarterNetwork:
    """The starter's network: "starter", "random" or a file. UserError if the file is missing or does not fit."""
    network = StarterNetwork(load_body())
    if weights == "random":
        return network.eval()
    path = SHIPPED / "starter.safetensors" if weights == "starter" else Path(weights).expanduser()
    state = read_state_dict(existing_file(path, "weights of starter"))
    load_state_dict(network, state, compare(state, network, variant="starter"), path)
    return network.eval()


def save_network(
    network: nn.Module, path: Path, metadata: Mapping[str, str] | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write the weights as safetensors, atomically."""
    write_state_dict(plain_weights(network), path, metadata, dtype)


class BlazePoseWeights:
    """The WeightFormat of landmark networks and detector."""

    def check(self, path: Path) -> Fit:
        """Compare with the network of whose sizes the file is; with "full" if it is of none."""
        variant, state = _read(path)
        return _fit(variant, state)

    def convert(self, source: Path, target: Path) -> None:
        """Write safetensors, in half precision as MediaPipe stores them."""
        variant, state = _read(source)
        fit = _fit(variant, state)
        if not fit.fits:
            raise UserError(f"{str(source)!r} does not fit {variant}: {fit.complaint}")
        write_state_dict(state, target, {"variant": variant}, torch.float16)


class StarterWeights:
    """The WeightFormat of the starter."""

    def check(self, path: Path) -> Fit:
        """Compare with the starter's network."""
        return compare(read_state_dict(path), StarterNetwork(load_body()), variant="starter")

    def convert(self, source: Path, target: Path) -> None:
        """Everything is the network's own."""
        save_network(load_starter(str(source)), target, {"body": "free"})


def _read(path: Path) -> tuple[str, Mapping[str, Tensor]]:
    """The variant and weights of a file."""
    if path.suffix == ".tflite":
        return convert(path)
    state = read_state_dict(path)
    for variant in VARIANTS:
        if _fit(variant, state).fits:
            return variant, state
    return "full", state


def _fit(variant: str, state: Mapping[str, Tensor]) -> Fit:
    with torch.device("meta"):
        network = network_of(variant)
    return compare(state, network, variant=variant)
