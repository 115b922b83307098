"""Weights in and out: those that come with PoseSyn, MediaPipe's .tflite files, and safetensors written here.

A file says by the sizes of its tensors which network it belongs to: lite, full, heavy or the detector.
"""

import hashlib
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
from posesyn_core.files.checkpoints import (
    Fit,
    compare,
    load_state_dict,
    read_metadata,
    read_state_dict,
    write_state_dict,
)
from posesyn_core.files.paths import existing_file

SHIPPED = Path(__file__).with_name("weights")
EYES = "eyes."
"""How the names of the starter's weights begin that are "full"'s."""
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


def usual_looks(network: LandmarkNetwork) -> int:
    """How often a network's users want a person looked at.

    Over boxes moved by 2 % and scaled by 5 %, heavy finds 80.8 % of the limb joints in photographs (PCK@0.2 of the
    torso, 37 people) with two looks, give or take 1.0 by the box, and 83.0 % with three, give or take 0.5 (in wide
    crops of 448 pixels). The other networks are there for speed (full: 76.5 and 77.5 %).
    """
    return 3 if network.tower is not None else 2


def load_detector() -> DetectorNetwork:
    """The detector's network, with the weights that come with PoseSyn."""
    network = DetectorNetwork()
    network.load_state_dict(read_state_dict(SHIPPED / "detector.safetensors"))
    return network.eval()


def load_starter(weights: str) -> StarterNetwork:
    """The starter's network: "starter", "random" or a file.

    UserError if the file is missing or does not fit, or was trained on other eyes than "full" as it comes with PoseSyn.
    """
    network = StarterNetwork(load_body())
    if weights == "random":
        return network.eval()
    path = SHIPPED / "starter.safetensors" if weights == "starter" else Path(weights).expanduser()
    state = read_state_dict(existing_file(path, "weights of starter"))
    load_state_dict(network, state, _fit_of_starter(state, network), path)
    if not any(name.startswith(EYES) for name in state):
        _take_eyes(network, path)
    return network.eval()


def _take_eyes(network: StarterNetwork, path: Path) -> None:
    """Load what the weights in ``path`` leave out because it is "full" as it comes with PoseSyn."""
    full = SHIPPED / "full.safetensors"
    if not full.is_file():
        raise UserError(
            f"weights {str(path)!r} are a starter's, which sees through BlazePose's weights {str(full)!r}, and these "
            "are missing: install PoseSyn again"
        )
    network.eyes.load_state_dict(load_landmarks("full").state_dict())
    trained_on = read_metadata(path).get("eyes")
    if trained_on != checksum(network.eyes):
        raise UserError(
            f"weights {str(path)!r} were trained on other BlazePose weights than {str(full)!r}: install the version of "
            "PoseSyn that wrote them, or train them again"
        )


def checksum(network: nn.Module) -> str:
    """Of a network's weights in half precision, as they are shipped."""
    total = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        total.update(name.encode() + value.detach().cpu().to(torch.float16).contiguous().numpy().tobytes())
    return total.hexdigest()


def save_starter(network: StarterNetwork, path: Path, body: str, dtype: torch.dtype = torch.float32) -> None:
    """Write the weights; ``body`` is the betas' shape space. Of eyes that are "full" as shipped, only the checksum."""
    state, eyes = plain_weights(network), checksum(network.eyes)
    if (SHIPPED / "full.safetensors").is_file() and eyes == checksum(load_landmarks("full")):
        state = {name: value for name, value in state.items() if not name.startswith(EYES)}
    write_state_dict(state, path, {"body": body, "eyes": eyes}, dtype)


def save_network(network: nn.Module, path: Path) -> None:
    """Write the weights as safetensors, atomically."""
    write_state_dict(plain_weights(network), path)


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
        return _fit_of_starter(read_state_dict(path), StarterNetwork(load_body()))

    def convert(self, source: Path, target: Path) -> None:
        """Everything is the network's own."""
        save_starter(load_starter(str(source)), target, read_metadata(source).get("body", "smpl"))


def _fit_of_starter(state: Mapping[str, Tensor], network: StarterNetwork) -> Fit:
    whole = any(name.startswith(EYES) for name in state)
    return compare(state, network, variant="starter", optional=[] if whole else [f"{EYES}*"])


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
