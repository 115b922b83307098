"""Sampling a clip: reference photo, guidance features and noise -> latents -> frames.

Zhu et al., "Champ" (ECCV 2024), with the settings of its published inference: DDIM on a schedule with zero terminal SNR
(Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", WACV 2024), v-prediction, classifier-free
guidance that drops the reference but never the body's maps.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from attrs import frozen
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.nn.functional import interpolate

from posesyn_champ.unet import UNet, pack, write_bank
from posesyn_champ.windows import Windows
from posesyn_core.contracts.engines import NetworkCall
from posesyn_core.values import Image

DENOISER, UNCONDITIONAL = "denoiser", "denoiser_unconditional"
"""The networks that an engine can take over, and the names of their calls."""

SHRINK = 8
"""Pixels per latent."""

CLIP_SIZE = (224, 224)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Betas = Literal["linear", "scaled_linear"]


@frozen(eq=False)
class Appearance:
    """What is kept of the reference: the image ``token`` (1, 1, width), and the packed ``bank`` (1, numbers)."""

    token: Tensor
    bank: Tensor


def make_scheduler(betas: Betas = "linear") -> DDIMScheduler:
    """The published inference's schedule. (Training's is "scaled_linear"; some find it steadier at inference.)"""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule=betas,
        steps_offset=1,
        clip_sample=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
    )


def resize(image: Image, size: tuple[int, int], filter: PIL.Image.Resampling) -> Image:
    """``image`` (H, W, 3) squashed to ``size`` (height, width) by Pillow.

    Width first, then height, with 8 bits between: Pillow changed the order after the networks were trained.
    """
    height, width = size
    wide = PIL.Image.fromarray(image).resize((width, image.shape[0]), filter)
    return np.asarray(wide.resize((width, height), filter))


def clip_input(image: Image) -> Tensor:
    """(H, W, 3) -> (1, 3, 224, 224): the whole picture, its aspect ratio lost, normalised for CLIP."""
    pixels = torch.tensor(resize(image, CLIP_SIZE, PIL.Image.Resampling.BICUBIC)) / 255
    return ((pixels - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)).permute(2, 0, 1)[None]


def vae_input(image: Image, size: tuple[int, int]) -> Tensor:
    """(H, W, 3) -> (1, 3, *size) in -1..1."""
    pixels = torch.tensor(resize(image, size, PIL.Image.Resampling.LANCZOS))
    return (pixels / 127.5 - 1).permute(2, 0, 1)[None]


def guidance_input(maps: Iterable[Image], size: tuple[int, int]) -> Tensor:
    """Maps (H, W, 3) of F frames -> (F, 3, *size), still bytes: they are small, and become numbers in chunks."""
    resized = np.stack([resize(frame, size, PIL.Image.Resampling.BICUBIC) for frame in maps])
    return torch.from_numpy(resized).permute(0, 3, 1, 2)


def image_token(image_encoder: nn.Module, pixels: Tensor) -> Tensor:
    """CLIP's projected embedding of :func:`clip_input`, as one token (1, 1, width)."""
    return image_encoder(pixels).image_embeds[:, None]


def encode(vae: Any, pixels: Tensor) -> Tensor:
    """Pixels (N, 3, H, W) in -1..1 -> latents (N, 4, H / 8, W / 8): the posterior's mean, scaled."""
    return vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Latents (N, 4, h, w) -> pixels (N, 3, 8 h, 8 w) in 0..1."""
    return (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)


def remember(reference: UNet, latents: Tensor, token: Tensor) -> Appearance:
    """Fill the bank from the reference's ``latents`` (1, 4, h, w). It serves every step and window of the clip."""
    return Appearance(token, pack(write_bank(reference, latents, token)))


def sample(
    calls: Mapping[str, NetworkCall],
    noise: Tensor,
    guidance: Tensor,
    appearance: Appearance,
    windows: Windows,
    *,
    steps: int = 20,
    scale: float = 3.5,
    betas: Betas = "linear",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Denoise ``noise`` (1, 4, F, h, w); after every step yield the velocity and the latents, the last being the clip.

    ``guidance`` (1, C, F, h, w) are the encoders' features. ``scale`` at most 1 turns classifier-free guidance off,
    and with it half of the work.
    """
    scheduler = make_scheduler(betas)
    scheduler.set_timesteps(steps)
    latents = noise
    for number, timestep in enumerate(scheduler.timesteps):
        velocity = clip_velocity(calls, latents, timestep, guidance, appearance, windows(number), scale)
        latents = scheduler.step(velocity, timestep, latents).prev_sample
        yield velocity, latents


def clip_velocity(
    calls: Mapping[str, NetworkCall],
    latents: Tensor,
    timestep: Tensor,
    guidance: Tensor,
    appearance: Appearance,
    windows: list[list[int]],
    scale: float,
) -> Tensor:
    """The velocity (1, 4, F, h, w) of a clip: each frame's is the mean over the windows that it is in."""
    total, count = torch.zeros_like(latents), latents.new_zeros(latents.shape[2])
    for window in windows:
        frames = torch.tensor(window, device=latents.device)
        inputs = {
            "latents": latents[:, :, frames],
            "timestep": timestep.to(latents.device).reshape(1),
            "guidance": guidance[:, :, frames],
        }
        total.index_add_(2, frames, guided_velocity(calls, inputs, appearance, scale))
        count.index_add_(0, frames, torch.ones_like(frames, dtype=count.dtype))
    return total / count[:, None, None]


def guided_velocity(
    calls: Mapping[str, NetworkCall], inputs: Mapping[str, Tensor], appearance: Appearance, scale: float
) -> Tensor:
    """Classifier-free guidance (Ho & Salimans, 2022): v_without + scale (v_with - v_without) the reference."""
    given = calls[DENOISER]({**inputs, "token": appearance.token, "bank": appearance.bank})["velocity"]
    if scale <= 1:
        return given
    free = calls[UNCONDITIONAL](inputs)["velocity"]
    return free + scale * (given - free)


def to_image(pixels: Tensor, size: tuple[int, int]) -> list[Image]:
    """Frames (N, 3, h, w) in 0..1 -> uint8 images of ``size`` (height, width)."""
    resized = interpolate(pixels.float(), size=size, mode="bilinear", align_corners=False)
    return list((resized * 255).byte().permute(0, 2, 3, 1).cpu().numpy())
