"""One labelled person as HybrIK is trained on, wherever the labels come from."""

from collections.abc import Callable

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.crops import square
from posesyn_core.geometry.joints import frame_in
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.values import Camera, EncodedImage, LabelledFrame, SmplParams
from posesyn_hybrik.inverse_kinematics import twist_angles
from posesyn_hybrik.skeleton import JOINTS
from posesyn_hybrik.smpl import HybrikSmpl

Floats = NDArray[np.float64]

MARGIN = 1.25
"""The square crop's side over the longer side of the person's box."""

LIMBS_2D = (4, 5, 7, 8, 16, 17, 18, 19, 20, 21)
"""SMPL's joints that 2D annotations give: knees, ankles, shoulders, elbows, wrists; hips are another point there."""


@frozen(eq=False)
class Pose:
    """SMPL's parameters: ``rotations`` (24, 3) axis-angle, the root's in the camera frame, and ``betas`` (10,), which
    mean something if the shape is known."""

    rotations: Floats
    betas: Floats
    shape_known: bool = True


@frozen(eq=False)
class Person:
    """The labels of one person.

    The square to cut out has ``centre`` (2,) and ``side`` in pixels. ``joints2d`` (29, 2) are pixels of the full image;
    ``joints3d`` (29, 3) metres in the camera frame, relative to the pelvis, or to the middle of the hips if its depth
    is unknown; ``weights`` (29, 3) say which of u, v and depth is known. ``twist`` (23, 2) are (cos, sin) of joints
    1..23, ``twist_known`` (23,) which of them are known.
    ``pelvis`` (3,) is the first joint, metres in the camera frame; ``joints17`` (17, 3), Human3.6M's joints in the same
    frame, serve evaluations.
    """

    id: str
    image: EncodedImage
    centre: Floats
    side: float
    joints2d: Floats
    joints3d: Floats
    weights: Floats
    pose: Pose | None
    twist: Floats
    twist_known: Floats
    camera: Camera | None = None
    pelvis: Floats | None = None
    joints17: Floats | None = None

    @property
    def has_joints3d(self) -> bool:
        """Whether the joints are known in metres."""
        return bool(self.weights[:, 2].any())


def no_twist() -> tuple[Floats, Floats]:
    """The fields ``twist`` and ``twist_known`` of a person of whom neither is known."""
    return np.zeros((23, 2)), np.zeros(23)


def person_of(frame: LabelledFrame, skin: "Callable[[SmplParams], tuple[Floats, Floats]]") -> Person:
    """The labels of one of our frames; ``skin`` is :func:`joints_and_twists` of the body that the frame's labels mean.

    Where a frame has SMPL parameters and a camera the five joints on the skin and the twists follow from them. A frame
    without SMPL's pelvis in 3D trains on limbs only (``LIMBS_2D``), as the official code does with COCO and
    MPI-INF-3DHP; its depths, if it has any, are relative to the middle of the hips.
    """
    frame = frame_in(frame, "smpl24")
    centre, side = square(frame.box, MARGIN)
    joints2d, joints3d, weights = np.zeros((JOINTS, 2)), np.zeros((JOINTS, 3)), np.zeros((JOINTS, 3))
    joints2d[:24] = frame.joints2d
    seen, solid = (frame.confidence > 0).astype(np.float64), frame.labels3d()
    has_pelvis = solid[0, 3] > 0
    labelled = list(range(24) if has_pelvis else LIMBS_2D)
    weights[labelled] = np.column_stack([seen, seen, solid[:, 3]])[labelled]
    joints3d[:24] = solid[:, :3]
    twist, twist_known = no_twist()
    if frame.smpl is not None and frame.smpl.shape_known:
        posed, angles = skin(frame.smpl)
        twist, twist_known = np.stack([np.cos(angles), np.sin(angles)], -1), np.ones(23)
        if frame.camera is not None and has_pelvis:
            joints3d[24:] = posed[24:] - posed[0]
            camera = frame.camera
            focal, middle = (part.astype(np.float64) for part in (camera.focal_length, camera.principal_point))
            joints2d[24:] = project(posed[24:], focal, middle)
            weights[24:] = 1
    smpl = frame.smpl
    pose = None
    if smpl is not None:
        rotations = np.vstack([smpl.global_orient, smpl.body_pose]).astype(np.float64)
        pose = Pose(rotations, smpl.betas.astype(np.float64), smpl.shape_known)
    return Person(
        id=frame.id, image=frame.image, centre=centre, side=float(side), joints2d=joints2d, joints3d=joints3d,
        weights=weights, pose=pose, twist=twist, twist_known=twist_known, camera=frame.camera,
    )  # fmt: skip


def joints_and_twists(smpl: HybrikSmpl, params: SmplParams) -> tuple[Floats, Floats]:
    """The 29 joints (29, 3) in metres, camera frame, and the twists (23,) in radians of the body with ``params``."""
    device = smpl.v_template.device
    with torch.no_grad():
        axis_angle = torch.from_numpy(np.vstack([params.global_orient, params.body_pose]))[None].to(device)
        rotations, betas = axis_angle_to_matrix(axis_angle), torch.from_numpy(params.betas.copy())[None].to(device)
        joints = smpl.posed_joints(rotations, betas)[0].cpu().numpy() + params.transl
        return joints.astype(np.float64), twist_angles(rotations, smpl(betas))[0].cpu().numpy().astype(np.float64)
