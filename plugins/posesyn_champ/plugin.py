"""What this plugin brings; torch and diffusers are imported when the animator is made."""

from typing import TYPE_CHECKING

from posesyn_champ.config import ChampConfig
from posesyn_core.components import Component, Kind, Licence, Need
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
            licence=LICENCE,
        )
    ]
