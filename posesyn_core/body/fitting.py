"""Joints -> SMPL: the optimisation O of PoseSyn's Eq. 8, for whole batches of motions at once.

The paper runs a published optimiser frame by frame. Here every frame of every clip starts from the closed form of
``inverse_kinematics`` and takes the same few Gauss-Newton steps on

    sum_k |J_k(theta) - target_k|^2 + w_p |theta - theta_closed|^2 + w_s |theta_t - mean(theta_t-1, theta_t+1)|^2

with rotations compared by their geodesic difference: joints, pose prior, temporal smoothness. Frames are coupled
within their own clip only and nothing waits for convergence, so the result does not depend on the rest of the batch.
"""

import roma
import torch
import torch.nn.functional as F
from attrs import frozen
from smplx.lbs import batch_rigid_transform
from torch import Tensor

from posesyn_core.body.inverse_kinematics import pose_from_joints
from posesyn_core.body.model import Body
from posesyn_core.skeletons import HUMANML22, SMPL24

PRIOR_WEIGHT = 1e-3
"""w_p, square metres per square radian: 3 cm off a joint weigh as much as one radian off the closed form."""
SMOOTHNESS = 1e-3
"""w_s, square metres per square radian."""
ITERATIONS = 2
FRAMES_AT_ONCE = 256
"""Frames per linear solve: few enough for the Jacobians to stay in the processor's cache."""
TURNED = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 16, 17, 18, 19]
"""Joints that have one of the 22 below them and are therefore fitted; the others stay as the closed form has them."""


@frozen
class FitResult:
    """SMPL parameters of B clips of L frames, in the frame and unit (metres) of the joints they were fitted to.

    ``global_orient`` (B, L, 3), ``body_pose`` (B, L, 23, 3) axis-angle; ``betas`` (B, 10); ``transl`` (B, L, 3);
    ``residual_mm`` (B,): mean distance of the body's 22 joints from their targets over the clip's frames.
    """

    global_orient: Tensor
    body_pose: Tensor
    betas: Tensor
    transl: Tensor
    residual_mm: Tensor


@torch.no_grad()
def fit_smpl(
    body: Body,
    joints3d: Tensor,
    mask: Tensor | None = None,
    betas: Tensor | None = None,
    *,
    iterations: int = ITERATIONS,
    smoothness: float = SMOOTHNESS,
) -> FitResult:
    """Fit the body to motions (PoseSyn Eq. 8).

    ``joints3d`` (B, L, 22, 3): SMPL's first 22 joints in metres, in any right-handed frame. ``mask`` (B, L) is False
    for padding, whose parameters come out as the rest pose. With ``betas`` (B, 10), the shape of the person who is
    to perform the motion (Eq. 7), the joints are first retargeted to that person's bone lengths; without, a shape
    with the motion's bone lengths is fitted and the joints are matched where they are. A clip with a frame that is
    not finite gets the residual NaN; the others are not affected. ``smoothness`` is w_s of the energy above.
    """
    given = torch.ones_like(joints3d[..., 0, 0], dtype=torch.bool) if mask is None else mask
    usable = given & joints3d.isfinite().all(-1).all(-1)
    upright = _rest(body, joints3d.new_zeros(1, 10))[:, None, :22]
    joints = torch.where(usable[..., None, None], joints3d.double(), upright)
    if betas is None:
        betas = fit_betas(body, joints, usable)
        rest = _rest(body, betas)
        target = joints
    else:
        rest = _rest(body, betas)
        target = retarget_joints(joints, rest[:, :22], usable)
    target = torch.where(usable[..., None, None], target, rest[:, None, :22])
    start = pose_from_joints(target, rest, usable)
    rotations, root = start, target[:, :, 0]
    for _ in range(iterations):
        pull, weight = _pulls(rotations, start, usable, smoothness)
        rotations, root = _step(rotations, root, rest, target, usable, pull, weight)
    distance = 1000 * (_forward(rotations, root, rest)[0][:, :, :22] - target).norm(dim=-1).mean(-1)
    residual = torch.where((given == usable).all(1), _mean(distance, usable), torch.nan)
    rotvec = roma.rotmat_to_rotvec(rotations) * usable[..., None, None]
    results = rotvec[:, :, 0], rotvec[:, :, 1:], betas, root - rest[:, None, 0], residual
    return FitResult(*(result.to(joints3d.dtype) for result in results))


def _rest(body: Body, betas: Tensor) -> Tensor:
    """(B, 24, 3) float64: the body's joints in the T-pose."""
    return body.rest_joints(betas.to(body.rest_template.dtype)).double()


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, ...): mean of (B, L, ...) over the frames in ``mask`` (B, L); 0 for a clip without any."""
    share = mask / mask.sum(1, keepdim=True).clamp_min(1)
    return torch.einsum("bl...,bl->b...", values, share.to(values))


def _forward(rotations: Tensor, root: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Joints (B, L, 24, 3) and their global rotations (B, L, 24, 3, 3), the pelvis at ``root`` (B, L, 3)."""
    clips, frames = root.shape[:2]
    parents = torch.tensor(SMPL24.parents)
    flat_rest = rest[:, None].expand(-1, frames, -1, -1).flatten(0, 1)
    joints, transforms = batch_rigid_transform(rotations.flatten(0, 1), flat_rest, parents, dtype=rest.dtype)
    joints = joints - joints[:, :1] + root.flatten(0, 1)[:, None]
    return joints.unflatten(0, (clips, frames)), transforms[..., :3, :3].unflatten(0, (clips, frames))


# ---- the Gauss-Newton step ---------------------------------------------------------------------------------------


def _pulls(rotations: Tensor, start: Tensor, mask: Tensor, smoothness: float) -> tuple[Tensor, Tensor]:
    """What prior and smoothness ask of each joint: weighted rotation vectors (B, L, T, 3), and the weights (B, L)."""
    now = rotations[:, :, TURNED]
    pull = PRIOR_WEIGHT * roma.rotmat_to_rotvec(now.mT @ start[:, :, TURNED])
    weight = torch.full_like(mask, PRIOR_WEIGHT, dtype=now.dtype)
    if now.shape[1] > 2 and smoothness > 0:
        before, middle, after = now[:, :-2], now[:, 1:-1], now[:, 2:]
        half = 0.5 * roma.rotmat_to_rotvec(before.mT @ after)
        between = roma.rotmat_to_rotvec(middle.mT @ before @ roma.rotvec_to_rotmat(half))
        coupled = smoothness * (mask[:, :-2] & mask[:, 1:-1] & mask[:, 2:]).to(now.dtype)
        pull[:, 1:-1] += coupled[..., None, None] * between
        weight[:, 1:-1] += coupled
    return pull, weight


def _step(
    rotations: Tensor, root: Tensor, rest: Tensor, target: Tensor, mask: Tensor, pull: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """One Gauss-Newton step of the frames in ``mask``, each with its own 3 T + 3 unknowns: rotations, then the root."""
    joints, turned = _forward(rotations, root, rest)
    joints, turned = joints[:, :, :22], turned[:, :, TURNED]
    chunks = [x[mask].split(FRAMES_AT_ONCE) for x in (joints, turned, target - joints, pull, weight)]
    change = root.new_zeros(*mask.shape, 3 * len(TURNED) + 3)
    change[mask] = torch.cat([_solve(*chunk) for chunk in zip(*chunks, strict=True)])
    turn = roma.rotvec_to_rotmat(change[..., :-3].unflatten(-1, (-1, 3)))
    moved = rotations.clone()
    moved[:, :, TURNED] = rotations[:, :, TURNED] @ turn
    return moved, root + change[..., -3:]


def _solve(joints: Tensor, turned: Tensor, error: Tensor, pull: Tensor, weight: Tensor) -> Tensor:
    """(N, 3 T + 3): solve the normal equations of N frames.

    Turning joint j by a small d about its own axes moves every joint k below it by (R_j d) x (J_k - J_j).
    """
    lever = joints[:, :, None] - joints[:, None, TURNED]  # (N, 22, T, 3)
    axes = turned.mT[:, None]  # (N, 1, T, 3 axes, xyz)
    by_turning = torch.linalg.cross(axes, lever[..., None, :]) * _below()[:, :, None, None].to(lever)
    by_moving = torch.eye(3, dtype=joints.dtype, device=joints.device).expand(*joints.shape[:2], 3, 3)
    jacobian = torch.cat([by_turning.flatten(2, 3), by_moving], dim=2).mT.flatten(1, 2)  # (N, 66, 3 T + 3)
    normal = jacobian.mT @ jacobian
    diagonal = F.pad(weight[:, None].expand(-1, 3 * len(TURNED)), (0, 3))
    normal.diagonal(dim1=1, dim2=2).add_(diagonal)
    gradient = (jacobian.mT @ error.flatten(1)[..., None])[..., 0] + F.pad(pull.flatten(1), (0, 3))
    factor = torch.linalg.cholesky_ex(normal).L  # does not raise: a degenerate clip must not stop the others
    return torch.cholesky_solve(gradient[..., None], factor)[..., 0]


def _below() -> Tensor:
    """(22, T) bool: joint k is moved by turning joint j, which is above it in the tree."""
    below = torch.zeros(22, 22, dtype=torch.bool)
    for parent, joint in HUMANML22.bones:
        below[joint] = below[parent]
        below[joint, parent] = True
    return below[:, TURNED]


# ---- other people's proportions ----------------------------------------------------------------------------------


def fit_betas(body: Body, joints3d: Tensor, mask: Tensor, *, ridge: float = 1e-4, iterations: int = 5) -> Tensor:
    """(B, 10): the shape whose bone lengths are, in the mean over the clip, those of ``joints3d`` (B, L, 22, 3).

    Gauss-Newton on sum |length(betas) - length|^2 + ridge |betas|^2, in square metres: ordinary people first.
    """
    parents = torch.tensor(HUMANML22.parents[1:])
    wanted = _mean((joints3d[:, :, 1:] - joints3d[:, :, parents]).double().norm(dim=-1), mask)
    directions = (body.rest_shapedirs[1:22] - body.rest_shapedirs[parents]).to(wanted)
    betas = wanted.new_zeros(len(wanted), 10)
    for _ in range(iterations):
        rest = _rest(body, betas)
        bones = rest[:, 1:22] - rest[:, parents]
        length = bones.norm(dim=-1)
        jacobian = torch.einsum("bja,jak->bjk", bones / length[..., None], directions)
        normal = jacobian.mT @ jacobian + ridge * torch.eye(10).to(jacobian)
        gradient = jacobian.mT @ (wanted - length)[..., None] - ridge * betas[..., None]
        betas = betas + torch.linalg.solve(normal, gradient)[..., 0]
    return betas


def retarget_joints(joints3d: Tensor, rest: Tensor, mask: Tensor) -> Tensor:
    """(B, L, 22, 3): the same motion performed by a body with the rest pose ``rest`` (B, 22, 3).

    Bones keep their direction and get the body's lengths. Hips and collars are set rigidly into pelvis and chest,
    because a body's width there is no matter of pose. The root's path is scaled like the legs, whose length is the
    mean over the frames in ``mask`` (B, L).
    """
    stride = _leg_length(rest) / _mean(_leg_length(joints3d), mask)
    rest = rest[:, None].expand_as(joints3d)
    pelvis = _triangle(joints3d, 1, 2, 0) @ _triangle(rest, 1, 2, 0).mT
    chest = _triangle(joints3d, 13, 14, 12) @ _triangle(rest, 13, 14, 12).mT
    moved = [stride[:, None, None] * joints3d[:, :, 0]]
    for parent, joint in HUMANML22.bones:
        bone, own = joints3d[:, :, joint] - joints3d[:, :, parent], rest[:, :, joint] - rest[:, :, parent]
        if joint in (1, 2, 13, 14):
            offset = ((pelvis if joint in (1, 2) else chest) @ own[..., None])[..., 0]
        else:
            offset = F.normalize(bone, dim=-1) * own.norm(dim=-1, keepdim=True)
        moved.append(moved[parent] + offset)
    return torch.stack(moved, dim=2)


def _triangle(joints: Tensor, left: int, right: int, top: int) -> Tensor:
    """(..., 3, 3): the frame of a rigid part: from right to left, and then towards its top from between the two.

    For the chest the two are the collars and the top is the neck, for the pelvis hips and pelvis joint.
    """
    across = joints[..., left, :] - joints[..., right, :]
    upwards = joints[..., top, :] - 0.5 * (joints[..., left, :] + joints[..., right, :])
    return roma.special_gramschmidt(torch.stack([across, upwards], dim=-1))


def _leg_length(joints: Tensor) -> Tensor:
    """(...): thigh and shank, mean of both legs."""
    bones = joints[..., [4, 5, 7, 8], :] - joints[..., [1, 2, 4, 5], :]
    return bones.norm(dim=-1).sum(-1) / 2
