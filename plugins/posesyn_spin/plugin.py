"""What this plugin brings; torch is imported when the estimator is made."""

from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.hookspecs import hookimpl
from posesyn_spin.config import SpinConfig

if TYPE_CHECKING:
    from posesyn_spin.estimator import Spin
    from posesyn_spin.weights import SpinWeights

LICENCE = Licence(
    code="SPIN (BSD-3-Clause)",
    weights=(
        "no licence of its own, trained on data for research only (Human3.6M and others), and posed with SMPL "
        "(research only)"
    ),
    data="for research, check yourself",
)


def make_spin(config: SpinConfig) -> "Spin":
    """The estimator; imports torch."""
    from posesyn_spin.estimator import Spin

    return Spin(config)


def make_weights() -> "SpinWeights":
    """The format of its checkpoint files; imports torch."""
    from posesyn_spin.weights import SpinWeights

    return SpinWeights()


@hookimpl
def register_estimators() -> list[Component]:
    return [
        Component(
            Kind.ESTIMATOR,
            "spin",
            "SPIN: a ResNet that regresses SMPL parameters",
            make_spin,
            SpinConfig,
            weights=make_weights,
            licence=LICENCE,
        )
    ]
