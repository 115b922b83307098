"""The networks of Wan's pipelines: from a folder in diffusers' layout, or small random ones.

::

    transformer/ vae/ scheduler/            both; safetensors in shards
    image_encoder/ image_processor/         Wan2.2-Animate: CLIP's image tower
    text_encoder/ tokenizer/                umT5, once (:mod:`posesyn_wan.prompts`)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanAnimatePipeline,
    WanAnimateTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from posesyn_core.errors import UserError
from posesyn_wan.embedding import TOKENS, embedded

ImageProcessor: Any = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
"""CLIP's own preprocessing; where transformers has two, the one that does without torchvision."""
RANDOM = "random"
_TEXT = 32
"""Numbers of a token of the random networks."""


def animate_pipeline(weights: str, shift: float, dtype: torch.dtype) -> WanAnimatePipeline:
    """Wan2.2-Animate's pipeline without text encoder. UserError for what is missing or does not fit."""
    if weights == RANDOM:
        with _seeded():
            vae, clip, processor = _random_vae(), _random_clip(), ImageProcessor(size=4, crop_size=4)
            transformer = _lowered(WanAnimateTransformer3DModel(**_SMALL, **_SMALL_ANIMATE), dtype)
            clip = _lowered(clip, dtype)
        return WanAnimatePipeline(None, None, vae, _random_scheduler(shift), processor, clip, transformer)
    folder = _folder(weights)
    processor = _made(folder / "image_processor", ImageProcessor.from_pretrained)
    clip = _network(CLIPVisionModel, folder / "image_encoder", dtype)
    transformer = _network(WanAnimateTransformer3DModel, folder / "transformer", dtype)
    return WanAnimatePipeline(None, None, _vae(folder), _scheduler(folder, shift), processor, clip, transformer)


def vace_pipeline(weights: str, shift: float, dtype: torch.dtype) -> WanVACEPipeline:
    """VACE's pipeline without text encoder. UserError for what is missing or does not fit."""
    if weights == RANDOM:
        with _seeded():
            vae = _random_vae()
            transformer = _lowered(WanVACETransformer3DModel(**_SMALL, **_SMALL_VACE), dtype)
        return WanVACEPipeline(None, None, vae, _random_scheduler(shift), transformer)
    folder = _folder(weights)
    transformer = _network(WanVACETransformer3DModel, folder / "transformer", dtype)
    return WanVACEPipeline(None, None, _vae(folder), _scheduler(folder, shift), transformer)


def prompts_of(weights: str, prompt: str, negative: str, guidance_scale: float) -> dict[str, Tensor]:
    """What a pipeline is called with: embeddings (1, 512, width), the ``negative`` one where it counts."""
    wanted = {"prompt_embeds": prompt} | ({"negative_prompt_embeds": negative} if guidance_scale > 1 else {})
    return {name: _prompt(weights, text) for name, text in wanted.items()}


def _prompt(weights: str, text: str) -> Tensor:
    """A prompt's embedding; of the random networks, random by its text."""
    if weights != RANDOM:
        return embedded(_folder(weights), text)
    draw = torch.Generator().manual_seed(sum(text.encode()))
    return torch.randn(1, TOKENS, _TEXT, generator=draw)


# ---- published ---------------------------------------------------------------------------------------------------


def _folder(weights: str) -> Path:
    folder = Path(weights).expanduser()
    if not folder.is_dir():
        raise UserError(f"the folder {weights!r} of Wan's weights does not exist; `posesyn check` tells its source")
    return folder


def _vae(folder: Path) -> AutoencoderKLWan:
    return _network(AutoencoderKLWan, folder / "vae", torch.float32)


def _scheduler(folder: Path, shift: float) -> UniPCMultistepScheduler:
    return _made(folder / "scheduler", UniPCMultistepScheduler.from_pretrained, flow_shift=shift)


def _network(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A network from its folder, for inference; UserError unless all its weights are there and fit."""
    network, report = _made(
        folder, kind.from_pretrained, torch_dtype=dtype, output_loading_info=True, use_safetensors=True
    )
    wrong = [str(name) for key in ("missing_keys", "mismatched_keys", "error_msgs") for name in report.get(key, ())]
    if wrong:
        raise UserError(f"the weights in {str(folder)!r} are not those of its config: {wrong[0]} is missing or differs")
    return network.eval().requires_grad_(False)


def _made(folder: Path, make: Any, **options: Any) -> Any:
    if not folder.is_dir():
        raise UserError(f"the folder {str(folder)!r} is missing; `posesyn check` tells where to get it")
    try:
        return make(str(folder), local_files_only=True, **options)
    except Exception as error:  # both libraries raise whatever a damaged folder leads them to
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"{str(folder)!r} can't be loaded: {reason}; is the download complete?") from error


# ---- random ------------------------------------------------------------------------------------------------------

_SMALL: dict[str, Any] = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "out_channels": 16,
    "text_dim": _TEXT, "freq_dim": 32, "ffn_dim": 32, "num_layers": 2, "rope_max_seq_len": 64,
}  # fmt: skip
_SMALL_ANIMATE: dict[str, Any] = {
    "in_channels": 36, "latent_channels": 16, "image_dim": 8, "inject_face_latents_blocks": 2,
    "motion_encoder_channel_sizes": {"4": 8, "8": 8, "16": 8}, "motion_encoder_size": 16, "motion_style_dim": 8,
    "motion_dim": 4, "motion_encoder_dim": 16, "face_encoder_hidden_dim": 16, "face_encoder_num_heads": 2,
}  # fmt: skip
_SMALL_VACE: dict[str, Any] = {"in_channels": 16, "vace_layers": [0], "vace_in_channels": 96}


def _random_vae() -> AutoencoderKLWan:
    vae = AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    return vae.eval().requires_grad_(False)


def _random_clip() -> CLIPVisionModel:
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPVisionModel(CLIPVisionConfig(**sizes, projection_dim=8, image_size=4, patch_size=2))


def _random_scheduler(shift: float) -> UniPCMultistepScheduler:
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)


def _lowered(network: Any, dtype: torch.dtype) -> Any:
    nn.Module.to(network, dtype)  # diffusers' own method warns of parts that it would rather keep in float32
    return network.eval().requires_grad_(False)


@contextmanager
def _seeded() -> Iterator[None]:
    """Within the block, torch draws as after seed 0; outside nothing is changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
