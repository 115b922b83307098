"""A pseudo-label brought into line with the labelled 2D joints of its image: not in the paper, and off by default.

A hard sample's pseudo-label is wrong by definition, and a weak estimator is wrong about the whole body: it sees people
upright who lie or hang. The 2D labels that EEM found it out with say more. First the root is turned as they fit best,
then all joints are, staying near the estimate. Weak perspective; what 2D cannot tell (depth) stays the estimator's.
"""

from collections.abc import Sequence

import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from posesyn_core.body.model import Body
from posesyn_core.skeletons import conversion
from posesyn_core.values import FloatArray, PoseEstimate, Sample, SmplParams

CANDIDATES = 600
"""Rotations of the root that are tried, spread over all of SO(3)."""
TURN_WEIGHT = 0.02
"""Cost of half a turn of the root away from the estimate, in squared shares of the labels' extent."""
POSE_WEIGHT = 2e-3
"""Cost of one radian of every joint away from the estimate, likewise."""
STEPS, RATE = 80, 0.05
LEAST_JOINTS = 6


def fit_to_labels(body: Body, estimates: Sequence[PoseEstimate], samples: Sequence[Sample]) -> FloatArray:
    """Joints (N, 24, 3) in metres, camera frame, relative to the pelvis, that agree with the samples' 2D labels.

    The estimates of one joint set are fitted together. An estimate without ``smpl``, or with fewer than
    ``LEAST_JOINTS`` labelled joints that SMPL has too, keeps its joints.
    """
    fitted = np.stack([estimate.joints3d for estimate in estimates])
    for name in sorted({sample.joint_set for sample in samples}):
        matrix = conversion("smpl24", name)
        derivable = (matrix != 0).any(1)
        places = [
            at
            for at, (estimate, sample) in enumerate(zip(estimates, samples, strict=True))
            if sample.joint_set == name
            and estimate.smpl is not None
            and (derivable & (sample.confidence > 0)).sum() >= LEAST_JOINTS
        ]
        if places:
            labels = torch.tensor(np.stack([samples[at].keypoints2d for at in places]), dtype=torch.float64)
            known = torch.tensor(np.stack([samples[at].confidence > 0 for at in places]) & derivable)
            bodies = [smpl for at in places if (smpl := estimates[at].smpl) is not None]
            fitted[places] = _fit(body, bodies, torch.tensor(matrix), labels, known)
    return fitted


def _fit(body: Body, bodies: Sequence[SmplParams], matrix: Tensor, labels: Tensor, known: Tensor) -> FloatArray:
    """Joints (B, 24, 3) of the fitted ``bodies``; labels (B, K, 2) in pixels, known (B, K), matrix (K, 24)."""
    axis_angle = np.stack([np.concatenate([one.global_orient[None], one.body_pose]) for one in bodies])
    start = roma.rotvec_to_rotmat(torch.from_numpy(axis_angle).double())
    betas = torch.from_numpy(np.stack([one.betas for one in bodies]))
    weight = known / known.sum(1, keepdim=True)
    middle = (weight[..., None] * labels).sum(1, keepdim=True)
    offsets = (labels - middle) * known[..., None]
    extent = offsets.norm(dim=-1).amax(1).clamp(min=1)
    wanted = offsets / extent[:, None, None]

    def joints(rotations: Tensor) -> Tensor:
        posed = body.pose_joints(rotations.to(betas.dtype), betas).double()
        return posed - posed[:, :1]

    def residual(points: Tensor) -> Tensor:
        """Mean squared distance (...) of points (..., K, 3) seen from the front, scaled and moved to fit best."""
        seen = points[..., :2] * known[..., None]
        seen = (seen - (weight[..., None] * seen).sum(-2, keepdim=True)) * known[..., None]
        scale = (seen * wanted).sum((-1, -2)) / (seen**2).sum((-1, -2)).clamp(min=1e-9)
        distance = ((scale.clamp(min=0)[..., None, None] * seen - wanted) ** 2).sum(-1)
        return (distance * weight).sum(-1)

    with torch.inference_mode():
        turns = torch.from_numpy(Rotation.random(CANDIDATES, rng=np.random.default_rng(0)).as_matrix())
        turns = torch.cat([torch.eye(3, dtype=torch.float64)[None], turns])
        points = matrix @ joints(start)
        costs = residual(torch.einsum("cij,bkj->cbki", turns, points))
        costs = costs + TURN_WEIGHT * (roma.rotmat_to_rotvec(turns).norm(dim=-1) / torch.pi)[:, None] ** 2
        best = turns[costs.argmin(0)]
    turned = torch.cat([(best @ start[:, 0])[:, None], start[:, 1:]], dim=1).clone()
    change = torch.zeros_like(turned[..., 0], requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        posed = matrix @ joints(turned @ roma.rotvec_to_rotmat(change))
        loss = (residual(posed) + POSE_WEIGHT * (change**2).sum((1, 2))).sum()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return joints(turned @ roma.rotvec_to_rotmat(change)).numpy()
