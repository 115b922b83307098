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
        if not (np.isfinite(joints).all() and np.isfinite(pose).all()):
            raise SampleError("the body has numbers that are not finite")
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
    seen = np.einsum("nij,nkj->nki", rotations, joints) + offsets[:, None]
    turned = pose.copy()
    turned[:, 0] = (Rotation.from_matrix(rotations) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    resting_pelvis = joints[:, 0] - transl
    return Bodies(seen, turned, betas, seen[:, 0] - resting_pelvis, gender)
