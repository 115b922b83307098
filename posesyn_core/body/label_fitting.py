"""A pseudo-label brought into line with the labelled 2D joints of its image: not in the paper, and off by default.

A hard sample's pseudo-label is wrong by definition, and a weak estimator is wrong about the whole body: it sees people
upright who lie or hang. The 2D labels that EEM found it out with say more. First the root is turned as they fit best,
then all joints are, staying near the estimate. Weak perspective; what 2D cannot tell (depth) stays the estimator's.
"""

from collections.abc import Sequence

import numpy as np
import roma
import torch
from attrs import frozen
from scipy.spatial.transform import Rotation
from torch import Tensor

from posesyn_core.body.model import Body
from posesyn_core.geometry.skeletons import conversion
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
        derivable = (conversion("smpl24", name) != 0).any(1)
        places = [
            at
            for at, (estimate, sample) in enumerate(zip(estimates, samples, strict=True))
            if sample.joint_set == name
            and estimate.smpl is not None
            and (derivable & (sample.confidence > 0)).sum() >= LEAST_JOINTS
        ]
        if places:
            bodies = [smpl for at in places if (smpl := estimates[at].smpl) is not None]
            fitted[places] = _fit(body, bodies, Labels.of([samples[at] for at in places], name))
    return fitted


@frozen(eq=False)
class Labels:
    """What the joints of B people are to look like: ``wanted`` (B, K, 2), centred and scaled to the labels' extent,
    0 where a label is not ``known`` (B, K). ``matrix`` (K, 24) makes the joints of the labels' set from SMPL's."""

    matrix: Tensor
    known: Tensor
    wanted: Tensor

    @classmethod
    def of(cls, samples: Sequence[Sample], joint_set: str) -> "Labels":
        matrix = torch.tensor(conversion("smpl24", joint_set))
        labels = torch.tensor(np.stack([sample.keypoints2d for sample in samples]), dtype=torch.float64)
        known = torch.tensor(np.stack([sample.confidence > 0 for sample in samples])) & (matrix != 0).any(1)
        offsets = _centred(labels.where(known[..., None], 0.0), known)
        extent = offsets.norm(dim=-1).amax(1).clamp(min=1)
        return cls(matrix, known, offsets / extent[:, None, None])

    def residual(self, points: Tensor) -> Tensor:
        """Mean squared distance (...) of points (..., K, 3) seen from the front, scaled and moved to fit best."""
        seen = _centred(points[..., :2] * self.known[..., None], self.known)
        scale = (seen * self.wanted).sum((-1, -2)) / (seen**2).sum((-1, -2)).clamp(min=1e-9)
        distance = ((scale.clamp(min=0)[..., None, None] * seen - self.wanted) ** 2).sum(-1)
        return (distance * _share(self.known)).sum(-1)


def _share(known: Tensor) -> Tensor:
    return known / known.sum(1, keepdim=True)


def _centred(points: Tensor, known: Tensor) -> Tensor:
    """Points (..., K, 2) relative to the mean of the ``known`` (B, K) ones; 0 for the others."""
    return (points - (_share(known)[..., None] * points).sum(-2, keepdim=True)) * known[..., None]


def _fit(body: Body, bodies: Sequence[SmplParams], labels: Labels) -> FloatArray:
    """Joints (B, 24, 3) of the fitted ``bodies``."""
    axis_angle = np.stack([np.concatenate([one.global_orient[None], one.body_pose]) for one in bodies])
    start = roma.rotvec_to_rotmat(torch.from_numpy(axis_angle).double())
    betas = torch.from_numpy(np.stack([one.betas for one in bodies]))

    def joints(rotations: Tensor) -> Tensor:
        posed = body.pose_joints(rotations.to(betas.dtype), betas).double()
        return posed - posed[:, :1]

    with torch.inference_mode():
        turn = _best_turn(labels, labels.matrix @ joints(start))
    turned = torch.cat([(turn @ start[:, 0])[:, None], start[:, 1:]], dim=1).clone()
    change = torch.zeros_like(turned[..., 0], requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        posed = labels.matrix @ joints(turned @ roma.rotvec_to_rotmat(change))
        loss = (labels.residual(posed) + POSE_WEIGHT * (change**2).sum((1, 2))).sum()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return joints(turned @ roma.rotvec_to_rotmat(change)).numpy()


def _best_turn(labels: Labels, points: Tensor) -> Tensor:
    """(B, 3, 3): the turn of points (B, K, 3) that fits the labels best, of none and ``CANDIDATES`` others."""
    turns = torch.from_numpy(Rotation.random(CANDIDATES, rng=np.random.default_rng(0)).as_matrix())
    turns = torch.cat([torch.eye(3, dtype=torch.float64)[None], turns])
    costs = labels.residual(torch.einsum("cij,bkj->cbki", turns, points))
    costs = costs + TURN_WEIGHT * (roma.rotmat_to_rotvec(turns).norm(dim=-1) / torch.pi)[:, None] ** 2
    return turns[costs.argmin(0)]
