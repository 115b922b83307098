"""What this plugin brings; torch is imported when the estimator is made."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Resources
from posesyn_core.files.presence import body_faults, file_faults
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


DATA = "http://visiondata.cis.upenn.edu/spin/model_checkpoint.pt (https://github.com/nkolot/SPIN)"
PRIOR = "it comes with SMPLify's code (https://smplify.is.tue.mpg.de, to register)"


def lacks(config: SpinConfig) -> Iterator[str]:
    """The files that the options name and that are not there."""
    if config.weights not in ("starter", "random", "random-full"):
        yield from file_faults(config.weights, "SPIN's checkpoint", DATA)
    yield from body_faults(config.body)
    if config.pose_prior:
        yield from file_faults(config.pose_prior, "SMPLify's gmm_08.pkl", PRIOR)


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
            resources=Resources(gpus=0.1, memory_gb=4),
            licence=LICENCE,
            lacks=lacks,
        )
    ]
