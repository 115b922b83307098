"""Procedural surroundings: rooms and cluttered places with a floor in true perspective, shadows, occluders, camera.

Every function draws from the generator that it is given and from nothing else.
"""

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.values import Camera, FloatArray, Image

TILE = 64
"""Side of the noise pictures that floors and walls are covered with."""


@frozen(eq=False)
class View:
    """Where a person stands in an image: all vectors (3,) in the camera frame.

    size: (H, W); up: unit vector against gravity; ground: the floor point under the person, metres; light: unit vector
    to the light; tint: (3,) colour of the light about 1; ambient: share of light from everywhere.
    """

    camera: Camera
    size: tuple[int, int]
    up: FloatArray
    ground: FloatArray
    light: FloatArray
    tint: FloatArray
    ambient: float


def draw_background(view: View, domain: str, rng: np.random.Generator) -> Image:
    """An image (H, W, 3) without a person: a plain room ("lab") or a cluttered place ("wild")."""
    wild = domain == "wild"
    wall = _wall(view.size, wild, rng)
    if wild:
        _clutter(wall, rng, int(rng.integers(3, 16)))
    else:
        _clutter(wall, rng, int(rng.integers(1, 4)), boxes=True, strength=0.5)
    image = _lay_floor(wall, view, wild, rng)
    blur = rng.choice([0, 0, 0.8, 1.6, 3.0])
    return cv2.GaussianBlur(image, (0, 0), blur) if blur else image


def _palette(wild: bool, count: int, rng: np.random.Generator) -> FloatArray:
    """Colours (count, 3): pale and greyish indoors, anything outside, though seldom bright."""
    hue, saturation = rng.uniform(0, 180, count), rng.beta(1, 2.5, count) * (230 if wild else 70)
    value = rng.uniform(35, 250, count) if wild else rng.uniform(110, 235, count)
    hsv = np.stack([hue, saturation, value], axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(np.float32)


def _noise(rng: np.random.Generator, side: int = TILE) -> FloatArray:
    """Value noise (side, side) of three octaves, about -1..1."""
    octaves = [rng.uniform(-1, 1, (cells, cells)).astype(np.float32) for cells in (4, 11, 32)]
    rough = [cv2.resize(octave, (side, side), interpolation=cv2.INTER_CUBIC) for octave in octaves]
    first, second, third = rng.dirichlet([1, 1, 1])
    return first * rough[0] + second * rough[1] + third * rough[2]


def _wall(size: tuple[int, int], wild: bool, rng: np.random.Generator) -> FloatArray:
    """Sky or wall: a gradient between two colours with noise, (H, W, 3)."""
    height, width = size
    first, second = _palette(wild, 2, rng)
    if not wild:
        second = first + (second - first) * 0.15
    towards = rng.normal(0, 1, 2)
    ramp = np.linspace(0, 1, height)[:, None] * towards[0] + np.linspace(0, 1, width)[None] * towards[1]
    ramp = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    texture = cv2.resize(_noise(rng), (width, height)) * (rng.uniform(0, 0.6) if wild else rng.uniform(0, 0.06))
    share = (ramp + texture)[..., None].astype(np.float32)
    return first + (second - first) * share


def _clutter(
    image: FloatArray, rng: np.random.Generator, count: int, *, boxes: bool = False, strength: float = 1.0
) -> None:
    """Draw boxes, polygons, discs and limb-like bars into ``image``, the farther (earlier) ones the paler."""
    height, width = image.shape[:2]
    colours = _palette(strength == 1.0, count, rng)
    for colour in colours:
        opaque = strength * rng.uniform(0.5, 1)
        centre = rng.uniform(-0.1, 1.1, 2) * (width, height)
        extent = rng.uniform(0.05, 0.4, 2) * (width, height)
        shape = 0 if boxes else rng.integers(4)
        paint = tuple(float(c) for c in image[height // 2, width // 2] * (1 - opaque) + colour * opaque)
        if shape == 0:
            low, high = (centre - extent).astype(int), (centre + extent).astype(int)
            cv2.rectangle(image, tuple(map(int, low)), tuple(map(int, high)), paint, -1)
        elif shape == 1:
            corners = centre + rng.normal(0, 1, (rng.integers(3, 7), 2)) * extent
            cv2.fillPoly(image, [corners.astype(np.int32)], paint, cv2.LINE_AA)
        elif shape == 2:
            axes = tuple(map(int, extent / 2))
            cv2.ellipse(image, tuple(map(int, centre)), axes, rng.uniform(0, 180), 0, 360, paint, -1, cv2.LINE_AA)
        else:
            path = centre + np.cumsum(rng.normal(0, 0.5, (4, 2)) * extent, axis=0)
            thickness = int(rng.uniform(0.01, 0.06) * width) + 1
            cv2.polylines(image, [path.astype(np.int32)], False, paint, thickness, cv2.LINE_AA)


def floor_points(view: View) -> tuple[NDArray[np.int64], FloatArray]:
    """Rows r.. of the image that can see the floor, as flat pixel indices (P,), and the floor points (P, 3) there."""
    height, width = view.size
    v, u = np.mgrid[:height, :width].astype(np.float32)
    fx, fy = view.camera.focal_length
    cx, cy = view.camera.principal_point
    x, y = (u - cx) / fx, (v - cy) / fy
    towards = view.up[0] * x + view.up[1] * y + view.up[2]
    pixel = np.flatnonzero((towards < -1e-3).ravel())  # looking below the horizon
    distance = float(view.up @ view.ground) / towards.ravel()[pixel]
    points = np.stack([x.ravel()[pixel] * distance, y.ravel()[pixel] * distance, distance], axis=1)
    return pixel, points.astype(np.float32)


def _lay_floor(wall: FloatArray, view: View, wild: bool, rng: np.random.Generator) -> Image:
    """Cover what lies below the horizon, up to where the wall stands, with a patterned floor; uint8 (H, W, 3)."""
    image = wall.reshape(-1, 3)
    pixel, points = floor_points(view)
    reach = view.ground[2] + (rng.uniform(1.5, 40) if wild else rng.uniform(0.8, 4))
    near = points[:, 2] < reach
    pixel, points = pixel[near], points[near] - view.ground
    along = np.cross(view.up, [np.cos(angle := rng.uniform(0, 3.14)), 0, np.sin(angle)]).astype(np.float32)
    along /= np.linalg.norm(along)
    a, b = points @ along, points @ np.cross(view.up, along).astype(np.float32)
    first, second = _palette(wild, 2, rng)
    contrast = rng.uniform(0.1, 1) if wild else rng.uniform(0, 0.25)
    tile = _noise(rng) * (rng.uniform(0, 0.5) if wild else 0.06)
    texture = tile[(a * 40).astype(np.int32) % TILE, (b * 40).astype(np.int32) % TILE]
    pattern = _floor_pattern(int(rng.integers(5)), a, b, rng.uniform(0.2, 1.2)) * contrast
    image[pixel] = first + (second - first) * (pattern + texture)[:, None]
    return np.clip(image, 0, 255).astype(np.uint8).reshape(wall.shape)


def _floor_pattern(kind: int, a: FloatArray, b: FloatArray, size: float) -> FloatArray:
    """Share (P,) of a floor's second colour at the floor coordinates a, b (P,) metres: plain (twice as often), boards,
    tiles, or joints between plates of ``size`` metres."""
    if kind < 2:
        return np.zeros_like(a)
    dark = np.float32(0.04 if kind == 4 else 0.5)
    across = (a / np.float32(size)) % np.float32(1) < dark
    if kind == 2:
        return across.astype(np.float32)
    along = (b / np.float32(size)) % np.float32(1) < dark
    return (across ^ along if kind == 3 else across | along).astype(np.float32)


def cast_shadow(image: Image, vertices: FloatArray, view: View, strength: float) -> Image:
    """Darken the floor where the body (V, 3) stands between it and the light; ``strength`` 0..1."""
    height, width = view.size
    rise = float(view.light @ view.up)
    if rise < 0.15:
        return image
    above = (vertices - view.ground) @ view.up
    fallen = vertices - np.outer(above / rise, view.light)
    fallen = fallen[fallen[:, 2] > 0.1]
    spot = fallen[:, :2] / fallen[:, 2:] * view.camera.focal_length + view.camera.principal_point
    column, row = np.rint(spot).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    mask = np.zeros(height * width, np.uint8)
    mask[row[inside] * width + column[inside]] = 255
    solid = cv2.morphologyEx(mask.reshape(height, width), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    soft = cv2.GaussianBlur(solid, (0, 0), 1.5)
    return (image * (1 - strength / 255 * soft[..., None].astype(np.float32))).astype(np.uint8)


def occlude(image: Image, box: NDArray, rng: np.random.Generator) -> None:
    """Put something in front of a part of the person in ``box`` (x0, y0, x1, y1); changes ``image``."""
    x0, y0, x1, y1 = box
    extent = np.array([x1 - x0, y1 - y0])
    centre = np.array([x0, y0]) + rng.uniform(0, 1, 2) * extent
    half = rng.uniform(0.06, 0.22, 2) * extent
    colour = tuple(int(c) for c in _palette(True, 1, rng)[0])
    if rng.random() < 0.5:
        corners = centre + rng.uniform(-1, 1, (rng.integers(3, 7), 2)) * half * 1.4
        cv2.fillPoly(image, [cv2.convexHull(corners.astype(np.int32))], colour, cv2.LINE_AA)
    else:
        low, high = (tuple(map(int, centre + sign * half)) for sign in (-1, 1))
        cv2.rectangle(image, low, high, colour, -1)


def photograph(image: Image, domain: str, rng: np.random.Generator) -> Image:
    """What a camera does to the scene: exposure, contrast, colour cast, blur and sensor noise."""
    strength = 1.0 if domain == "wild" else 0.4
    if rng.random() < 0.35 * strength:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.3))
    gain = np.exp(rng.normal(0, 0.12, 3) * strength * 0.6 + rng.normal(0, 0.18) * strength)
    offset = rng.normal(0, 10) * strength
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 7) * strength)
    return np.clip(image * gain.astype(np.float32) + np.float32(offset) + noise, 0, 255).astype(np.uint8)
