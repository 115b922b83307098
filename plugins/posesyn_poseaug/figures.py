"""What PoseAug makes of its poses, drawn: originals beside augmented ones as their cameras see them, and the spread of
bone angles, view points and places before and after (the paper's Figs. 3, 5 and 7)."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from posesyn_core.drawing.sheets import COLUMNS, TILE, spread
from posesyn_core.drawing.skeletons import draw_skeleton
from posesyn_core.geometry.skeletons import H36M16
from posesyn_core.values import Image
from posesyn_poseaug.augmentor import Pairs
from posesyn_poseaug.skeleton import PARENTS, bones_of, directions_of

Floats = NDArray[np.float64]
BEFORE, AFTER, INK, FAINT = (0, 96, 190), (242, 100, 10), (60, 60, 60), (225, 225, 225)
SHOWN = 400
"""Poses in a cloud of points."""
PANEL = 360
HIP_LEFT, HIP_RIGHT, ROOT, THORAX = 4, 1, 0, 8


def pose_sheet(before: Pairs, after: Pairs) -> Image:
    """Some of the original poses in the upper row, some of the augmented ones in the lower, on their screens.

    Below each pose stands where its camera is as the person sees it: degrees from ahead, degrees of height, metres.
    """
    rows = [_row("original", before), _row("augmented", after)]
    return np.vstack([row for row in rows if row is not None])


def _row(title: str, pairs: Pairs) -> Image | None:
    if not len(pairs):
        return None
    chosen = spread(range(len(pairs)), COLUMNS)
    azimuth, height = view_points(pairs)
    distance = np.linalg.norm(pairs.poses[:, 0].numpy(), axis=1)
    tiles = []
    for at in chosen:
        tile = np.full((TILE, TILE, 3), 255, np.uint8)
        tile = draw_skeleton(tile, (pairs.keypoints[at].numpy() + 1) * TILE / 2, H36M16.name, thickness=2)
        cv2.rectangle(tile, (0, 0), (TILE - 1, TILE - 1), FAINT, 1)
        _write(tile, f"{azimuth[at]:.0f}, {height[at]:.0f}, {distance[at]:.1f} m", 6, TILE - 8)
        tiles.append(tile)
    tiles += [np.full((TILE, TILE, 3), 255, np.uint8)] * (COLUMNS - len(tiles))
    _write(tiles[0], title, 6, 16)
    return np.hstack(tiles)


def spread_sheet(before: Pairs, after: Pairs) -> Image:
    """Three panels: how bones bend, from where the camera looks, where the person stands; before in blue, after in
    orange."""
    both = [pairs for pairs in (before, after) if len(pairs)]
    return np.hstack([_bends(both), _views(both), _places(both)])


def bends(pairs: Pairs) -> Floats:
    """(N, 14) degrees between every bone and the one that its joint's parent hangs on."""
    directions = directions_of(bones_of(pairs.poses)).numpy().astype(np.float64)
    child = [joint - 1 for joint in range(2, len(PARENTS)) if PARENTS[joint] > 0]
    parent = [PARENTS[joint] - 1 for joint in range(2, len(PARENTS)) if PARENTS[joint] > 0]
    cosine = (directions[:, child] * directions[:, parent]).sum(-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def view_points(pairs: Pairs) -> tuple[Floats, Floats]:
    """(N,) azimuth, 0 = ahead of the person, and (N,) elevation of the camera, both in degrees of the body's own frame
    (hips and spine), so that a person who leans is seen from elsewhere."""
    poses = pairs.poses.numpy().astype(np.float64)
    up = poses[:, THORAX] - poses[:, ROOT]
    up /= np.linalg.norm(up, axis=1, keepdims=True) + 1e-9
    left = poses[:, HIP_LEFT] - poses[:, HIP_RIGHT]
    left -= (left * up).sum(1, keepdims=True) * up
    left /= np.linalg.norm(left, axis=1, keepdims=True) + 1e-9
    ahead = np.cross(left, up)
    camera = -poses[:, ROOT]
    camera /= np.linalg.norm(camera, axis=1, keepdims=True) + 1e-9
    along = [(camera * axis).sum(1) for axis in (ahead, left, up)]
    return np.degrees(np.arctan2(along[1], along[0])), np.degrees(np.arcsin(np.clip(along[2], -1, 1)))


def _panel(title: str, x: str, y: str) -> Image:
    panel = np.full((PANEL, PANEL, 3), 255, np.uint8)
    cv2.rectangle(panel, (40, 30), (PANEL - 12, PANEL - 34), FAINT, 1)
    for text, across, down in ((title, 42, 20), (x, 42, PANEL - 10), (y, 44, 46)):
        _write(panel, text, across, down)
    return panel


def _write(picture: Image, text: str, across: int, down: int) -> None:
    cv2.putText(picture, text, (across, down), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)


def _at(values: Floats, low: float, high: float, start: int, end: int) -> NDArray[np.int64]:
    """Values from ``low`` to ``high`` as pixels from ``start`` to ``end``."""
    share = (np.clip(values, low, high) - low) / (high - low)
    return np.round(start + share * (end - start)).astype(np.int64)


def _bends(both: Sequence[Pairs]) -> Image:
    panel = _panel("bone angles", "0 ... 180 degrees between a bone and the one before", "share")
    edges = np.linspace(0, 180, 37)
    shares = [np.histogram(bends(pairs), edges, density=True)[0] for pairs in both]
    highest = max(float(share.max()) for share in shares)
    across = _at((edges[:-1] + edges[1:]) / 2, 0, 180, 40, PANEL - 12)
    for share, colour in zip(shares, (BEFORE, AFTER), strict=False):
        line = np.stack([across, _at(share, 0, highest, PANEL - 34, 40)], -1)
        cv2.polylines(panel, [line.astype(np.int32)], False, colour, 2, cv2.LINE_AA)
    return panel


def _views(both: Sequence[Pairs]) -> Image:
    panel = _panel("view points", "-180 ... 180 degrees about the body", "90 ... -90 degrees above it")
    for pairs, colour in zip(both, (BEFORE, AFTER), strict=False):
        azimuth, height = view_points(pairs)
        _points(panel, _at(azimuth, -180, 180, 40, PANEL - 12), _at(height, -90, 90, PANEL - 34, 30), colour)
    return panel


def _places(both: Sequence[Pairs]) -> Image:
    roots = [pairs.poses[:, 0].numpy().astype(np.float64) for pairs in both]
    furthest = max(1.0, *(float(np.quantile(root[:, 2], 0.99)) for root in roots))
    sides = f"{-furthest / 2:.0f} ... {furthest / 2:.0f} m to the right"
    panel = _panel("places, from above", sides, f"{furthest:.0f} ... 0 m away")
    for root, colour in zip(roots, (BEFORE, AFTER), strict=False):
        across = _at(root[:, 0], -furthest / 2, furthest / 2, 40, PANEL - 12)
        _points(panel, across, _at(root[:, 2], 0, furthest, PANEL - 34, 30), colour)
    return panel


def _points(panel: Image, across: NDArray[np.int64], down: NDArray[np.int64], colour: tuple[int, int, int]) -> None:
    for at in spread(range(len(across)), SHOWN):
        cv2.circle(panel, (int(across[at]), int(down[at])), 2, colour, -1, cv2.LINE_AA)
