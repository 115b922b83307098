"""What this plugin brings. Only the options stand here; torch is imported when the estimator is made."""

from typing import TYPE_CHECKING

from attrs import frozen

from posesyn_core.components import Component, Kind, option
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from posesyn_spin.estimator import Spin


@frozen
class SpinConfig:
    """Options of the estimator ``spin``. Those of its training have the published names and defaults."""

    weights: str = option(
        "starter",
        "'starter' (a small network that comes with PoseSyn), 'random' (the same, untrained), or a file: SPIN's "
        "model_checkpoint.pt or a .safetensors written here",
    )
    body: str = option("", "the SMPL file (.npz or official .pkl) for the joints; empty = the free body")
    device: str = option("cpu", "torch device for training: cpu, cuda, cuda:1, mps")
    keypoint_loss_weight: float = option(5.0, "weight of the 2D and of the 3D joints in the training loss")
    pose_loss_weight: float = option(1.0, "weight of the rotation matrices in the training loss")
    scale_factor: float = option(0.25, "augmentation: deviation of the crop's scale")
    rot_factor: float = option(30.0, "augmentation: deviation of the crop's rotation, degrees")
    noise_factor: float = option(0.4, "augmentation: range of the factor of each colour channel about 1")
    shift_factor: float = option(0.0, "augmentation: deviation of the crop's centre, share of its side")
    occlusion: float = option(0.0, "augmentation: share of the crops of which a rectangle is hidden")
    dropout: float = option(0.5, "share of the regressor's hidden values dropped while it trains in training mode")
    beta_loss_weight: float = option(0.001, "weight of the shape coefficients in the training loss")


def make_spin(config: SpinConfig) -> "Spin":
    """The estimator; imports torch."""
    from posesyn_spin.estimator import Spin

    return Spin(config)


@hookimpl
def register_estimators() -> list[Component]:
    return [Component(Kind.ESTIMATOR, "spin", "SPIN: a ResNet that regresses SMPL parameters", make_spin, SpinConfig)]
