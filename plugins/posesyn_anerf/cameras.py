"""Cameras, rays and cylinders of the field's world, in which y points down, and whole pictures of it.

Two forms of a camera: the extrinsic matrix of computer vision (world -> x right, y down, z forward), and NeRF's
``c2w`` (columns right, up, backward, position).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

RIM = 50
"""Points on each rim of a cylinder whose projections bound the pixels to be rendered; the first is also the last."""
MARGIN = 0.25
"""By which cylinders are wider than the joints, field units per unit of ``scale``."""
STORED, RENDERED = (1.0, 0.25), (1.6, 1.1)
"""How many margins a cylinder is taller at the top and at the bottom: in training, and for pictures."""


def to_c2w(extrinsic: Floats) -> Floats:
    """NeRF's camera (..., 4, 4) of an extrinsic matrix."""
    return np.linalg.inv(extrinsic) * np.array([1, -1, -1, 1])


def to_extrinsic(c2w: Floats) -> Floats:
    """The other way round."""
    return np.linalg.inv(c2w * np.array([1, -1, -1, 1]))


def around(c2w: Floats, count: int) -> Floats:
    """``count`` cameras (count, 4, 4) on a circle about the world's vertical, beginning with ``c2w``."""
    angles = np.arange(count) * 2 * np.pi / count
    turns = np.tile(np.eye(4), (count, 1, 1))
    turns[:, 0, 0], turns[:, 0, 2] = np.cos(angles), -np.sin(angles)
    turns[:, 2, 0], turns[:, 2, 2] = np.sin(angles), np.cos(angles)
    return turns @ c2w


def cylinders(joints: Floats, ends: tuple[float, float], margin: float = MARGIN) -> Floats:
    """Vertical cylinders (N, 5: x, z, radius, top, bottom) about skeletons (N, 24, 3)."""
    root = joints[:, :1, [0, 2]]
    radius = np.linalg.norm(joints[..., [0, 2]] - root, axis=-1).max(axis=1) + margin
    top, bottom = joints[..., 1].min(axis=1) - ends[0] * margin, joints[..., 1].max(axis=1) + ends[1] * margin
    return np.column_stack([root[:, 0], radius, top, bottom])


def pixel_box(
    cylinder: Floats, extrinsic: Floats, focal: Sequence[float], size: tuple[int, int], centre: Sequence[float] | None
) -> NDArray[np.int32]:
    """(2, 2): x, y of the first pixel and of the one behind the last that may show a cylinder (5,).

    ``size`` is (H, W); ``focal`` (2,) pixels; ``centre`` the principal point, None = the middle, at whole pixels.
    """
    x, z, radius, top, bottom = cylinder
    angles = np.linspace(0, 2 * np.pi, RIM)
    rim = np.stack([x + radius * np.cos(angles), np.zeros(RIM), z + radius * np.sin(angles)], axis=-1)
    rims = np.concatenate([rim + np.array([0, end, 0]) for end in (top, bottom)])
    seen = rims @ extrinsic[:3, :3].T + extrinsic[:3, 3]
    pixels = seen[:, :2] / seen[:, 2:] * np.asarray(focal)
    middle = np.array([size[1] // 2, size[0] // 2]) if centre is None else np.asarray(centre)
    limit = np.array([size[1] - 1, size[0] - 1])
    low = np.floor(pixels.min(axis=0)) + middle
    high = np.ceil(pixels.max(axis=0)) + middle
    return np.clip(np.stack([low, high]), 0, limit).astype(np.int32)


def pixel_rays(
    c2w: Floats, pixels: NDArray[np.integer], focal: Sequence[float] | Floats, centre: Sequence[float] | Floats
) -> tuple[Floats, Floats]:
    """Origins and directions (P, 3) of pixels (P, 2: x, y), whole numbers at their centres; depth along them is z."""
    inside = (pixels - np.asarray(centre)) / np.asarray(focal)
    directions = np.column_stack([inside[:, 0], -inside[:, 1], -np.ones(len(pixels))]) @ c2w[:3, :3].T
    return np.broadcast_to(c2w[:3, 3], directions.shape), directions
