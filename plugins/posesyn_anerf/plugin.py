"""What this plugin brings: the animator ``anerf``, and the command that trains fields."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posesyn_anerf.commands import anerf
from posesyn_anerf.config import AnerfConfig
from posesyn_core.components import Component, Kind, Licence
from posesyn_core.files.presence import file_faults
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from posesyn_anerf.weights import FieldWeights

LICENCE = Licence(
    code="A-NeRF (MIT)",
    weights=(
        "the starter's: Apache-2.0, of a rendered person; the official ones: published with the MIT code, of people of "
        "SURREAL, Mixamo and Human3.6M (research only)"
    ),
    data="with the starter yours; with the official weights as their data sets' licences say",
)

SOURCE = "see https://github.com/LemonATsu/A-NeRF for checkpoints"


def lacks(config: AnerfConfig) -> Iterator[str]:
    """The files that the config names and that are not there."""
    if config.weights not in ("starter", "random", "random-full"):
        yield from file_faults(Path(config.weights).expanduser(), "A-NeRF's checkpoint", SOURCE)
    if config.skeleton:
        yield from file_faults(Path(config.skeleton).expanduser(), "the field's skeleton", SOURCE)


def make_animator(config: AnerfConfig) -> Any:
    from posesyn_anerf.animator import AnerfAnimator

    return AnerfAnimator(config)


def make_weights() -> "FieldWeights":
    """The format of its checkpoint files; imports torch."""
    from posesyn_anerf.weights import FieldWeights

    return FieldWeights()


@hookimpl
def register_animators() -> list[Component]:
    return [
        Component(
            Kind.ANIMATOR,
            "anerf",
            "A radiance field of one person on a skeleton (A-NeRF); brings its own people",
            make_animator,
            AnerfConfig,
            weights=make_weights,
            licence=LICENCE,
            lacks=lacks,
            brings_people=True,
        )
    ]


@hookimpl
def register_commands(cli: "click.Group") -> None:
    cli.add_command(anerf)
