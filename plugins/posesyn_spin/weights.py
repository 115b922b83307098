"""Weights in and out: the shipped starter, the official checkpoint, and safetensors files of our own training."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from posesyn_core.errors import UserError
from posesyn_core.files import atomic_path, existing_file
from posesyn_spin.network import Sizes, SpinNetwork, sizes_of

OFFICIAL_IMAGE_SIZE = 224
STARTER = Path(__file__).with_name("weights") / "starter.safetensors"
STARTER_SIZES = Sizes(width=16, layers=(2, 2, 2, 2), hidden=256)
STARTER_IMAGE_SIZE = 96


def load_network(weights: str, dropout: float = 0.5) -> tuple[SpinNetwork, int]:
    """The network of ``weights`` ("starter", "random" or a path) and the side of its crops in pixels.

    "random" has the starter's sizes. UserError if the file is missing or does not hold SPIN's weights.
    """
    if weights == "random":
        return SpinNetwork(STARTER_SIZES, dropout), STARTER_IMAGE_SIZE
    path = STARTER if weights == "starter" else Path(weights).expanduser()
    state, image_size = _read(existing_file(path, "weights of spin"))
    try:
        network = SpinNetwork(sizes_of(state), dropout)
        network.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        reason = str(error).partition("\n\t")[2] or f"there is no {error}"
        raise UserError(f"weights {str(path)!r} are not those of a SPIN network: {reason}") from error
    return network, image_size


def save_network(network: SpinNetwork, image_size: int, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the weights, atomically: ``.pt`` in the official layout ({"model": ...}), else safetensors.

    Safetensors keep ``image_size`` beside the weights and hold them as ``dtype``; the official layout has neither.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        if path.suffix == ".pt":
            torch.save({"model": state}, temporary)
            return
        stored = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        save_file(stored, temporary, metadata={"image_size": str(image_size)})


def _read(path: Path) -> tuple[Mapping[str, Tensor], int]:
    """State dict in float32 and crop size of a weight file."""
    state, image_size = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_official(path), None)
    full = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    return full, image_size or OFFICIAL_IMAGE_SIZE


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], int | None]:
    try:
        with safe_open(path, framework="pt") as file:
            size = (file.metadata() or {}).get("image_size")
            return {name: file.get_tensor(name) for name in file.keys()}, int(size) if size else None  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"weights {str(path)!r} are not a safetensors file: {error}") from error


def _read_official(path: Path) -> Mapping[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"weights {str(path)!r} can't be read as tensors alone: {first_line}") from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"weights {str(path)!r} hold no state dict under 'model'")
    return state
