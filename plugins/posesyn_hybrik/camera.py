"""From places in the crop to metres, by a camera of which only the scale is predicted (HybrIK's ...SMPLCam models).

A crop of 256 pixels is seen with the focal length f = 1000; a scale s puts the pelvis at the depth f / (256 s) metres.
In the full image that is a camera of focal length 1000 / 256 * side of the square crop (the paper's Table 6). Its
principal point is the crop's centre, or that of the image if ``offset`` says where the crop lies.
"""

import torch
from torch import Tensor, nn

from posesyn_hybrik.heatmaps import DEPTH_EXTENT
from posesyn_hybrik.inverse_kinematics import InverseKinematics

FOCAL_LENGTH = 1000.0
CROP = 256
FOCAL = FOCAL_LENGTH / CROP
_SMALLEST = 1e-9


class Solver(nn.Module):
    """What follows the network: metres, the camera's scale, and SMPL's rotations; no weights. Keep it in float32."""

    def __init__(self, refine_scale: bool) -> None:
        """``refine_scale`` corrects the predicted scale (see :meth:`refined`)."""
        super().__init__()
        self.refine_scale = refine_scale
        self.kinematics = InverseKinematics()

    def forward(
        self, uvd: Tensor, rest: Tensor, twist: Tensor, scale: Tensor, sigma: Tensor, offset: Tensor, trans: Tensor
    ) -> dict[str, Tensor]:
        """``uvd`` (B, 29, 3); ``rest`` (B, 29, 3) the body's T-pose; ``twist`` (B, 23, 2); ``scale`` (B, 1);
        ``sigma`` (B, 29, 1); ``offset`` (B, 2) from the principal point to the crop's centre, in sides of the crop;
        ``trans`` (B, 2) metres taken off x and y.

        Returns ``xyz`` (B, 29, 3), the heatmaps' joints, and ``joints`` (B, 24, 3), the posed body's, in metres
        relative to the pelvis; ``rotmat`` (B, 24, 3, 3); ``root`` (B, 3), the pelvis in the camera frame; ``scale``.
        """
        if self.refine_scale:
            scale = self.refined(uvd, rest, twist, scale, sigma, offset)
        xyz, root = lift(uvd, scale, offset, trans)
        rotmat, joints = self.kinematics(xyz, rest, twist)
        return {"xyz": xyz, "joints": joints - joints[:, :1], "rotmat": rotmat, "root": root, "scale": scale}

    def refined(self, uvd: Tensor, rest: Tensor, twist: Tensor, scale: Tensor, sigma: Tensor, offset: Tensor) -> Tensor:
        """The scale (B, 1) at which the body posed by naive HybrIK lies best over the heatmaps' joints.

        Least squares for x = 1 / s in :meth:`equations`. A sample of which no joint counts, or whose scale would not be
        positive, keeps its own (the official code leaves the whole batch as it is if one has no joint that counts). The
        published scores were measured without this step.
        """
        seen, measured = self.equations(uvd, rest, twist, scale, sigma, offset)
        squares, product = ((seen * other).sum((1, 2))[:, None] for other in (seen, measured))
        solvable = product > 0
        return torch.where(solvable, squares / torch.where(solvable, product, 1), scale)

    def equations(
        self, uvd: Tensor, rest: Tensor, twist: Tensor, scale: Tensor, sigma: Tensor, offset: Tensor
    ) -> tuple[Tensor, Tensor]:
        """w q and w (J_xy - q J_z / f), each (B, 24, 2): w q x = w (J_xy - q J_z / f) holds for x = 1 / s.

        q is (u, v) and the offset, J the joints of the body posed by naive HybrIK with the given scale, its pelvis at
        (X, Y, 2.2 d) metres, f = 1000 / 256, and w = max(1 - 10 sigma, 0).
        """
        xyz, root = lift(uvd, scale, offset, torch.zeros_like(offset))
        _, joints = self.kinematics.naive(xyz, rest, twist)
        pelvis = torch.cat([root[:, :2], root[:, 2:] - pelvis_depth(scale)], dim=-1)
        joints = joints - joints[:, :1] + pelvis[:, None]
        weight = (1 - 10 * sigma[:, :24]).clamp_min(0)
        seen = weight * (uvd[:, :24, :2] + offset[:, None])
        return seen, weight * joints[..., :2] - seen * joints[..., 2:] / FOCAL


def pelvis_depth(scale: Tensor) -> Tensor:
    """(B, 1) -> (B, 1) metres from the camera."""
    return FOCAL_LENGTH / (CROP * scale + _SMALLEST)


def lift(uvd: Tensor, scale: Tensor, offset: Tensor, trans: Tensor) -> tuple[Tensor, Tensor]:
    """``uvd`` (B, J, 3) -> metres relative to the pelvis (B, J, 3), and the pelvis (B, 3) in the camera frame."""
    relative = DEPTH_EXTENT * uvd[..., 2:]
    depth = pelvis_depth(scale)[:, None]
    across = (uvd[..., :2] + offset[:, None]) / FOCAL * (relative + depth) - trans[:, None]
    placed = torch.cat([across, relative + depth], dim=-1)
    return placed - placed[:, :1], placed[:, 0]
