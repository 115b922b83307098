"""Options of the estimator ``spin``."""

from typing import Literal

from attrs import frozen

from posesyn_core import option


@frozen
class SpinConfig:
    """Options of the estimator ``spin``. Those of its training have the published names and defaults."""

    weights: str = option(
        "random",
        "a file: SPIN's model_checkpoint.pt or a .safetensors written here; 'random' (small, untrained) or "
        "'random-full' (untrained at the published size)",
    )
    body: str = option(
        "",
        "the SMPL file (.npz or official .pkl) that gives the joints; 'free' = the free body; empty = the free body "
        "where the weights are trained with it, and a refusal where they need SMPL's",
    )
    crop: Literal["", "official", "unstretched", "affine"] = option(
        "",
        "how people are cut out: 'official' (SPIN's whole pixels and stretched contrast), 'unstretched' (without the "
        "latter, as in its successors), 'affine' (exact); empty = as the weights were trained",
    )
    device: str = option("cpu", "torch device for training: cpu, cuda, cuda:1, mps")
    keypoint_loss_weight: float = option(5.0, "weight of the 2D and of the 3D joints in the training loss", least=0)
    pose_loss_weight: float = option(1.0, "weight of the rotation matrices in the training loss", least=0)
    scale_factor: float = option(0.25, "augmentation: deviation of the crop's scale", least=0, below=1)
    rot_factor: float = option(30.0, "augmentation: deviation of the crop's rotation, degrees", least=0, most=180)
    noise_factor: float = option(
        0.4, "augmentation: range of the factor of each colour channel about 1", least=0, most=1
    )
    shift_factor: float = option(0.0, "augmentation: deviation of the crop's centre, share of its side", least=0)
    occlusion: float = option(0.0, "augmentation: share of the crops of which a rectangle is hidden", least=0, most=1)
    dropout: float = option(
        0.5, "share of the regressor's hidden values dropped while it trains in training mode", least=0, below=1
    )
    beta_loss_weight: float = option(0.001, "weight of the shape coefficients in the training loss", least=0)
    shape_loss_weight: float = option(0.0, "weight of the body's vertices in the training loss", least=0)
    pose_prior: str = option(
        "",
        "SMPLify's gmm_08.pkl: frames with 2D labels alone get bodies by fitting them in the loop, as published; "
        "empty = they train the 2D joints alone",
    )
