"""What a regressor of SMPL parameters and a crop's camera says of a person in the full image."""

import numpy as np
import torch
from numpy.typing import NDArray

from posesyn_core.body.model import Body
from posesyn_core.geometry.cameras import crop_translation, focal_length_in_image, project
from posesyn_core.geometry.rotations import matrix_to_axis_angle
from posesyn_core.values import Camera, FloatArray, PoseEstimate, SmplParams


def decode_smpl(
    body: Body,
    rotations: FloatArray,
    betas: FloatArray,
    camera: FloatArray,
    centre: NDArray[np.floating],
    side: NDArray[np.floating],
    *,
    focal_length: float,
    size: int,
) -> list[PoseEstimate]:
    """Pose ``body`` and place it in the image: one estimate for each of B people.

    ``rotations`` (B, 24, 3, 3), the root's first, ``betas`` (B, 10), and ``camera`` (B, 3) = (s, tx, ty), weak
    perspective in crops of ``size`` pixels that show squares of the image about ``centre`` (B, 2) with ``side`` (B,)
    pixels. ``focal_length`` is that of the crop's camera in its pixels. The full-image camera has the focal length
    focal_length / size * side and its principal point in the square's centre (Table 6), so that it sees what the
    crop's camera sees.
    """
    focal = np.repeat(focal_length_in_image(focal_length, size, side)[:, None], 2, axis=1)
    return place_smpl(body, rotations, betas, crop_translation(camera, focal_length, size), focal, centre)


def place_smpl(
    body: Body,
    rotations: FloatArray,
    betas: FloatArray,
    transl: FloatArray,
    focal: NDArray[np.floating],
    centre: NDArray[np.floating],
) -> list[PoseEstimate]:
    """As :func:`decode_smpl` for a known translation (B, 3) metres and full-image camera.

    ``focal`` (B, 2) and ``centre`` (B, 2): focal lengths and principal points in pixels of the full image.
    """
    joints, axis_angle = _pose(body, rotations, betas)
    joints2d = project(joints + transl[:, None], focal, centre)
    return [
        PoseEstimate(
            joints3d=joints[at] - joints[at, :1],
            joints2d=joints2d[at],
            camera=Camera(focal[at], centre[at]),
            smpl=SmplParams(axis_angle[at, 0], axis_angle[at, 1:], betas[at], transl[at]),
        )
        for at in range(len(joints))
    ]


def _pose(body: Body, rotations: FloatArray, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Joints (B, 24, 3) before translation, and axis-angles (B, 24, 3)."""
    device = body.v_template.device
    with torch.inference_mode():
        matrices = torch.from_numpy(rotations).to(device)
        joints = body.pose_joints(matrices, torch.from_numpy(betas).to(device))
        return joints.cpu().numpy(), matrix_to_axis_angle(matrices).cpu().numpy()
