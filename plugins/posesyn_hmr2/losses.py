"""HMR 2.0's training losses: sums over the batch, not means, as published.

loss = 0.05 L_3D + 0.01 L_2D + 0.001 L_root + 0.001 L_pose + 0.0005 L_betas + 0.0005 L_adv, and the discriminator's own
0.0005 L_disc. The official trainer steps two optimisers of equal settings one after the other, the second with the
predictions of before the first one's step. As neither part's gradient reaches the other's weights, one AdamW step on
the sum of both is the same.
"""

from collections.abc import Mapping

import torch
from attrs import asdict, frozen
from torch import Tensor

from posesyn_core.geometry.cameras import crop_translation
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_hmr2.discriminator import Discriminator, discriminator_loss, generator_loss
from posesyn_hmr2.joints import PELVIS
from posesyn_hmr2.network import IMAGE_SIZE

FOCAL_LENGTH = 5000.0
"""Focal length in pixels of the crop."""

Labels = Mapping[str, Tensor]


@frozen
class Weights:
    """Weights of the terms; the defaults are the published ones."""

    keypoints_3d: float = 0.05
    keypoints_2d: float = 0.01
    global_orient: float = 0.001
    body_pose: float = 0.001
    betas: float = 0.0005
    adversarial: float = 0.0005


def project_to_crop(joints: Tensor, cam: Tensor) -> Tensor:
    """Joints (B, J, 3) seen by (s, tx, ty) (B, 3), as (B, J, 2) in the crop's -0.5..0.5."""
    placed = joints + crop_translation(cam, FOCAL_LENGTH, IMAGE_SIZE)[:, None]
    return FOCAL_LENGTH / IMAGE_SIZE * placed[..., :2] / placed[..., 2:]


def keypoint_loss(predicted: Tensor, labelled: Tensor) -> Tensor:
    """Sum of confidence * |difference| of joints (B, J, D) from labels (B, J, D + 1), the last being the confidence."""
    return (labelled[..., -1:] * (predicted - labelled[..., :-1]).abs()).sum()


def keypoint_loss_3d(predicted: Tensor, labelled: Tensor) -> Tensor:
    """:func:`keypoint_loss` (metres) of joints (B, 44, 3) and labels (B, 44, 4) less their joint 39."""
    centred = torch.cat([labelled[..., :3] - labelled[:, PELVIS : PELVIS + 1, :3], labelled[..., 3:]], dim=-1)
    return keypoint_loss(predicted - predicted[:, PELVIS : PELVIS + 1], centred)


def parameter_loss(predicted: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Sum of the squared differences over the samples that are ``known`` (B,)."""
    return (known * (predicted - truth).square().flatten(1).sum(1)).sum()


def hmr2_terms(outputs: Labels, joints: Tensor, batch: Labels) -> dict[str, Tensor]:
    """The supervised terms, unweighted.

    ``outputs`` are the network's, ``joints`` (B, 44, 3) those of the body posed by them, and ``batch`` holds the labels
    as ``posesyn_hmr2.inputs.training_inputs`` makes them.
    """
    orient = axis_angle_to_matrix(batch["global_orient"])[:, None]
    pose = axis_angle_to_matrix(batch["body_pose"])
    return {
        "keypoints_3d": keypoint_loss_3d(joints, batch["keypoints_3d"]),
        "keypoints_2d": keypoint_loss(project_to_crop(joints, outputs["cam"]), batch["keypoints_2d"]),
        "global_orient": parameter_loss(outputs["global_orient"], orient, batch["has_body_pose"]),
        "body_pose": parameter_loss(outputs["body_pose"], pose, batch["has_body_pose"]),
        "betas": parameter_loss(outputs["betas"], batch["betas"], batch["has_betas"]),
    }


def adversarial_terms(discriminator: Discriminator, outputs: Labels, batch: Labels) -> dict[str, Tensor]:
    """What the network and what the discriminator lose in their game, unweighted.

    ``batch`` holds real bodies: ``mocap_pose`` (B, K, 23, 3) axis-angle and ``mocap_betas`` (B, K, 10).
    """
    real_pose, real_betas = axis_angle_to_matrix(batch["mocap_pose"].flatten(0, 1)), batch["mocap_betas"].flatten(0, 1)
    pose, betas = outputs["body_pose"], outputs["betas"]
    return {
        "adversarial": generator_loss(discriminator, pose, betas),
        "discriminator": discriminator_loss(discriminator, pose, betas, real_pose, real_betas),
    }


def total(terms: Mapping[str, Tensor], weights: Weights) -> Tensor:
    """The weighted sum; the discriminator's term has the weight of the adversarial one."""
    factors = {**asdict(weights), "discriminator": weights.adversarial}
    return torch.stack([factors[name] * term for name, term in terms.items()]).sum()
