"""What this plugin brings; torch and diffusers are imported when the animator is made."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from posesyn_champ.config import ChampConfig
from posesyn_core.components import Component, Kind, Licence, Need, Resources
from posesyn_core.files.presence import body_faults, file_faults, folder_faults
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from posesyn_champ.animator import ChampAnimator
    from posesyn_champ.weights import ChampWeights

LICENCE = Licence(
    code="Champ (MIT)",
    weights=(
        "Champ's own: check their model card; the parts from Stable Diffusion 1.5: CreativeML OpenRAIL-M, whose "
        "restrictions of use go with them"
    ),
    data=(
        "yours within OpenRAIL-M's restrictions, as far as the reference pictures are; check Champ's model card "
        "yourself"
    ),
)


SOURCE = "`hf download fudan-generative-ai/champ --local-dir pretrained_models` (10 GB)"
NETWORKS = ("denoising_unet", "motion_module", "reference_unet")


def lacks(config: ChampConfig) -> Iterator[str]:
    """The published files that the folder should have and has not."""
    yield from body_faults(config.body)
    if config.weights == "random":
        return
    folder = Path(config.weights).expanduser()
    if not folder.is_dir():
        yield from folder_faults(folder, "Champ's folder", SOURCE)
        return
    for name in (*NETWORKS, *(f"guidance_encoder_{kind}" for kind in config.guidance)):
        paths = [folder / "champ" / f"{name}{suffix}" for suffix in (".safetensors", ".pth")]
        yield from file_faults(next((path for path in paths if path.is_file()), paths[-1]), "Champ's file", SOURCE)
    for name in ("image_encoder", "sd-vae-ft-mse"):
        yield from folder_faults(folder / name, "Champ's folder", SOURCE, ("config.json",))


def make_animator(config: ChampConfig) -> "ChampAnimator":
    """The animator; imports torch, diffusers and transformers."""
    from posesyn_champ.animator import ChampAnimator

    return ChampAnimator(config)


def make_weights() -> "ChampWeights":
    """The format of its checkpoint files; imports torch and diffusers."""
    from posesyn_champ.weights import ChampWeights

    return ChampWeights()


@hookimpl
def register_animators() -> list[Component]:
    summary = "Champ: a diffusion model animates the reference photo, guided by maps of the plan's bodies"
    need = Need("diffusers and transformers", "pip install 'posesyn[champ]'", modules=("diffusers", "transformers"))
    return [
        Component(
            Kind.ANIMATOR,
            "champ",
            summary,
            make_animator,
            ChampConfig,
            needs=(need,),
            weights=make_weights,
            resources=Resources(gpus=1.0, memory_gb=32),
            licence=LICENCE,
            lacks=lacks,
        )
    ]
