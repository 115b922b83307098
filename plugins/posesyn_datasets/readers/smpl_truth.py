"""Truth given as SMPL bodies in a world that a moving camera films (3DPW, EMDB): brought into the camera's frame."""

from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.errors import SampleError
from posesyn_core.geometry.boxes import check_box, joint_boxes
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.units import check_person
from posesyn_core.values import Camera, FloatArray, Sample, SmplParams

Floats = NDArray[np.float64]
JOINTS = 24
SKEWED = 0.1
"""How far R R^T may be from the identity: more is no rotation, but another matrix or damage."""


@frozen(eq=False)
class Bodies:
    """One person in N frames, camera frame.

    ``joints`` (N, 24, 3) absolute, metres; ``pose`` (N, 24, 3) axis-angle, the root's first; ``betas`` (10,) of the
    SMPL of ``gender`` ("female", "male" or "neutral"); ``transl`` (N, 3) metres.
    """

    joints: Floats
    pose: Floats
    betas: Floats
    transl: Floats
    gender: str

    def sample(self, at: int, sample_id: str, image: Path, camera: Camera, box: FloatArray | None = None) -> Sample:
        """Frame ``at`` as a sample with the projected joints as 2D labels, boxed about them unless there is a ``box``.

        SampleError if the body is not finite, no person's, or not in front of the camera.
        """
        joints, pose = self.joints[at], self.pose[at].astype(np.float32)
        if not all(np.isfinite(part).all() for part in (joints, pose, self.betas, self.transl[at])):
            raise SampleError("the body, or its camera, has numbers that are not finite, or no rotation")
        check_person(joints, "smpl24")
        if (joints[:, 2] <= 0).any():
            raise SampleError("the body is not in front of the camera")
        keypoints2d = project(joints, camera.focal_length, camera.principal_point)
        box = joint_boxes(keypoints2d) if box is None else box
        check_box(box, np.inf, np.inf)
        return Sample(
            id=sample_id,
            image=image,
            box=box,
            joint_set="smpl24",
            keypoints2d=keypoints2d,
            confidence=np.ones(JOINTS, np.float32),
            camera=camera,
            joints3d=joints - joints[0],
            smpl=SmplParams(pose[0], pose[1:], self.betas.astype(np.float32), self.transl[at], self.gender),
        )


def in_camera(extrinsics: Floats, joints: Floats, pose: Floats, betas: Floats, transl: Floats, gender: str) -> Bodies:
    """Bodies of N frames, given in the world, in the frames' cameras.

    ``extrinsics`` (N, 4, 4) take world points to the camera; ``joints`` (N, 24, 3) posed and translated, ``pose``
    (N, 24, 3), ``betas`` (10,), ``transl`` (N, 3), all as SMPL has them. A turned body keeps its pelvis in rest, which
    its translation is added to: t' = R (pelvis + t) + T - pelvis.
    """
    from scipy.spatial.transform import Rotation

    rotations, offsets = extrinsics[:, :3, :3], extrinsics[:, :3, 3]
    usable = np.isfinite(extrinsics).all((1, 2)) & np.isfinite(pose).all((1, 2)) & np.isfinite(transl).all(1)
    usable &= (
        np.abs(np.nan_to_num(rotations) @ np.nan_to_num(rotations).transpose(0, 2, 1) - np.eye(3)).max((1, 2)) < SKEWED
    )
    rotations = np.where(usable[:, None, None], rotations, np.eye(3))
    seen = np.einsum("nij,nkj->nki", rotations, joints) + offsets[:, None]
    turned = pose.copy()
    orient = np.where(usable[:, None], pose[:, 0], 0)
    turned[:, 0] = (Rotation.from_matrix(rotations) * Rotation.from_rotvec(orient)).as_rotvec()
    turned[~usable] = np.nan  # the frame is rejected when it is asked for
    resting_pelvis = joints[:, 0] - transl
    return Bodies(seen, turned, betas, seen[:, 0] - resting_pelvis, gender)
