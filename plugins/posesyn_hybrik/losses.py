"""HybrIK's training loss, as in the official criteria of the models with predicted camera.

loss = L_beta + 0.01 L_theta + L_twist + L_uvd + L_scale (+ L_trans, ResNet only). The means run over all entries, also
over those that are masked.
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

UvdLoss = Literal["laplace", "l1"]
HIPS = (1, 2)
L1_SCALE = 64
"""The L1 loss of the joints counts in bins of the heatmap."""


def uvd_laplace(uvd: Tensor, sigma: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Joints (B, 29, 3) with uncertainty ``sigma`` (B, 29, 1): -log of a Laplace distribution, up to constants.

    sum weight (log(sigma sqrt(2 pi)) + |uvd - target| / (sqrt(2) sigma + 1e-5)) / sum weight.
    """
    terms = torch.log(sigma * math.sqrt(2 * math.pi)) + (uvd - target).abs() / (math.sqrt(2) * sigma + 1e-5)
    return (weight * terms).sum() / weight.sum().clamp_min(1)


def uvd_l1(uvd: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Joints (B, 29, 3): sum weight 64 |uvd - target| / sum weight."""
    return L1_SCALE * (weight * (uvd - target).abs()).sum() / weight.sum().clamp_min(1)


def depths_from_root(uvd: Tensor, weight: Tensor) -> Tensor:
    """Joints (B, 29, 3) with the depths less the middle of the hips' where the pelvis' label has ``weight`` 0.

    Labels without SMPL's pelvis are relative to the middle of the hips, which the prediction has too.
    """
    hips = uvd[:, HIPS, 2:].mean(1, keepdim=True)
    depths = uvd[..., 2:] - torch.where(weight[:, :1, 2:] > 0, torch.zeros_like(hips), hips)
    return torch.cat([uvd[..., :2], depths], dim=-1)


def shape_loss(betas: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of betas (B, 10), 0 where not ``known`` (B,)."""
    return (known[:, None] * (betas - target)).square().mean()


def pose_loss(rotmat: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of rotation matrices (B, 24, 3, 3), 0 where not ``known`` (B,)."""
    return (known[:, None, None, None] * (rotmat - target)).square().mean()


def twist_loss(phi: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of (cos, sin) (B, 23, 2), 0 where ``weight`` (B, 23, 1 or 2) is."""
    return (weight * (phi - target)).square().mean()


def camera_loss(predicted: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of scales (B, 1) or translations (B, 2), 0 where not ``known`` (B,)."""
    return (known[:, None] * (predicted - target)).square().mean()


def hybrik_loss(
    outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor], *, uvd: UvdLoss, weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """The terms, unweighted, and under "loss" their sum with ``weights``.

    ``outputs`` are those of the network's ``heads`` and ``rotmat`` (B, 24, 3, 3) of naive HybrIK; ``batch`` is what
    ``posesyn_hybrik.inputs.targets`` makes. A model without ``trans`` has no such term.
    """
    joints, labels, known = outputs["uvd"], batch["uvd"], batch["uvd_weight"]
    laplace = uvd == "laplace"
    terms = {
        "uvd": uvd_laplace(joints, outputs["sigma"], labels, known) if laplace else uvd_l1(joints, labels, known),
        "betas": shape_loss(outputs["shape"], batch["betas"], batch.get("has_shape", batch["has_smpl"])),
        "pose": pose_loss(outputs["rotmat"], batch["rotmat"], batch["has_smpl"]),
        "twist": twist_loss(outputs["phi"], batch["twist"], batch["twist_weight"]),
        "scale": camera_loss(outputs["scale"], batch["scale"], batch["has_camera"]),
    }
    if "trans" in outputs:
        terms["trans"] = camera_loss(outputs["trans"], batch["trans"], batch["has_camera"])
    total = torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum()
    return {"loss": total, **terms}
