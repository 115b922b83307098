"""3DCrowdNet's training loss (section 3.3 of the paper): absolute errors, averaged over all elements of the batch.

Elements without a label count as zeros in the mean, as published.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from posesyn_core.geometry.rotations import matrix_to_axis_angle
from posesyn_crowdnet.joints import GRAPH, SUPERSET
from posesyn_crowdnet.network import CROP, FOCAL_LENGTH, HEATMAP, camera

IN_PICTURE = 1 / 8
"""Weight of errors in heatmap units."""
IN_SUPERSET = [SUPERSET.index(name) for name in GRAPH]
PELVIS, HIPS = 0, [1, 2]
"""Joints of the superset and of the graph alike."""
WEIGHTS: Mapping[str, float] = {
    "body_joint_img": IN_PICTURE,
    "smpl_joint_img": IN_PICTURE,
    "smpl_pose": 1.0,
    "smpl_shape": 1.0,
    "body_joint_proj": IN_PICTURE,
    "body_joint_cam": 1.0,
    "smpl_joint_cam": 1.0,
}


def project_to_heatmap(joints: Tensor, cam: Tensor) -> Tensor:
    """Joints (B, J, 3) metres seen by the camera numbers (B, 3) -> (B, J, 2) in heatmap units."""
    placed = joints + camera(cam, CROP)[:, None]
    pixels = placed[..., :2] / (placed[..., 2:] + 1e-4) * FOCAL_LENGTH + CROP / 2
    return pixels * (HEATMAP / CROP)


def crowdnet_loss(
    outputs: Mapping[str, Tensor], joints: Tensor, batch: Mapping[str, Tensor], known: Tensor
) -> dict[str, Tensor]:
    """The terms, weighted, and under "loss" their sum.

    ``outputs`` are the network's, ``joints`` (B, 30, 3) those regressed from the body that they pose, of which the body
    has only those ``known`` (30,). ``batch`` holds the targets of :func:`posesyn_crowdnet.targets.training_item`.

    ``is_3D`` (B, 30, 1), or as published (B,) for all joints. Where it leaves out the pelvis, the annotated 3D joints
    are relative to the middle of the hips, and so are those that are compared with them.

    - ``body_joint_img``: the 15 joints in the crop against the annotated ones, in depth for 3D sets only;
    - ``smpl_joint_img``: the same against those of the fit;
    - ``smpl_pose``: 72 axis-angle numbers (equal rotations written differently count as errors), ``smpl_shape``: betas;
    - ``body_joint_proj``: the projected joints, ``body_joint_cam``, ``smpl_joint_cam``: the joints in metres.
    """
    place, fitted = batch["orig_joint_img"], batch["fit_joint_img"]
    fit, in_3d = batch["is_valid_fit"][:, None], batch["is_3D"].reshape(len(joints), -1, 1).expand_as(joints[..., :1])
    shaped = batch["is_valid_shape"][:, None] if "is_valid_shape" in batch else fit
    seen, seen_fit = batch["orig_joint_trunc"], batch["fit_joint_trunc"] * shaped[..., None]
    had = known.to(joints.dtype)[:, None]
    from_pelvis = joints - joints[:, :1]
    located = outputs["joint_img"]
    depth_too = seen[:, IN_SUPERSET].expand_as(located).clone()
    depth_too[..., 2:] *= in_3d[:, IN_SUPERSET]
    rooted = in_3d[:, PELVIS : PELVIS + 1] > 0
    from_root = _from_root(joints, rooted)
    pose = matrix_to_axis_angle(outputs["rotmat"]).flatten(1)
    projected = project_to_heatmap(joints, outputs["cam"])
    terms = {
        "body_joint_img": depth_too * (_depths_from_root(located, rooted) - place[:, IN_SUPERSET]),
        "smpl_joint_img": seen_fit[:, IN_SUPERSET] * (located - fitted[:, IN_SUPERSET]),
        "smpl_pose": batch["fit_param_valid"] * fit * (pose - batch["pose_param"]),
        "smpl_shape": shaped * (outputs["shape"] - batch["shape_param"]),
        "body_joint_proj": seen * had * (projected - place[..., :2]),
        "body_joint_cam": batch["orig_joint_valid"] * had * in_3d * (from_root - batch["orig_joint_cam"]),
        "smpl_joint_cam": shaped[..., None] * (from_pelvis - batch["fit_joint_cam"]),
    }
    weighted = {name: WEIGHTS[name] * difference.abs().mean() for name, difference in terms.items()}
    total = sum(weighted.values(), start=joints.new_zeros(()))
    return {"loss": total, **weighted}


def _from_root(joints: Tensor, rooted: Tensor) -> Tensor:
    """Joints (B, 30, 3) less the pelvis, or less the middle of the hips where they are not ``rooted`` (B, 1, 1)."""
    hips = joints[:, HIPS].mean(1, keepdim=True)
    return joints - torch.where(rooted, joints[:, PELVIS : PELVIS + 1], hips)


def _depths_from_root(located: Tensor, rooted: Tensor) -> Tensor:
    """Joints (B, 15, 3) in heatmap units, whose depths are the pelvis' + HEATMAP / 2, likewise."""
    off = located[:, HIPS, 2:].mean(1, keepdim=True) - HEATMAP / 2
    depths = located[..., 2:] - torch.where(rooted, torch.zeros_like(off), off)
    return torch.cat([located[..., :2], depths], dim=-1)
