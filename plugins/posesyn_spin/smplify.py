"""Model fitting in the loop: bodies for people of whom only 2D joints are labelled (SPIN, section 3.2).

SMPLify (Bogo et al., ECCV 2016) as the official trainer runs it: it starts from the network's own prediction, first
moves and turns the body until hips and shoulders lie on their labels, then bends it, too; the result is taken as a
label of pose and shape where it fits. All points are in pixels of the 224-pixel crop, less its middle. The official
trainer also keeps the best fit of every image from epoch to epoch; here each step's own fit counts.

The pose prior is a mixture of Gaussians that comes with SMPLify (``gmm_08.pkl``) and not with PoseSyn.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.body.model import Body
from posesyn_core.errors import UserError
from posesyn_core.files.unpickle import load_pickle
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle

SIGMA = 100.0
"""Pixels beyond which a joint's error hardly grows."""
PRIOR_WEIGHT, ANGLE_WEIGHT, SHAPE_WEIGHT, DEPTH_WEIGHT = 4.78, 15.2, 5.0, 100.0
BENDS = (52, 55, 9, 12)
"""Elements of the 69 pose values in which elbows and knees, left and right, bend."""
OVERSTRETCH = (1.0, -1.0, -1.0, -1.0)
"""The sign with which each bends the wrong way."""
TORSO = (1, 2, 16, 17)
"""Hips and shoulders in SMPL's order: they place the body."""
HIPS = (1, 2)
"""Left out of the second step: annotators and SMPL mean different points."""
RATE = 1e-2
ITERATIONS = 100
LARGEST_ERROR = 100.0
"""Mean error (pixels squared, robust) up to which a fit is a label."""
LARGEST_BETA = 3.0

Prior = Callable[[Tensor], Tensor]


@frozen(eq=False)
class Fits:
    """Bodies (B): ``rotmat`` (B, 24, 3, 3), ``betas`` (B, 10), and which of them (B,) are good enough to train on."""

    rotmat: Tensor
    betas: Tensor
    valid: Tensor


def fit(
    body: Body,
    prior: Prior,
    outputs: Mapping[str, Tensor],
    transl: Tensor,
    keypoints: Tensor,
    focal_length: float,
    iterations: int = ITERATIONS,
) -> Fits:
    """Improve the network's bodies.

    ``outputs`` holds its ``rotmat`` and ``shape``, ``transl`` (B, 3) their place in metres before the crop's camera of
    ``focal_length`` pixels, ``keypoints`` (B, 24, 3) labels in pixels from the crop's middle, and confidence. Where
    the body lies nearer to its labels at :func:`estimated_place`, it starts there: a hundred small steps don't reach
    it from the camera of a network that is still to be trained.
    """
    pose = matrix_to_axis_angle(outputs["rotmat"].detach())
    start = _better_place(body, pose, outputs["shape"].detach(), transl.detach(), keypoints, focal_length)
    orient, bent, betas, place = (
        value.clone().requires_grad_() for value in (pose[:, 0], pose[:, 1:], outputs["shape"].detach(), start)
    )
    focal, middle = torch.full_like(place[:, :2], focal_length), torch.zeros_like(place[:, :2])
    seen: Callable[[], Tensor] = lambda: project(body.joints(orient, bent, betas, place), focal, middle)  # noqa: E731
    with torch.enable_grad():
        first_depth = place[:, 2].detach().clone()
        _minimise(lambda: placing_objective(seen()[:, TORSO], keypoints[:, TORSO], place[:, 2], first_depth),
                  [orient, place], iterations)  # fmt: skip
        labels = keypoints.clone()
        labels[:, HIPS, 2] = 0
        _minimise(lambda: bending_objective(seen(), labels, bent.flatten(1), betas, prior(bent.flatten(1))),
                  [orient, bent, betas], iterations)  # fmt: skip
    with torch.no_grad():
        error = reprojection_error(seen(), labels).mean(1)
        found = axis_angle_to_matrix(torch.cat([orient[:, None], bent], 1))
        wild = (betas.abs() > LARGEST_BETA).any(1, keepdim=True)
        labelled = (labels[..., 2] > 0).any(1)
        return Fits(found, torch.where(wild, 0, betas), (error < LARGEST_ERROR) & labelled)


def _better_place(
    body: Body, pose: Tensor, betas: Tensor, transl: Tensor, keypoints: Tensor, focal_length: float
) -> Tensor:
    """Of ``transl`` and the place that the labels suggest the one (B, 3) where the body lies nearer to them."""
    with torch.no_grad():
        joints = body.pose_joints(axis_angle_to_matrix(pose), betas)
        suggested = estimated_place(joints, keypoints, focal_length)
        focal, middle = torch.full_like(transl[:, :2], focal_length), torch.zeros_like(transl[:, :2])
        before, after = (
            reprojection_error(project(joints + place[:, None], focal, middle), keypoints).mean(1)
            for place in (transl, suggested)
        )
        better = (after < before) & (suggested[:, 2] > 0)
        return torch.where(better[:, None], suggested, transl)


def estimated_place(joints: Tensor, keypoints: Tensor, focal_length: float) -> Tensor:
    """(B, 3) metres by which joints (B, J, 3) must be moved to be seen at their labels (B, J, 3), as in ``fit``.

    The official trainer's linear least squares: f (X + tx) = u (Z + tz) for x and y of every joint, weighted by the
    confidence. Two joints at least must have some: what fewer leave open stays 0.
    """
    points, labels = joints.double(), keypoints.double()
    count, number = points.shape[:2]
    rows = points.new_zeros(count, number, 2, 3)
    rows[..., 0, 0] = rows[..., 1, 1] = focal_length
    rows[..., 2] = -labels[..., :2]
    wanted = labels[..., :2] * points[..., 2:] - focal_length * points[..., :2]
    weight = labels[..., 2:].sqrt()
    weighted = (rows * weight[..., None]).flatten(1, 2), (wanted * weight).flatten(1)
    return (torch.linalg.pinv(weighted[0]) @ weighted[1][..., None])[..., 0].to(joints)


def _minimise(objective: Callable[[], Tensor], variables: list[Tensor], iterations: int) -> None:
    optimiser = torch.optim.Adam(variables, lr=RATE, betas=(0.9, 0.999))
    for _ in range(iterations):
        gradients = torch.autograd.grad(objective().sum(), variables)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.grad = gradient
        optimiser.step()


def placing_objective(points: Tensor, keypoints: Tensor, depth: Tensor, first_depth: Tensor) -> Tensor:
    """(B,) squared error of hips and shoulders, points (B, 4, 2), kept near the depth (B,) that it starts from."""
    return (points - keypoints[..., :2]).square().sum((1, 2)) + DEPTH_WEIGHT**2 * (depth - first_depth).square()


def bending_objective(points: Tensor, keypoints: Tensor, body_pose: Tensor, betas: Tensor, prior: Tensor) -> Tensor:
    """(B,) reprojection error of points (B, J, 2) with priors of pose (B, 69), its value ``prior`` (B,), and shape."""
    return (
        reprojection_error(points, keypoints).sum(1)
        + PRIOR_WEIGHT**2 * prior
        + ANGLE_WEIGHT**2 * angle_prior(body_pose).sum(1)
        + SHAPE_WEIGHT**2 * betas.square().sum(1)
    )


def reprojection_error(points: Tensor, keypoints: Tensor) -> Tensor:
    """(B, J): Geman and McClure's robust squared error of x and of y, times the squared confidence."""
    squared = (points - keypoints[..., :2]).square()
    return keypoints[..., 2].square() * (SIGMA**2 * squared / (SIGMA**2 + squared)).sum(-1)


def angle_prior(body_pose: Tensor) -> Tensor:
    """(B, 4): grows exponentially where elbows and knees of the pose (B, 69) bend the wrong way."""
    return torch.exp(body_pose[:, BENDS] * body_pose.new_tensor(OVERSTRETCH)).square()


class MixturePrior(nn.Module):
    """The negative logarithm of a mixture of Gaussians, by its nearest component (Bogo et al., equation 5)."""

    means: Tensor
    precisions: Tensor
    offsets: Tensor

    def __init__(self, path: Path) -> None:
        """Read SMPLify's ``gmm_08.pkl``. UserError if it is missing or holds no mixture over 69 pose values."""
        super().__init__()
        content = load_pickle(path)
        names = ("means", "covars", "weights")
        if not (isinstance(content, dict) and all(name in content for name in names)):
            raise UserError(
                f"pose prior {str(path)!r} is no mixture with {', '.join(names)}; give SMPLify's gmm_08.pkl"
            )
        means, covariances, weights = (np.asarray(content[name], np.float64) for name in names)
        if means.shape != (len(weights), 69) or covariances.shape != (len(weights), 69, 69):
            raise UserError(f"pose prior {str(path)!r} has means of the shape {means.shape}, not (components, 69)")
        _, logarithms = np.linalg.slogdet(covariances)
        spread = 0.5 * (logarithms - logarithms.min()) + 34.5 * np.log(2 * np.pi)
        for name, value in (("means", means), ("precisions", np.linalg.inv(covariances))):
            self.register_buffer(name, torch.from_numpy(value).float())
        self.register_buffer("offsets", torch.from_numpy(spread - np.log(weights)).float())

    def forward(self, body_pose: Tensor) -> Tensor:
        """Pose (B, 69) -> (B,)."""
        away = body_pose[:, None] - self.means
        distance = torch.einsum("bki,kij,bkj->bk", away, self.precisions, away)
        return (0.5 * distance + self.offsets).min(1).values
