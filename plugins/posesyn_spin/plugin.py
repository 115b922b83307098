"""What this plugin brings. Only the options stand here; torch is imported when the estimator is made."""

from typing import TYPE_CHECKING

from attrs import frozen

from posesyn_core.components import Component, Kind, option
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from posesyn_spin.estimator import Spin


@frozen
class SpinConfig:
    """Options of the estimator ``spin``. The loss weights' defaults are the published ones."""

    weights: str = option(
        "starter",
        "'starter' (a small network that comes with PoseSyn), 'random' (the same, untrained), or a file: SPIN's "
        "model_checkpoint.pt or a .safetensors written here",
    )
    body: str = option("", "the SMPL file (.npz or official .pkl) for the joints; empty = the free body")
    device: str = option("cpu", "torch device for training: cpu, cuda, cuda:1, mps")
    keypoint_loss_weight: float = option(5.0, "weight of the 2D and of the 3D joints in the training loss")
    pose_loss_weight: float = option(1.0, "weight of the rotation matrices in the training loss")
    dropout: float = option(0.5, "share of the regressor's hidden values dropped while it trains in training mode")
    beta_loss_weight: float = option(0.001, "weight of the shape coefficients in the training loss")


def make_spin(config: SpinConfig) -> "Spin":
    """The estimator; imports torch."""
    from posesyn_spin.estimator import Spin

    return Spin(config)


@hookimpl
def register_estimators() -> list[Component]:
    return [Component(Kind.ESTIMATOR, "spin", "SPIN: a ResNet that regresses SMPL parameters", make_spin, SpinConfig)]
