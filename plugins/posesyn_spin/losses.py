"""SPIN's training loss, each term averaged over what is labelled.

loss = 60 (keypoint (L_2D + L_3D) + pose L_theta + beta L_beta + shape L_vertices + L_cam), as in the official trainer,
which weighs the vertices with 0, and with labels in place of in-the-loop fits.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from posesyn_core.geometry.cameras import crop_translation

FOCAL_LENGTH = 5000.0
"""Focal length in pixels of the official crop, whose side is ``CROP``; only their ratio matters."""
CROP = 224
SCALE = 60.0
LEFT_HIP, RIGHT_HIP = 1, 2


def keypoint_loss_2d(predicted: Tensor, labelled: Tensor) -> Tensor:
    """Squared error of ``predicted`` (B, J, 2) against ``labelled`` (B, J, 3: x, y, confidence), crop = -1..1.

    The mean is over all entries, labelled or not, as published.
    """
    return (labelled[..., 2:] * (predicted - labelled[..., :2]).square()).mean()


def keypoint_loss_3d(
    predicted: Tensor, truth: Tensor, known: Tensor, hips: tuple[int, int] = (LEFT_HIP, RIGHT_HIP)
) -> Tensor:
    """Squared error (m^2) of joints (B, J, 3), both less the middle of their ``hips``; ``known`` (B,) or (B, J)."""
    difference = _less_hips(predicted, hips) - _less_hips(truth, hips)
    weight = known if known.ndim == 2 else known[:, None]
    return _mean_over((weight[..., None] * difference.square()).mean((1, 2)), weight.amax(1) > 0)


def pose_loss(predicted: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of rotation matrices (B, 24, 3, 3) over the samples that are ``known`` (B,)."""
    return _mean_over((predicted - truth).square().mean((1, 2, 3)), known)


def shape_loss(predicted: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of betas (B, 10) over the samples that are ``known`` (B,)."""
    return _mean_over((predicted - truth).square().mean(1), known)


def vertex_loss(predicted: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean absolute error of vertices (B, V, 3), metres, over the samples that are ``known`` (B,)."""
    return _mean_over((predicted - truth).abs().mean((1, 2)), known)


def camera_loss(cam: Tensor) -> Tensor:
    """Mean of exp(-10 s)^2 over cameras (B, 3): keeps the scale s away from zero and below."""
    return torch.exp(-10 * cam[:, 0]).square().mean()


def project_to_crop(joints: Tensor, cam: Tensor) -> Tensor:
    """Joints (B, J, 3) seen by (s, tx, ty) (B, 3), as (B, J, 2) in the crop's -1..1.

    A perspective camera of focal length 5000 pixels in a crop of 224: nearly, but not quite, weak perspective.
    """
    placed = joints + crop_translation(cam, FOCAL_LENGTH, CROP)[:, None]
    return FOCAL_LENGTH / (CROP / 2) * placed[..., :2] / placed[..., 2:]


def spin_loss(
    outputs: Mapping[str, Tensor],
    joints: Tensor,
    batch: Mapping[str, Tensor],
    *,
    keypoints: float,
    pose: float,
    betas: float,
    vertices: float = 0.0,
    meshes: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The terms, unweighted, and under "loss" their weighted sum.

    ``outputs`` are the network's; ``joints`` (B, 24, 3) those of the body posed by them; ``batch`` holds the labels as
    ``posesyn_spin.inputs.training_inputs`` makes them (without ``has_shape``, every body's shape is known); ``meshes``
    are the vertices (B, V, 3) of the predicted and of the labelled body, for the term of that weight.
    """
    shaped = batch.get("has_shape", batch["has_smpl"])
    terms = {
        "keypoints2d": keypoint_loss_2d(project_to_crop(joints, outputs["cam"]), batch["keypoints2d"]),
        "keypoints3d": keypoint_loss_3d(joints, batch["joints3d"][..., :3], batch["joints3d"][..., 3]),
        "pose": pose_loss(outputs["rotmat"], batch["rotmat"], batch["has_smpl"]),
        "betas": shape_loss(outputs["shape"], batch["betas"], shaped),
        "camera": camera_loss(outputs["cam"]),
    }
    weights = {"keypoints2d": keypoints, "keypoints3d": keypoints, "pose": pose, "betas": betas, "camera": 1.0}
    if meshes is not None:
        terms["vertices"], weights["vertices"] = vertex_loss(*meshes, shaped), vertices
    total = SCALE * torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return {"loss": total, **terms}


def _less_hips(joints: Tensor, hips: tuple[int, int]) -> Tensor:
    return joints - joints[:, hips].mean(1, keepdim=True)


def _mean_over(values: Tensor, known: Tensor) -> Tensor:
    """The mean of ``values`` (B,) where ``known`` (B,); 0 if nothing is."""
    known = known.to(values.dtype)
    return (values * known).sum() / known.sum().clamp(min=1)
