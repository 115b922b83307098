"""Motions made by formula, for tests that need no recorded ones."""

import numpy as np
import roma
import torch

from posesyn_t2mgpt import representation as r


def make_motion(seed: int, frames: int, turning: float = 0.0) -> np.ndarray:
    """(frames, 22, 3): a walkabout with smoothly moving bones of the reference lengths; ``turning`` radians in all."""
    draw = np.random.default_rng(seed)
    time = np.linspace(0, 1, frames)
    waves = draw.normal(size=(2, 22, 3)) * 0.25
    angles = np.sin(2 * np.pi * (time[:, None, None] + draw.random((22, 1)))) * waves[0] + waves[1]
    heading = np.stack([time * 0, time * turning, time * 0], axis=-1)
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(heading))[:, None] @ roma.rotvec_to_rotmat(
        torch.from_numpy(angles)
    )
    bones = (rotations @ (r.REST_DIRECTIONS * r.BONE_LENGTHS[:, None])[..., None]).squeeze(-1)
    bones[:, 0] = torch.from_numpy(np.stack([np.sin(3 * time), 0.9 + 0.05 * np.sin(9 * time), 2 * time], axis=-1))
    return r.sum_of_bones(bones).numpy().astype(np.float32)


def make_pose(arms: float, thighs: float, shins: float) -> np.ndarray:
    """(22, 3) upright trunk; degrees by which arms and thighs are raised forwards and shins bent back, from hanging.

    Hips, collars and shoulders stand as a body's do; the representation's rest directions are not those of one.
    """
    degrees = np.zeros((22, 3))
    degrees[[18, 19, 20, 21], 0], degrees[[4, 5], 0], degrees[[7, 8], 0] = -arms, -thighs, shins
    turned = roma.rotvec_to_rotmat(torch.from_numpy(np.radians(degrees)))
    directions = r.REST_DIRECTIONS.clone()
    for left, direction in {1: (0.6, -0.8, 0), 13: (0.5, 0.85, 0), 16: (1, 0, 0)}.items():
        directions[left] = torch.tensor(direction)
        directions[left + 1] = directions[left] * torch.tensor([-1, 1, 1])
    directions[15] = torch.tensor([0, 0.95, 0.3])
    bones = (turned @ (directions * r.BONE_LENGTHS[:, None])[..., None]).squeeze(-1)
    return r.sum_of_bones(bones).numpy().astype(np.float32)
