"""A few labelled frames and an untrained estimator."""

import numpy as np
import pytest
import torch

from posesyn_core.files.images import encode_png
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.geometry.cameras import project
from posesyn_core.values import Camera, LabelledFrame, SmplParams
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin


@pytest.fixture
def estimator() -> Spin:
    """SPIN at the starter's size with fixed random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Spin(SpinConfig(weights="random"))


@pytest.fixture(scope="session")
def frames() -> list[LabelledFrame]:
    """Twelve posed bodies with all labels, in pictures of noise."""
    random = np.random.default_rng(0)
    body = Spin(SpinConfig(weights="random")).body
    camera = Camera([300, 300], [63.5, 63.5])
    made = []
    for number in range(12):
        smpl = SmplParams(
            [np.pi, 0.1 * number, 0], 0.2 * random.standard_normal((23, 3)), random.standard_normal(10), [0, 0, 5]
        )
        arrays = [
            torch.from_numpy(np.array(a)[None]) for a in (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
        ]
        joints = body.joints(*arrays)[0].numpy()
        joints2d = project(joints, camera.focal_length, camera.principal_point)
        picture = encode_png(random.integers(0, 256, (128, 128, 3)).astype(np.uint8))
        made.append(
            LabelledFrame(
                id=f"frame/{number}",
                image=picture,
                box=joint_boxes(joints2d),
                joints2d=joints2d,
                confidence=np.ones(24),
                camera=camera,
                joints3d=joints - joints[:1],
                smpl=smpl,
            )
        )
    return made
