"""Lifting and its errors, as PoseAug's evaluation does both."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posesyn_core.method import metrics
from posesyn_poseaug.poses import PoseSet
from posesyn_poseaug.skeleton import FLIP, rooted

CHUNK = 4096
MM = 1000.0
METRICS = ("mpjpe", "pa_mpjpe", "pck", "auc")
"""In mm, mm, per cent, per cent."""


def flipped(points: Tensor) -> Tensor:
    """(N, 16, D) mirrored: x negated, left and right joints exchanged."""
    mirror = points.new_ones(points.shape[-1])
    mirror[0] = -1
    return points[:, list(FLIP)] * mirror


@torch.no_grad()
def lift(lifter: nn.Module, keypoints: Tensor, *, flip: bool = False) -> Tensor:
    """(N, 16, 2) on the normalised screen -> (N, 16, 3) metres relative to joint 0, by a lifter in evaluation mode.

    With ``flip`` the mirrored pose is lifted too, and both answers averaged (officially on 3DHP alone).
    """
    found = []
    for part in keypoints.split(CHUNK):
        pose = lifter(part)
        found.append((pose + flipped(lifter(flipped(part)))) / 2 if flip else pose)
    return rooted(torch.cat(found))


def measure(lifter: nn.Module, poses: PoseSet) -> dict[str, float]:
    """MPJPE and PA-MPJPE in mm, PCK@150 and AUC in per cent, over all 16 joints (the root's error is 0)."""
    training = lifter.training
    lifter.eval()
    device = next(lifter.parameters()).device
    predicted = lift(lifter, poses.keypoints.to(device), flip=poses.flip).cpu().numpy().astype(np.float64) * MM
    lifter.train(training)
    target = rooted(poses.poses).numpy().astype(np.float64) * MM
    functions: tuple[Any, ...] = (metrics.mpjpe, metrics.pa_mpjpe, metrics.pck, metrics.auc)
    return {name: float(function(predicted, target).mean()) for name, function in zip(METRICS, functions, strict=True)}
