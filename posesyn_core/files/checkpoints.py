"""Checkpoint files of published models: read safely, compared with a network, told apart, converted.

A plugin's component that loads weights names a :class:`WeightFormat`, and ``posesyn weights check|convert`` use it.
The usual life of a file in a plugin::

    state = read_state_dict(path, "state_dict")  # float32, without DataParallel's "module."
    fit = compare(state, network, ignored=["discriminator.*"])
    load_state_dict(network, state, fit, path)  # UserError with one sentence if it does not fit
"""

import json
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from attrs import frozen
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from posesyn_core.errors import UserError
from posesyn_core.files.paths import atomic_path, existing_file, shown
from posesyn_core.files.reading import reading, reason_of
from posesyn_core.files.sniffing import ZIP, head_of, is_safetensors, not_data

Sizes = TypeVar("Sizes")
ALWAYS_EXPANDED = 1 << 26
"""Bytes that a tensor may have whose numbers are stored once and repeated."""
SHOWN = 3
"""How many names of a kind a sentence lists."""


@frozen
class Fit:
    """How a checkpoint file fits a model.

    ``variant`` is the model's variant that it belongs to ("" if none is recognisable). ``missing`` and ``unexpected``
    are parameter names, ``wrong_shape`` holds sentences ("name: (3, 4) in the file, (3, 8) in the network"),
    ``ignored`` the names in the file that the model has no use for, as documented by the plugin, and ``not_finite``
    those whose values in the file are no numbers: NaN anywhere, infinity in what is trained.
    """

    variant: str
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    wrong_shape: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the file can be loaded strictly."""
        return not (self.missing or self.unexpected or self.wrong_shape or self.not_finite)

    @property
    def complaint(self) -> str:
        """What does not fit, in one clause; "" if everything does."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.wrong_shape,
            "with NaN or infinity": self.not_finite,
        }
        return "; ".join(f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds.items() if names)


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])


class WeightFormat(Protocol):
    """What a plugin knows of the checkpoint files of its model."""

    def check(self, path: Path) -> Fit:
        """Compare the file with the model. UserError if it can't be read at all."""
        ...

    def convert(self, source: Path, target: Path) -> None:
        """Write the model's own parameters as safetensors under the official names. UserError if it does not fit."""
        ...


def compare(
    state: Mapping[str, Tensor],
    network: nn.Module,
    *,
    variant: str = "",
    ignored: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Fit:
    """Compare a state dict's names and shapes with those of ``network`` (which may be on the meta device).

    Values that are not finite never fit: such a network knows nothing.

    ``ignored`` are patterns ("smpl.*") of names in the file that the model has no use for, ``optional`` patterns of
    the network's own names that the file may lack (they keep the values that the network has).
    """
    wanted = network.state_dict()
    trained = {name for name, _ in network.named_parameters()}
    extra = [name for name in state if name not in wanted]
    return Fit(
        variant,
        missing=tuple(name for name in wanted if name not in state and not _matches(name, optional)),
        unexpected=tuple(name for name in extra if not _matches(name, ignored)),
        wrong_shape=tuple(
            f"{name}: {tuple(state[name].shape)} in the file, {tuple(tensor.shape)} in the network"
            for name, tensor in wanted.items()
            if name in state and state[name].shape != tensor.shape
        ),
        ignored=tuple(name for name in extra if _matches(name, ignored)),
        not_finite=tuple(name for name in wanted if name in state and not _is_sound(state[name], name in trained)),
    )


def _is_sound(tensor: Tensor, trained: bool) -> bool:
    """Buffers may be infinite where they mask."""
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    return bool(torch.isfinite(tensor).all() if trained else ~torch.isnan(tensor).any())


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def load_state_dict(network: nn.Module, state: Mapping[str, Tensor], fit: Fit, path: Path) -> None:
    """Load what the network has a place for, if ``fit`` (see :func:`compare`) says that all is there.

    A network on the meta device takes over the tensors of ``state``: a large one is in memory but once.
    UserError naming the file, the variant and the first names that are missing, unexpected or of another shape.
    """
    if not fit.fits:
        belongs = f"a {fit.variant} network" if fit.variant else "this network"
        raise UserError(f"weights {str(path)!r} are not those of {belongs}: {fit.complaint}")
    wanted = network.state_dict()
    known = {name: tensor for name, tensor in state.items() if name in wanted}
    network.load_state_dict(known, strict=False, assign=any(tensor.is_meta for tensor in wanted.values()))


def sizes_shown(find: Callable[[Mapping[str, Tensor]], Sizes], state: Mapping[str, Tensor], published: Sizes) -> Sizes:
    """The sizes that a state dict shows (``find`` tells them, or raises KeyError), else those of the published model.

    With the latter the comparison names what is missing in a file of another model.
    """
    try:
        return find(state)
    except (KeyError, IndexError):
        return published


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict on the CPU, contiguous and without gradients."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write torch's own format, as official codes read it, atomically."""
    with atomic_path(path) as temporary:
        torch.save(dict(content), temporary)


def replace_weights(network: nn.Module, other: nn.Module, *, kept: Sequence[str] = ()) -> None:
    """Copy all parameters and buffers of ``other``, a network of the same sizes, but those of the patterns ``kept``."""
    state = {name: tensor for name, tensor in other.state_dict().items() if not _matches(name, kept)}
    network.load_state_dict(state, strict=False)


def read_state_dict(path: Path, *keys: str) -> dict[str, Tensor]:
    """The state dict of a weight file, as float32 on the CPU, without the prefix "module." of DataParallel.

    It is the file's content itself, or what stands there under the first of ``keys`` that exists ("state_dict" for
    Lightning's files). Integers and booleans keep their type. UserError if the file can't be read or holds none.
    """
    content = read_checkpoint(path)
    key = next((key for key in keys if isinstance(content, Mapping) and key in content), None)
    state = content if key is None else content[key]
    tensors = isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())
    if not tensors or not state or not all(isinstance(name, str) for name in state):
        under = " or ".join(repr(name) for name in keys)
        raise UserError(f"weights {str(path)!r} hold no state dict{f' under {under}' if under else ''}")
    for name, tensor in state.items():
        if fault := _tensor_fault(tensor):
            raise UserError(f"weights {str(path)!r} can't be used: {name} {fault}")
    return {name.removeprefix("module."): _widened(tensor) for name, tensor in state.items()}


def _tensor_fault(tensor: Tensor) -> str:
    """Why a tensor is no array of weights; "" if it is one."""
    plain = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta or tensor.is_complex())
    if not plain:
        return "is no plain array of numbers (sparse, quantized, complex, or without values)"
    if tensor.numel() * tensor.element_size() > max(tensor.untyped_storage().nbytes(), ALWAYS_EXPANDED):
        return f"says to be of the shape {tuple(tensor.shape)}, for which the file has too little"
    return ""


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def read_checkpoint(path: Path) -> Any:
    """Everything in a weight file, nested as it is: tensors by name of a ``.safetensors``, else torch's format.

    Nothing in the file is ever run. Settings of the tools that wrote it (omegaconf, yacs, Lightning; see ``_SETTINGS``
    and ``_NUMBERS``) come as empty stand-ins; a file that asks for any other name is refused. UserError, one sentence
    naming the file, if it is missing, truncated, refused or of another format.
    """
    if are_safetensors(path):
        return _read_safetensors(path)[0]
    try:
        with torch.serialization.safe_globals([*_stand_ins(path)]), path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign file may raise anything
        raise UserError(f"weights {shown(path)} can't be read: {_complaint(path, error)}") from error


def are_safetensors(path: Path) -> bool:
    """Whether a weight file holds safetensors, by what is in it, whatever it is called. UserError if there is none."""
    with reading(existing_file(path, "weights"), "weights"):
        return is_safetensors(head_of(path))


def _complaint(path: Path, error: Exception) -> str:
    """What a file is that torch could not read, or what is wrong with it. (Torch's own advice is to trust it.)"""
    head = head_of(path)
    known = not_data(head)
    if known:
        return known
    if isinstance(error, _Refused):
        return str(error)
    asked = _ASKED.search(str(error))
    if asked:
        return f"it asks for {asked[1]}, which is neither data nor known to be harmless"
    if head.startswith(ZIP):
        return "it is a PyTorch file that ends early, or is damaged: download it again"
    if path.suffix == ".safetensors":
        return "it is not a complete safetensors file: download it again"
    return _NEITHER


def read_metadata(path: Path) -> dict[str, str]:
    """What a ``.safetensors`` says of itself; nothing for other files. UserError if it can't be read."""
    return _read_safetensors(path)[1] if are_safetensors(path) else {}


def needs_smpl(path: Path) -> bool:
    """Whether weights predict betas of SMPL's shape space, for :func:`posesyn_core.body.agreement.body_for_checkpoint`.

    They do, unless a ``.safetensors`` of our own training says "free" under ``body`` in its metadata: whoever saves
    weights writes their body's ``shape_space`` there.
    """
    return read_metadata(path).get("body", "smpl") == "smpl"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # as above
        raise UserError(
            f"weights {shown(path)} are not a complete safetensors file ({reason_of(error)}): download it again"
        ) from error


def write_state_dict(
    state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None, dtype: torch.dtype | None = None
) -> None:
    """Write safetensors, atomically; floating-point tensors as ``dtype`` if given. Same weights, same bytes."""
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    if dtype is not None:
        stored = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in stored.items()}
    with atomic_path(path) as temporary:
        save_file(stored, temporary, metadata=dict(metadata or {}))
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Bring a safetensors file's metadata into a fixed order: the library writes it in another one each time.

    The file begins with the length of its header (8 bytes, little endian) and the header, JSON that may end in spaces.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # the library writes it as tersely
            file.seek(8)
            file.write(text.ljust(length))


class _Refused(pickle.UnpicklingError):
    """A name in a file that is not read."""


class _Settings:
    """Stands in for the classes of settings objects: what is stored in them lands in an OrderedDict.

    (torch's reader of weights fills nothing else that has both items and attributes.)
    """

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


class _Number:
    """Stands in for numpy's scalars, arrays and types: takes their state and forgets it."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


_SETTINGS = ("omegaconf.*", "yacs.config.*", "lightning.*", "lightning_fabric.*", "pytorch_lightning.*", "typing.Any",
             "argparse.Namespace", "collections.defaultdict", "easydict.EasyDict", "pathlib.*Path", "builtins.dict",
             "builtins.list", "builtins.tuple", "builtins.int", "builtins.float", "builtins.str", "builtins.bool",
             "builtins.object", "datetime.*")  # fmt: skip
_ASKED = re.compile(r"GLOBAL ([\w.]+)")  # how torch's reader names what it refuses
_NEITHER = "it is neither a PyTorch file of tensors nor safetensors: is it the right file?"
_NUMBERS = ("numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.*", "numpy._core.multiarray.*")


def _stand_ins(path: Path) -> list[tuple[Any, str]]:
    """A stand-in for each name that the file asks for and that only describes how the weights came about.

    _Refused for a name that is neither this nor torch's own. Files of before torch 1.6 get none.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            return []
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    refused = [name for name in names if not _matches(name, (*_SETTINGS, *_NUMBERS))]
    if refused:
        raise _Refused(f"it asks for {refused[0]}, which is neither data nor known to be harmless")
    return [(_Settings if _matches(name, _SETTINGS) else _Number, name) for name in names]
