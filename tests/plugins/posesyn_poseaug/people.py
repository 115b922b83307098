"""People as lifters see them: sixteen joints before a camera, without a picture."""

import numpy as np
from numpy.typing import NDArray

from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.values import Camera, LabelledFrame, Sample

SIZE = 1000
CAMERA = Camera(np.full(2, 1145, np.float32), np.full(2, SIZE / 2, np.float32))
STANDING = np.array(
    [
        *([0, 0, 0], [-0.13, 0, 0], [-0.14, 0.45, 0], [-0.14, 0.9, 0], [0.13, 0, 0], [0.14, 0.45, 0], [0.14, 0.9, 0]),
        *([0, -0.23, 0], [0, -0.48, 0], [0, -0.67, 0], [0.15, -0.45, 0], [0.2, -0.17, 0], [0.22, 0.08, 0]),
        *([-0.15, -0.45, 0], [-0.2, -0.17, 0], [-0.22, 0.08, 0]),
    ]
)
"""(16, 3) metres, x right, y down: facing the camera."""


def poses(count: int, seed: int = 0) -> NDArray[np.float32]:
    """(N, 16, 3) metres in the camera frame, each a little different."""
    draw = np.random.default_rng(seed)
    place = np.stack([draw.uniform(-0.5, 0.5, count), draw.uniform(-0.2, 0.2, count), draw.uniform(4, 5, count)], -1)
    return (STANDING + draw.normal(0, 0.05, (count, 16, 3)) + place[:, None]).astype(np.float32)


def person(pose: NDArray[np.float32], number: int = 0, joint_set: str = "h36m16") -> Sample:
    """The sample of one pose, with its truth and without a picture."""
    flat = project(pose, CAMERA.focal_length, CAMERA.principal_point)
    box = np.concatenate([flat.min(0) - 20, flat.max(0) + 20])
    return Sample(
        f"people/train/{number:04d}", b"", box, joint_set, flat, np.ones(16), CAMERA, keypoints3d=pose
    )  # fmt: skip


def people(count: int, seed: int = 0, joint_set: str = "h36m16") -> list[Sample]:
    return [person(pose, number, joint_set) for number, pose in enumerate(poses(count, seed))]


def frames(count: int, seed: int = 0) -> list[LabelledFrame]:
    return [labelled_frame(sample) for sample in people(count, seed)]
