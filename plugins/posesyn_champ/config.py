"""Options of the animator ``champ``."""

from typing import Literal

from attrs import field, frozen

from posesyn_core import option

GUIDANCE = ("depth", "normal", "semantic_map", "dwpose")
"""The maps of the body that Champ has encoders for."""


def _known(_config: object, _attribute: object, kinds: tuple[str, ...]) -> None:
    if not kinds or not set(kinds) <= set(GUIDANCE) or len(set(kinds)) < len(kinds):
        raise ValueError(f"guidance must name one or more of {', '.join(GUIDANCE)}, each once, not {list(kinds)}")


@frozen
class ChampConfig:
    """Options of the animator ``champ``; the defaults of the sampling are the published ones."""

    weights: str = option(
        "pretrained_models",
        "the folder with the published files: champ/*.pth, image_encoder/, sd-vae-ft-mse/ (and, unless the sizes are "
        "Stable Diffusion 1.5's, stable-diffusion-v1-5/unet/config.json); or 'random': small and untrained, for tests",
    )
    body: str = option("", "the SMPL file (.npz or official .pkl) of the plan's bodies; empty = the free body")
    guidance: tuple[str, ...] = field(
        default=GUIDANCE,
        converter=tuple,
        validator=_known,
        metadata={"doc": "the maps of the body that guide the animation; leaving some out saves their encoders"},
    )
    width: int = option(
        512,
        "pixels at which frames are made, a multiple of 64; squares about the reference person are brought to it",
        least=64,
        most=4096,
    )
    height: int = option(512, "likewise", least=64, most=4096)
    steps: int = option(20, "denoising steps", least=1, most=1_000)
    guidance_scale: float = option(3.5, "classifier-free guidance; 1 = off, in half of the time", least=0, most=100)
    betas: Literal["linear", "scaled_linear"] = option(
        "linear", "noise schedule: linear as in the published inference, scaled_linear as in the training"
    )
    context_frames: int = option(
        24, "frames denoised together, at most 32; longer clips are cut into such windows", least=1, most=32
    )
    context_overlap: int = option(4, "frames that a window shares with the next one", least=0)
    context_stride: int = option(1, "above 1: also windows of every 2nd (and 4th, ...) frame", least=1)
    shift_windows: bool = option(False, "shift the windows from step to step, so that their seams meet nowhere")
    closed_loop: bool = option(
        True, "the last window wraps to the first frames, as published; false = windows end with the clip"
    )
    device: str = option("cpu", "torch device: cpu, cuda, cuda:1, mps")
    precision: Literal["fp32", "fp16", "bf16"] = option("fp32", "of all networks; the published inference takes fp16")
    offload: Literal["none", "model", "sequential"] = option(
        "none",
        "keep the networks in main memory: 'model' moves each to the device while it runs, 'sequential' each layer "
        "(slow, needs least)",
    )
    attention_frames: int = option(
        0, "frames whose pixels attend at once (0 = all): less memory without fused kernels", least=0
    )
    guidance_chunk: int = option(16, "frames whose maps are encoded at once", least=1, most=1_024)
    vae_chunk: int = option(1, "frames decoded at once", least=1, most=1_024)
    vae_tiling: bool = option(False, "decode large frames in overlapping tiles")
    compile: str = option(
        "auto",
        "torch.compile the denoising network with this backend; 'auto' = 'inductor' on an NVIDIA GPU, if triton is "
        "installed there; empty = don't",
    )
