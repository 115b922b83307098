"""Champ's published files, loaded as they are, by their official names.

A folder ``pretrained_models`` is laid out as its authors publish it::

    champ/denoising_unet.pth              the denoising network without its temporal modules
    champ/motion_module.pth               these
    champ/reference_unet.pth
    champ/guidance_encoder_depth.pth      and _normal, _semantic_map, _dwpose
    image_encoder/                        CLIP's image tower (transformers)
    sd-vae-ft-mse/                        the VAE (diffusers)
    stable-diffusion-v1-5/unet/config.json   sizes of both U-nets; Stable Diffusion 1.5's where it is missing

Each ``.pth`` (or ``.safetensors``, as ``posesyn weights convert`` writes them) is a bare state dict. The networks hold
every parameter of the files, also those that influence nothing: in all cross-attentions ``norm2``, ``attn2.to_q`` and
``attn2.to_k`` (there is one image token), in the guidance encoders ``attentions.0`` to ``attentions.4`` and
``guidance_attention``, in the reference network what follows the last ``norm1``. Left out are an output that some
reference files have, and CLIP's ``position_ids``.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, frozen
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from posesyn_champ.config import GUIDANCE
from posesyn_champ.guidance import GuidanceEncoder
from posesyn_champ.unet import UNet, UNetSizes
from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import Fit, compare, load_state_dict, read_state_dict, write_state_dict
from posesyn_core.files.reading import read_json

CHAMP, IMAGE_ENCODER, VAE = "champ", "image_encoder", "sd-vae-ft-mse"
UNET_CONFIG = Path("stable-diffusion-v1-5", "unet", "config.json")
DENOISING, MOTION, REFERENCE, ENCODER = "denoising_unet", "motion_module", "reference_unet", "guidance_encoder"
TEMPORAL = ".motion_modules."
OUTPUT = ("conv_norm_out.*", "conv_out.*")
SOURCE = "https://huggingface.co/fudan-generative-ai/champ"
SMALL = UNetSizes(channels=(32, 32, 64), layers=1, heads=4, groups=8, token=32)
"""The sizes of "random", for tests."""


@frozen(eq=False)
class Networks:
    """All of Champ. ``encoders`` by the kind of guidance."""

    denoiser: UNet
    reference: UNet
    encoders: nn.ModuleDict
    image_encoder: CLIPVisionModelWithProjection
    vae: AutoencoderKL

    def all(self) -> list[nn.Module]:
        return [self.denoiser, self.reference, self.encoders, self.image_encoder, self.vae]


def load_networks(weights: str, guidance: Sequence[str] = GUIDANCE) -> Networks:
    """The networks of a folder, or "random" ones, in float32 on the CPU, for inference.

    ``guidance`` names the encoders that are wanted. UserError for a missing file and for one that does not fit.
    """
    networks = random_networks(guidance) if weights == "random" else _of_folder(Path(weights).expanduser(), guidance)
    for network in networks.all():
        network.eval().requires_grad_(False)
    return networks


def random_networks(guidance: Sequence[str] = GUIDANCE, sizes: UNetSizes = SMALL, seed: int = 0) -> Networks:
    """Small untrained networks; always the same for a ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Networks(
            UNet(sizes, denoises=True),
            UNet(sizes, denoises=False),
            nn.ModuleDict({kind: GuidanceEncoder((8, 16, 16, 32), sizes.channels[0]) for kind in guidance}),
            CLIPVisionModelWithProjection(
                CLIPVisionConfig(
                    hidden_size=32, intermediate_size=32, projection_dim=sizes.token, num_hidden_layers=1,
                    num_attention_heads=2, patch_size=56,
                )
            ),
            AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(8, 8, 8, 8), norm_num_groups=4, layers_per_block=1, latent_channels=sizes.latents,
            ),
        )  # fmt: skip


def _of_folder(folder: Path, guidance: Sequence[str]) -> Networks:
    if not (folder / CHAMP).is_dir():
        raise UserError(
            f"the folder {str(folder)!r} does not hold Champ (it has no {CHAMP}/): download {SOURCE}, and set the "
            f"animator's key 'weights' to the folder with {CHAMP}/, {IMAGE_ENCODER}/ and {VAE}/"
        )
    denoiser = _load(folder, DENOISING)
    _load(folder, MOTION, denoiser)
    assert isinstance(denoiser, UNet)
    return Networks(
        denoiser,
        _load(folder, REFERENCE),
        nn.ModuleDict({kind: _load(folder, f"{ENCODER}_{kind}") for kind in guidance}),
        _pretrained(CLIPVisionModelWithProjection, folder / IMAGE_ENCODER),
        _pretrained(AutoencoderKL, folder / VAE),
    )


def _load(folder: Path, name: str, network: nn.Module | None = None) -> Any:
    """The network of the file of that name, or ``network`` with what the file adds to it."""
    path = _file(folder, name)
    state = read_state_dict(path, "state_dict")
    fresh, fit = _compared(name, state, read_sizes(folder))
    network = fresh if network is None else network
    load_state_dict(network, state, fit, path)
    return network


def _file(folder: Path, name: str) -> Path:
    """``champ/<name>.pth``, or the safetensors beside it; UserError if there is neither."""
    paths = [folder / CHAMP / f"{name}{suffix}" for suffix in (".pth", ".safetensors")]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise UserError(f"{str(paths[0])!r} is missing; download it from {SOURCE}")
    return found


def _compared(name: str, state: Mapping[str, Tensor], sizes: UNetSizes) -> tuple[nn.Module, Fit]:
    """The network that a file of that ``name`` belongs to, on the meta device, and how the file fits.

    Each of ``denoising_unet`` and ``motion_module`` is judged by its own part of the one network.
    """
    with torch.device("meta"):
        if name.startswith(ENCODER):
            network: nn.Module = GuidanceEncoder(*_encoder_sizes(state))
        else:
            network = UNet(sizes, denoises=name != REFERENCE)
    ignored = {DENOISING: (f"*{TEMPORAL}*",), REFERENCE: OUTPUT}.get(name, ())
    fit = compare(state, network, variant=f"Champ {name}", ignored=ignored)
    if name in (DENOISING, MOTION):
        missing = tuple(other for other in fit.missing if (TEMPORAL in other) == (name == MOTION))
        fit = evolve(fit, missing=missing)
    return network, fit


def _encoder_sizes(state: Mapping[str, Tensor]) -> tuple[tuple[int, ...], int]:
    """Channels and outputs that a state dict shows; the published ones if it is no guidance encoder's."""
    names = ["conv_in.bias", "blocks.1.bias", "blocks.3.bias", "blocks.5.bias", "conv_out.bias"]
    if any(name not in state for name in names):
        return (16, 32, 96, 256), 320
    *channels, outputs = (len(state[name]) for name in names)
    return tuple(channels), outputs


def read_sizes(folder: Path) -> UNetSizes:
    """The U-nets' sizes from the config of Stable Diffusion in ``folder``; the published ones without it.

    UserError if it lacks a key.
    """
    path = folder / UNET_CONFIG
    if not path.is_file():
        return UNetSizes()
    try:
        config = read_json(path, "config", "a JSON object")
        return UNetSizes(
            channels=tuple(config["block_out_channels"]),
            layers=config["layers_per_block"],
            heads=config["attention_head_dim"],
            groups=config["norm_num_groups"],
            token=config["cross_attention_dim"],
            latents=config["in_channels"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{str(path)!r} is not the config of Stable Diffusion 1.5's U-net: {error!r}") from error


def _pretrained(kind: Any, folder: Path) -> Any:
    """A network of transformers or diffusers from its folder; UserError unless all its weights are there and fit."""
    if not folder.is_dir():
        raise UserError(f"the folder {str(folder)!r} is missing; download it from {SOURCE}")
    try:
        network, report = kind.from_pretrained(str(folder), local_files_only=True, output_loading_info=True)
    except Exception as error:  # both libraries raise whatever a damaged folder leads them to
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"{str(folder)!r} can't be loaded: {reason}; is the download complete?") from error
    wrong = [str(name) for key in ("missing_keys", "mismatched_keys", "error_msgs") for name in report.get(key, ())]
    if wrong:
        raise UserError(f"the weights in {str(folder)!r} are not those of its config: {wrong[0]} is missing or differs")
    return network.float()


class ChampWeights:
    """Champ's WeightFormat: of one file, or of the whole folder (without CLIP and VAE, which their libraries check)."""

    def check(self, path: Path) -> Fit:
        """Compare a file, recognised by what is in it, or all files of a folder laid out as published."""
        if path.is_dir():
            names = (DENOISING, MOTION, REFERENCE, *(f"{ENCODER}_{kind}" for kind in GUIDANCE))
            return _together({name: self.check(_file(path, name)) for name in names})
        state = read_state_dict(path, "state_dict")
        return _compared(_name_of(path, state), state, read_sizes(path.parent.parent))[1]

    def convert(self, source: Path, target: Path) -> None:
        """One file's parameters under the same names. Named alike, it takes the original's place in the folder."""
        state, fit = read_state_dict(source, "state_dict"), self.check(source)
        if not fit.fits:
            raise UserError(f"weights {str(source)!r} are not those of {fit.variant}: {fit.complaint}")
        write_state_dict({name: tensor for name, tensor in state.items() if name not in fit.ignored}, target)


def _name_of(path: Path, state: Mapping[str, Tensor]) -> str:
    """Which of the published files a state dict is: by the file's name, or else by what is in it."""
    if path.stem in (DENOISING, MOTION, REFERENCE) or path.stem.startswith(ENCODER):
        return path.stem
    if "guidance_attention.norm.weight" in state:
        return ENCODER
    if "conv_in.weight" not in state and any(TEMPORAL in name for name in state):
        return MOTION
    return DENOISING if any(name.startswith("conv_out.") for name in state) else REFERENCE


def _together(fits: Mapping[str, Fit]) -> Fit:
    """One Fit of several files, the names behind the files' own."""

    def all_of(names_of: Callable[[Fit], Sequence[str]]) -> tuple[str, ...]:
        return tuple(f"{file}: {name}" for file, fit in fits.items() for name in names_of(fit))

    return Fit(
        "Champ",
        all_of(lambda fit: fit.missing),
        all_of(lambda fit: fit.unexpected),
        all_of(lambda fit: fit.wrong_shape),
        all_of(lambda fit: fit.ignored),
    )
