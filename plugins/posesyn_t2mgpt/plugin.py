"""What this plugin brings: the motion generator ``t2mgpt`` and the commands that train it."""

from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.hookspecs import hookimpl
from posesyn_t2mgpt.commands import t2mgpt
from posesyn_t2mgpt.config import T2MGptConfig

if TYPE_CHECKING:
    import click

    from posesyn_t2mgpt.generator import T2MGpt
    from posesyn_t2mgpt.weights import T2MGptWeights

LICENCE = Licence(
    code="T2M-GPT (Apache-2.0), HumanML3D (MIT)",
    weights=(
        "the starter's: Apache-2.0; the official ones: published with the Apache-2.0 code, trained on HumanML3D, "
        "that is on AMASS and HumanAct12 (research only); CLIP's text encoder: MIT"
    ),
    data="with the starter yours; with the official weights check AMASS's licence yourself",
)


def make_generator(config: T2MGptConfig) -> "T2MGpt":
    from posesyn_t2mgpt.generator import T2MGpt

    return T2MGpt(config)


def make_weights() -> "T2MGptWeights":
    """The format of its checkpoint files; imports torch."""
    from posesyn_t2mgpt.weights import T2MGptWeights

    return T2MGptWeights()


@hookimpl
def register_motion_generators() -> list[Component]:
    summary = "T2M-GPT: goes on from a pose as a text says (starter weights, or the official checkpoints)"
    return [
        Component(Kind.MOTION, "t2mgpt", summary, make_generator, T2MGptConfig, weights=make_weights, licence=LICENCE)
    ]


@hookimpl
def register_commands(cli: "click.Group") -> None:
    cli.add_command(t2mgpt)
