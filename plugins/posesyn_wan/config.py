"""Options of the animators ``wan_animate`` and ``wan_vace``."""

from typing import Literal

from attrs import frozen

from posesyn_core import option

PROMPT = "视频中的人在做动作"
"""The one prompt with which Wan2.2-Animate is published: the people in the video are making movements."""
NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，"
    "倒着走"
)
"""Wan's published negative prompt."""
STEP = 16
"""Sides of frames are multiples of it: 8 pixels per latent, 2 latents per patch."""


def _sides(pixels: int) -> str | None:
    return None if pixels % STEP == 0 else f"must be a multiple of {STEP}, not {pixels}"


def _segment(frames: int) -> str | None:
    return None if frames % 4 == 1 else f"must be 4n + 1 (as 77 and 81 are), not {frames}"


def _steps(published: int) -> int:
    return option(published, "denoising steps", least=1, most=1_000)


def _shift(published: float) -> float:
    return option(
        published, "shift of the noise schedule, as published; less suits smaller frames", above=0, most=1_000
    )


def _fps(published: float) -> float:
    return option(
        published,
        "frames a second that the model is used to: poses are put in between those of slower motions, and their frames "
        "left out of the clip again; 0 = the motion's poses alone",
        least=0,
        most=1_000,
    )


@frozen
class WanConfig:
    """Options of both; the defaults of the sampling are those published with Wan2.2-Animate (its configuration)."""

    body: str = option("", "the SMPL file (.npz or official .pkl) of the plan's bodies; empty = the free body")
    steps: int = _steps(20)
    shift: float = _shift(5.0)
    fps: float = _fps(30.0)
    prompt: str = option(PROMPT, "what the video shows; embedded once, and kept beside the weights")
    negative_prompt: str = option(NEGATIVE_PROMPT, "what it does not show: with a guidance_scale above 1")
    device: str = option("cpu", "torch device: cpu, cuda, cuda:1")
    precision: Literal["fp32", "fp16", "bf16"] = option("bf16", "of the networks but the VAE, which takes float32")
    offload: Literal["none", "model", "sequential", "group"] = option(
        "none",
        "keep the networks in main memory: 'model' moves each to the device while it runs, 'group' a few blocks of it, "
        "'sequential' each layer (slow, needs least)",
    )
    group_blocks: int = option(1, "with offload = 'group': blocks that are on the device at once", least=1)
    group_folder: str = option("", "with offload = 'group': keep the blocks in this folder on disk, not in main memory")
    vae_tiling: bool = option(False, "encode and decode large frames in overlapping tiles")


@frozen
class WanAnimateConfig(WanConfig):
    """Options of the animator ``wan_animate``."""

    weights: str = option(
        "Wan2.2-Animate-14B-Diffusers",
        "the folder with the published files in diffusers' layout; or 'random': small and untrained, for tests",
    )
    width: int = option(
        720,
        "pixels at which frames are made, a multiple of 16; references keep their shape",
        least=16,
        check=_sides,
        most=8_192,
    )
    height: int = option(720, "likewise", least=16, check=_sides, most=8_192)
    segment_frames: int = option(
        77, "frames denoised together, 4n + 1; longer clips come in segments", least=9, check=_segment
    )
    overlap_frames: Literal[1, 5] = option(1, "frames of a segment that the next one goes on from")
    guidance_scale: float = option(
        1.0, "classifier-free guidance, by prompt and face; 1 = off, as published", least=1, most=100
    )
    face_batch: int = option(8, "frames of the face video that are encoded at once", least=1, most=1_024)


@frozen
class WanVaceConfig(WanConfig):
    """Options of the animator ``wan_vace``; sampled as Wan2.1's ``generate.py`` does for VACE."""

    weights: str = option(
        "Wan2.1-VACE-1.3B-diffusers",
        "the folder with the published files in diffusers' layout; or 'random': small and untrained, for tests",
    )
    steps: int = _steps(50)
    shift: float = _shift(16.0)
    fps: float = _fps(16.0)
    width: int = option(
        480,
        "pixels at which frames are made, a multiple of 16; references keep their shape",
        least=16,
        check=_sides,
        most=8_192,
    )
    height: int = option(480, "likewise", least=16, check=_sides, most=8_192)
    segment_frames: int = option(
        81, "frames denoised together, 4n + 1; longer clips come in segments", least=9, check=_segment
    )
    overlap_frames: int = option(5, "frames of one that the next goes on from, 4n + 1", least=1, check=_segment)
    guidance_scale: float = option(
        5.0, "classifier-free guidance by the prompt; 1 = off, in half of the time", least=1, most=100
    )
    conditioning_scale: float = option(1.0, "how much the skeleton counts", least=0, most=100)
