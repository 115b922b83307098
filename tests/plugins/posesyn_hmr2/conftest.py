"""A labelled frame and small networks that the tests of this plugin share."""

from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core.body.model import Body, load_body
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.cameras import project
from posesyn_core.values import Camera, LabelledFrame, SmplParams
from posesyn_hmr2.config import Hmr2Config
from posesyn_hmr2.estimator import Hmr2

FAR = 1000.0
"""Metres to a camera so far away that turning the picture and turning the body about its axis are one."""


@pytest.fixture(scope="session")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="session")
def frame(body: Body) -> LabelledFrame:
    """A posed body in the middle of a grey picture with a bright spot at its left wrist; all labels are known."""
    random = np.random.default_rng(3)
    smpl = SmplParams([3.0, 0.3, 0.1], 0.3 * random.standard_normal((23, 3)), random.standard_normal(10), [0, 0, FAR])
    arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    joints = body.joints(*(torch.from_numpy(np.array(array)[None]) for array in arrays))[0].numpy()
    camera = Camera([60 * FAR, 60 * FAR], [95.5, 95.5])
    joints2d = project(joints, camera.focal_length, camera.principal_point)
    rows, columns = np.mgrid[:192, :192]
    distance = np.hypot(columns - joints2d[20, 0], rows - joints2d[20, 1])
    picture = np.repeat((255 * np.exp(-((distance / 4) ** 2)))[..., None], 3, axis=2).astype(np.uint8)
    return LabelledFrame(
        id="spot",
        image=encode_png(picture),
        box=[*(joints2d.min(0) - 5), *(joints2d.max(0) + 5)],
        joints2d=joints2d,
        confidence=np.ones(24),
        camera=camera,
        joints3d=joints - joints[:1],
        smpl=smpl,
    )


@pytest.fixture
def mocap(tmp_path: Path) -> Path:
    """Five real bodies, as the official file holds them."""
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "mocap.npz", body_pose=0.2 * random.standard_normal((5, 72)), betas=random.standard_normal((5, 10))
    )
    return tmp_path / "mocap.npz"


def make(**options: object) -> Hmr2:
    """A small untrained estimator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Hmr2(Hmr2Config(**options))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def estimator() -> Hmr2:
    """One for all tests that do not change it."""
    return make()
