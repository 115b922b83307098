"""Weights on disk: the official checkpoints as they are, and sets of our own in one safetensors file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from attrs import evolve, frozen
from safetensors.torch import save_file
from torch import Tensor, nn

from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import (
    Fit,
    are_safetensors,
    compare,
    read_checkpoint,
    read_metadata,
    read_state_dict,
    sizes_shown,
    write_state_dict,
)
from posesyn_core.files.paths import atomic_path
from posesyn_core.files.reading import read_npy, reading
from posesyn_t2mgpt.layout import weight_files
from posesyn_t2mgpt.representation import CONTACTS, FEATURES
from posesyn_t2mgpt.statistics import Statistics
from posesyn_t2mgpt.transformer import T2MTransformer, TransformerShape
from posesyn_t2mgpt.vqvae import MotionVqVae, VqVaeShape

STARTER = Path(__file__).parent / "weights" / "starter.safetensors"
OFFICIAL_HEADS = 16
_LAYOUTS = ("net", "trans")
"""The one key at the top of the official VQ-VAE's and transformer's files."""
_STATISTICS = ("mean", "std")
_PARTS = {"VQ-VAE": "vqvae.", "transformer": "trans_"}
EVALUATORS_CONTACT_STD = 0.1
"""Between the standard deviation of a contact (0.36 in HumanML3D's file) and a 25th of it (in the evaluator's)."""


@frozen(eq=False)
class Weights:
    """All tensors of a set by their official names, with ``mean`` and ``std`` beside them.

    ``heads`` is the one size that no tensor tells; None where the files don't say. ``text_encoder`` is the one that
    the transformer was trained with. ``official`` sets come in the layout of the published files.
    """

    tensors: Mapping[str, Tensor]
    source: str
    heads: int | None = None
    text_encoder: str = "clip"
    official: bool = False

    def statistics(self) -> Statistics:
        """Raises UserError if there are none, they are not (263,), or they can't be this checkpoint's."""
        values = [self._get(name, "put mean.npy and std.npy beside the checkpoint") for name in _STATISTICS]
        if any(value.shape != (FEATURES,) for value in values):
            shapes = " and ".join(str(tuple(value.shape)) for value in values)
            raise UserError(f"mean and std of {self.source} have shapes {shapes}, not ({FEATURES},)")
        mean, std = (value.double() for value in values)
        if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise UserError(
                f"mean or std of {self.source} has values that are not finite, or a std that is not positive"
            )
        if self.official and std[CONTACTS].min() > EVALUATORS_CONTACT_STD:
            raise UserError(
                f"std of {self.source} looks like HumanML3D's own Std.npy; official checkpoints go with the mean.npy "
                "and std.npy of the text-to-motion evaluator (VQVAEV3_CB1024_CMT_H1024_NRES3/meta), in which those of "
                "root and contacts are 25 times smaller"
            )
        return Statistics(mean, std)

    def vqvae(self) -> MotionVqVae:
        """The VQ-VAE in evaluation mode. Raises UserError if tensors are missing, too many or of the wrong size."""
        self._get("vqvae.quantizer.codebook", "add the VQ-VAE's checkpoint (net_last.pth)")
        self._get("vqvae.encoder.model.0.weight", "the VQ-VAE's checkpoint is not complete")
        model = MotionVqVae(_vqvae_shape(self.tensors))
        self._load(model, "vqvae.")
        return model

    def transformer(self, heads: int | None = None) -> T2MTransformer:
        """The transformer in evaluation mode; ``heads`` overrides what the files say. UserError as above."""
        table = self._get("trans_base.tok_emb.weight", "add the transformer's checkpoint (net_best_fid.pth)")
        self._get("trans_base.pos_embed.embed", "the transformer's checkpoint is not complete")
        heads = heads or self.heads or OFFICIAL_HEADS
        if table.shape[1] % heads:
            raise UserError(f"{heads} heads don't divide the {table.shape[1]} channels of {self.source}; set heads")
        shape = evolve(_transformer_shape(self.tensors), heads=heads)
        model = T2MTransformer(shape)
        self._load(model, "trans_")
        return model

    def _get(self, name: str, remedy: str) -> Tensor:
        if name not in self.tensors:
            raise UserError(f"{self.source} has no tensor {name!r}; {remedy}")
        return self.tensors[name]

    def _load(self, model: torch.nn.Module, prefix: str) -> None:
        state = {name: tensor.float() for name, tensor in self.tensors.items() if name.startswith(prefix)}
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise UserError(f"{self.source} does not fit this architecture: {first}") from error
        model.eval()


def _vqvae_shape(tensors: Mapping[str, Tensor]) -> VqVaeShape:
    """KeyError if these are no VQ-VAE's tensors."""
    codes, code_dim = tensors["vqvae.quantizer.codebook"].shape
    return VqVaeShape(width=tensors["vqvae.encoder.model.0.weight"].shape[0], codes=codes, code_dim=code_dim)


def _transformer_shape(tensors: Mapping[str, Tensor]) -> TransformerShape:
    """All but the heads, which no tensor tells: one. KeyError if these are no transformer's tensors."""
    table, places = tensors["trans_base.tok_emb.weight"], tensors["trans_base.pos_embed.embed"].shape[0]
    layers = {name.split(".")[2] for name in tensors if name.startswith("trans_base.blocks.")}
    return TransformerShape(codes=table.shape[0] - 2, dim=table.shape[1], layers=len(layers), heads=1, places=places)


class T2MGptWeights:
    """The WeightFormat: one official checkpoint, a folder with both, or safetensors of ours."""

    def check(self, path: Path) -> Fit:
        """Compare what there is, VQ-VAE, transformer or both, with the network of the sizes that it shows."""
        tensors = load_weights(str(path)).tensors
        held = [part for part, prefix in _PARTS.items() if any(name.startswith(prefix) for name in tensors)]
        vqvae = sizes_shown(_vqvae_shape, tensors, VqVaeShape())
        transformer = sizes_shown(_transformer_shape, tensors, TransformerShape(heads=1))
        with torch.device("meta"):
            networks = {"VQ-VAE": MotionVqVae(vqvae), "transformer": T2MTransformer(transformer)}
        network = nn.Module()  # both in one, as they are in a file of ours
        for part in held or networks:
            for name, module in networks[part].named_children():
                network.add_module(name, module)
        published = (vqvae, transformer) == (VqVaeShape(), TransformerShape(heads=1))
        variant = f"T2M-GPT ({' and '.join(held) or 'neither part'}{'' if published else ', other sizes'})"
        return compare(tensors, network, variant=variant, ignored=_STATISTICS)

    def convert(self, source: Path, target: Path) -> None:
        """Everything in one file, statistics too where the source is a folder that has them."""
        fit = self.check(source)
        if not fit.fits:
            raise UserError(f"weights {str(source)!r} are not those of {fit.variant}: {fit.complaint}")
        weights = load_weights(str(source))
        heads = {} if weights.heads is None else {"heads": str(weights.heads)}
        write_state_dict(weights.tensors, target, {**heads, "text_encoder": weights.text_encoder})


def load_weights(name: str) -> Weights:
    """Weights from ``name``: "starter", a safetensors file, or a folder with the files of one set.

    A folder may hold official checkpoints under any name (``*.pth``: a dict with the one key ``net`` or ``trans``),
    safetensors files, and ``mean.npy`` and ``std.npy`` (also ``t2m_mean.npy`` ...); or it is a clone of T2M-GPT's
    repository, or has its folders, as its scripts unpack them (see ``posesyn_t2mgpt.layout``).
    Raises UserError naming the file that is missing, truncated, of unknown content, or one too many.
    """
    path = STARTER if name == "starter" else Path(name).expanduser()
    files = weight_files(path)
    if not files:
        raise UserError(f"no weights at {str(path)!r}: give 'starter', a .safetensors file or a folder of checkpoints")
    tensors: dict[str, Tensor] = {}
    facts: dict[str, str] = {}
    for file in files:
        with reading(file, "weights"):
            found, metadata = _READERS[file.suffix](file)
        if twice := found.keys() & tensors.keys():
            raise UserError(
                f"{str(path)!r} holds {min(twice)!r} twice, once in {file.name}; leave one of the files there"
            )
        tensors.update(found)
        facts.update(metadata)
    heads = int(facts["heads"]) if "heads" in facts else None
    official = any(file.suffix in (".pth", ".pt") for file in files)
    return Weights(tensors, repr(str(path)), heads, facts.get("text_encoder", "clip"), official)


Read = tuple[dict[str, Tensor], Mapping[str, str]]


def _read_checkpoint(path: Path) -> Read:
    if are_safetensors(path):
        return read_state_dict(path), read_metadata(path)
    content = read_checkpoint(path)
    layouts = [key for key in _LAYOUTS if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
    tensors = {name: tensor for key in layouts for name, tensor in content[key].items()}
    if not layouts or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise UserError(f"weights {str(path)!r} have no tensors under 'net' or 'trans' at their top")
    return tensors, {}


def _read_array(path: Path) -> Read:
    name = next((name for name in _STATISTICS if path.stem.lower().endswith(name)), None)
    if name is None:
        return {}, {}
    return {name: torch.from_numpy(read_npy(path, "statistics", "mean or std, 263 numbers").astype(np.float64))}, {}


_READERS = {
    ".safetensors": _read_checkpoint,
    ".pth": _read_checkpoint,
    ".pt": _read_checkpoint,
    ".npy": _read_array,
}


def save_weights(
    path: Path,
    statistics: Statistics,
    vqvae: MotionVqVae,
    transformer: T2MTransformer | None = None,
    text_encoder: str = "hashed",
) -> None:
    """Write one set as half-precision safetensors (statistics in single precision), complete or not at all."""
    state = dict(vqvae.state_dict())
    facts = {}
    if transformer is not None:
        state |= transformer.state_dict()
        facts = {"heads": str(transformer.shape.heads), "text_encoder": text_encoder}
    tensors = {name: tensor.half().contiguous() for name, tensor in state.items()}
    tensors |= {"mean": statistics.mean.float(), "std": statistics.std.float()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, facts)
