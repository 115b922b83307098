"""AMASS's .npz (Mahmood et al., ICCV 2019), as tools for SMPL-H bodies read it.

``poses`` (L, 156): axis-angle of SMPL-H's 52 joints, of which the fingers are at rest; ``trans`` (L, 3) metres;
``betas`` (16,); ``dmpls`` (L, 8), zero; ``gender``; ``mocap_framerate``. AMASS's world has z up, so that is what these
files have. SMPL's two hand joints have no counterpart and are left out.

Shape coefficients are those of one body. Those of the free body mean nothing to SMPL-H's, so ``betas`` are 0 then and
the free body's stand in ``free_betas`` (10,).
"""

import io

import numpy as np
from scipy.spatial.transform import Rotation

from posesyn_core.body.formats.movement import Movement, rest_joints
from posesyn_core.body.model import Body

SHARED, ALL, SHAPES, SOFT = 22, 52, 16, 8
"""Joints that SMPL and SMPL-H share, joints of SMPL-H, its shape coefficients, and those of soft tissue."""
Z_UP = Rotation.from_euler("x", 90, degrees=True)
"""From y up to z up."""


def amass(body: Body, movement: Movement) -> bytes:
    """The movement as the bytes of an .npz."""
    frames = len(movement.transl)
    rest = rest_joints(body, movement.betas)[0]
    poses = np.zeros((frames, ALL, 3), np.float32)
    poses[:, 0] = (Z_UP * Rotation.from_rotvec(movement.global_orient)).as_rotvec()
    poses[:, 1:SHARED] = movement.body_pose[:, : SHARED - 1]
    betas = np.zeros(SHAPES, np.float32)
    own = {}
    if body.shape_space == "smpl":
        betas[:10] = movement.betas
    else:
        own["free_betas"] = movement.betas
    arrays = {
        "poses": poses.reshape(frames, -1),
        "trans": (Z_UP.apply(movement.roots(body)) - rest).astype(np.float32),
        "betas": betas,
        "dmpls": np.zeros((frames, SOFT), np.float32),
        "gender": np.array(body.gender),
        "mocap_framerate": np.array(movement.fps),
        **own,
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
