"""What this plugin brings; torch is imported when the estimator is made."""

from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind
from posesyn_core.hookspecs import hookimpl
from posesyn_spin.config import SpinConfig

if TYPE_CHECKING:
    from posesyn_spin.estimator import Spin
    from posesyn_spin.weights import SpinWeights


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
        )
    ]
