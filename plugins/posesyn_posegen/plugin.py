"""What this plugin brings: PoseGen as a motion generator, its filter, and the command that trains it."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.files.presence import file_faults
from posesyn_core.hookspecs import hookimpl
from posesyn_posegen.commands import posegen
from posesyn_posegen.config import PoseGenConfig, RejectionConfig

if TYPE_CHECKING:
    import click

    from posesyn_posegen.generator import PoseGenMotions
    from posesyn_posegen.rejection import Rejection
    from posesyn_posegen.weights import GeneratorWeights

EXPERIMENTS = (*(f"posegen-table{number}" for number in range(1, 8)), "posegen-figure6")
"""Its paper's tables, and the figure that has a training each."""
LICENCE = Licence(
    code="our own (Apache-2.0), after the paper; nothing of the authors' repository, which states no licence",
    weights=(
        "the starter's: Apache-2.0; those you train: yours, as far as the licence of the real poses lets you "
        "(AMASS: research only)"
    ),
    data="with the starter yours; with your own weights as they are, and as the animator's licence says",
)


def lacks(config: PoseGenConfig) -> Iterator[str]:
    """The files of weights and real poses that are not there."""
    if config.weights not in ("starter", "train"):
        yield from file_faults(
            Path(config.weights).expanduser(), "PoseGen's weights", "make some with `posesyn posegen train`"
        )
    if config.poses:
        yield from file_faults(Path(config.poses).expanduser(), "the real poses", "name an npz with pose3d (N, 24, 3)")


def make_generator(config: PoseGenConfig) -> "PoseGenMotions":
    """The motion generator; imports torch."""
    from posesyn_posegen.generator import PoseGenMotions

    return PoseGenMotions(config)


def make_filter(config: RejectionConfig) -> "Rejection":
    """The filter; imports torch."""
    from posesyn_posegen.rejection import Rejection

    return Rejection(config)


def make_weights() -> "GeneratorWeights":
    """The format of its files; imports torch."""
    from posesyn_posegen.weights import GeneratorWeights

    return GeneratorWeights()


@hookimpl
def register_motion_generators() -> list[Component]:
    summary = "PoseGen: single poses of a generator that an estimator's error rewards"
    return [
        Component(
            Kind.MOTION,
            "posegen",
            summary,
            make_generator,
            PoseGenConfig,
            weights=make_weights,
            licence=LICENCE,
            lacks=lacks,
        )
    ]


@hookimpl
def register_filters() -> list[Component]:
    summary = "PoseGen's rejection: keep frames on which the estimator's error is below d (its Eq. 13)"
    return [Component(Kind.FILTER, "posegen_rejection", summary, make_filter, RejectionConfig, licence=LICENCE)]


@hookimpl
def register_experiments() -> dict[str, Callable[[Any, Sequence[int]], Sequence[Any]]]:
    return {name: partial(_experiment, name) for name in EXPERIMENTS}


def _experiment(name: str, laboratory: Any, seeds: Sequence[int]) -> Sequence[Any]:
    from posesyn_posegen.experiments import do_table

    return do_table(name, laboratory, seeds)


@hookimpl
def register_commands(cli: "click.Group") -> None:
    cli.add_command(posegen)
