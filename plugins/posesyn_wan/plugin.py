"""What this plugin brings; torch and diffusers are imported when an animator is made."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Need, Resources
from posesyn_core.errors import UserError
from posesyn_core.files.presence import body_faults, file_faults, folder_faults
from posesyn_core.files.reading import read_json
from posesyn_core.hookspecs import hookimpl
from posesyn_wan.config import WanAnimateConfig, WanVaceConfig
from posesyn_wan.prompts import faults

if TYPE_CHECKING:
    from posesyn_wan.animator import WanAnimator
    from posesyn_wan.vace import WanVaceAnimator

LICENCE = Licence(
    code="diffusers' pipelines (Apache-2.0)",
    weights="Wan2.2-Animate-14B and Wan2.1-VACE-1.3B: Apache-2.0",
    data="yours, as far as the reference pictures are",
)
WHAT = "Wan's folder"


def _source(model: str, size: str) -> str:
    return f"`hf download Wan-AI/{model} --local-dir {model}` ({size}), and set the animator's key 'weights' to it"


ANIMATE = _source("Wan2.2-Animate-14B-Diffusers", "about 50 GB")
VACE = _source("Wan2.1-VACE-1.3B-diffusers", "about 20 GB")


def animate_lacks(config: WanAnimateConfig) -> Iterator[str]:
    """The published files that the folder should have and has not."""
    yield from _lacks(config, ("transformer", "vae", "image_encoder"), ("scheduler", "image_processor"), ANIMATE)


def vace_lacks(config: WanVaceConfig) -> Iterator[str]:
    """The published files that the folder should have and has not."""
    yield from _lacks(config, ("transformer", "vae"), ("scheduler",), VACE)


def _lacks(
    config: WanAnimateConfig | WanVaceConfig, networks: tuple[str, ...], others: tuple[str, ...], source: str
) -> Iterator[str]:
    yield from body_faults(config.body)
    if config.weights == "random":
        return
    folder = Path(config.weights).expanduser()
    if not folder.is_dir():
        yield from folder_faults(folder, WHAT, source)
        return
    yield from folder_faults(folder, WHAT, source, others)
    for name in networks:
        yield from _network_faults(folder / name, source)
    prompts = (config.prompt, config.negative_prompt) if config.guidance_scale > 1 else (config.prompt,)
    yield from faults(folder, prompts, source)


def _network_faults(folder: Path, source: str) -> Iterator[str]:
    """A network's folder without its config, or without one of its weight files."""
    missing = list(folder_faults(folder, WHAT, source, ("config.json",)))
    yield from missing
    if missing:
        return
    index = next(iter(sorted(folder.glob("*.safetensors.index.json"))), None)
    if index is None:
        files = sorted(folder.glob("*.safetensors")) or [folder / "diffusion_pytorch_model.safetensors"]
    else:
        try:
            shards = read_json(index, "index", "a JSON object")["weight_map"].values()
            files = sorted({folder / str(name) for name in shards})
        except (UserError, KeyError, AttributeError) as error:
            yield f"{str(index)!r} can't be used: {error} ({source})"
            return
    for file in files:
        yield from file_faults(file, "Wan's file", source)


def make_animate(config: WanAnimateConfig) -> "WanAnimator":
    """The animator; imports torch, diffusers and transformers."""
    from posesyn_wan.animator import WanAnimator

    return WanAnimator(config)


def make_vace(config: WanVaceConfig) -> "WanVaceAnimator":
    """The animator; imports torch, diffusers and transformers."""
    from posesyn_wan.vace import WanVaceAnimator

    return WanVaceAnimator(config)


@hookimpl
def register_animators() -> list[Component]:
    need = Need(
        "diffusers, transformers and ftfy", "pip install 'posesyn[wan]'", modules=("diffusers", "transformers", "ftfy")
    )
    return [
        Component(
            Kind.ANIMATOR,
            "wan_animate",
            "Wan2.2-Animate: a large video model animates the reference photo, guided by skeletons",
            make_animate,
            WanAnimateConfig,
            needs=(need,),
            resources=Resources(gpus=1.0, memory_gb=96),
            licence=LICENCE,
            lacks=animate_lacks,
        ),
        Component(
            Kind.ANIMATOR,
            "wan_vace",
            "Wan2.1-VACE 1.3B: a video model for small GPUs animates the reference photo, guided by skeletons",
            make_vace,
            WanVaceConfig,
            needs=(need,),
            resources=Resources(gpus=1.0, memory_gb=32),
            licence=LICENCE,
            lacks=vace_lacks,
        ),
    ]
