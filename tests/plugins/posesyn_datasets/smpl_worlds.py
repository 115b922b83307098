"""People with SMPL parameters in a world that a moving camera films, as 3DPW and EMDB describe them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.body.model import load_body

K = np.array([[1960.0, 0, 540], [0, 1950.0, 960], [0, 0, 1]])
BODY = load_body()


def world(frames: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """An upright person 4 m before a camera that turns, in a world whose y is up, posed by the free body.

    ``pose`` (N, 24, 3), ``betas`` (10,), ``transl`` (N, 3), ``joints`` (N, 24, 3), ``extrinsics`` (N, 4, 4).
    """
    rng = np.random.default_rng(seed)
    pose = 0.2 * rng.standard_normal((frames, 24, 3))
    pose[:, 0] += (0, np.pi / 3, 0)
    betas, transl = rng.standard_normal(10), np.array([1.0, 1.0, 2.0]) + 0.1 * rng.standard_normal((frames, 3))
    extrinsics = np.tile(np.eye(4), (frames, 1, 1))
    turns = np.stack([np.zeros(frames), 0.05 * np.arange(frames), np.zeros(frames)], -1)
    extrinsics[:, :3, :3] = (Rotation.from_rotvec(turns) * Rotation.from_euler("x", 180, degrees=True)).as_matrix()
    extrinsics[:, :3, 3] = np.array([0, 0, 4]) - np.einsum("nij,j->ni", extrinsics[:, :3, :3], [1.0, 1, 2])
    return {
        "pose": pose,
        "betas": betas,
        "transl": transl,
        "joints": posed(pose, np.tile(betas, (frames, 1)), transl),
        "extrinsics": extrinsics,
    }


def posed(pose: NDArray[Any], betas: NDArray[Any], transl: NDArray[Any]) -> NDArray[Any]:
    """Joints (N, 24, 3) of the free body."""
    given = [torch.tensor(values, dtype=torch.float32) for values in (pose, betas, transl)]
    return BODY.joints(given[0][:, 0], given[0][:, 1:], given[1], given[2]).numpy()
