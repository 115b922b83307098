"""What this plugin brings; torch and diffusers are imported when the animator is made."""

from typing import TYPE_CHECKING

from posesyn_champ.config import ChampConfig
from posesyn_core.components import Component, Kind, Need
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from posesyn_champ.animator import ChampAnimator
    from posesyn_champ.weights import ChampWeights


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
    return [Component(Kind.ANIMATOR, "champ", summary, make_animator, ChampConfig, needs=(need,), weights=make_weights)]
