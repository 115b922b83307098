"""Mesh rendering on the CPU: a z-buffer over whole arrays, without GL, drivers or system packages.

A body's triangles are small (a person 160 pixels tall shows about one triangle per pixel), so listing every pixel of
every triangle's bounding box and testing them all at once is four to six times faster than building a ray tracer's
hierarchy anew for each frame, and hits the same pixels (``bench/render.py`` compares with embreex). numpy releases the
interpreter lock in these operations and nothing here has state: call it from as many threads as you like.

``render`` finds what each pixel sees. Everything else (normals, colours, parts) is computed afterwards for the P
covered pixels alone, as flat (P, ...) arrays that :meth:`Buffers.dense` spreads over an image::

    seen = render(vertices, faces, camera, size)
    normal_map = seen.dense(normals(seen, faces, vertex_normals(vertices, faces)))
    image = composite(seen, texture_colours(seen, uv, texture) * diffuse(...), background)
"""

from typing import Literal

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.values import Camera, FloatArray, Image

IntArray = NDArray[np.int32]

NEAR = np.float32(0.05)
"""Triangles with a corner nearer than this (metres) are not drawn."""

CANDIDATES_AT_ONCE = 1 << 20
"""How many (triangle, pixel) pairs are tested together: bounds the memory for large images."""

SLACK = np.float32(-1e-5)
"""How far outside its triangle a pixel centre may lie: rounding must leave no holes along shared edges."""


@frozen(eq=False)
class Buffers:
    """What every covered pixel of an image shows: P pixels in ascending order, of an image of ``size`` (H, W).

    pixel: (P,) flat index row * W + column; face: (P,) the visible triangle; weights: (P, 3) perspective-correct
    barycentric weights of its corners (sum 1); distance: (P,) depth along the optical axis, metres.
    """

    size: tuple[int, int]
    pixel: NDArray[np.int64]
    face: IntArray
    weights: FloatArray
    distance: FloatArray

    def dense(self, values: NDArray, fill: float = 0) -> NDArray:
        """Spread (P, ...) per-pixel values over the image: (H, W, ...), ``fill`` where no triangle is seen."""
        height, width = self.size
        image = np.full((height * width, *values.shape[1:]), fill, dtype=values.dtype)
        image[self.pixel] = values
        return image.reshape(height, width, *values.shape[1:])

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W): True where a triangle is seen."""
        return self.dense(np.ones(len(self.pixel), dtype=bool))

    @property
    def face_index(self) -> IntArray:
        """(H, W): the visible triangle, -1 where there is none."""
        return self.dense(self.face, fill=-1)

    @property
    def barycentric(self) -> FloatArray:
        """(H, W, 3): weights of the triangle's corners, 0 where there is none."""
        return self.dense(self.weights)

    @property
    def depth(self) -> FloatArray:
        """(H, W): depth along the optical axis in metres, infinite where there is nothing."""
        return self.dense(self.distance, fill=np.inf)


def render(vertices: NDArray, faces: NDArray, camera: Camera, size: tuple[int, int], *, cull: bool = True) -> Buffers:
    """Find the triangle that every pixel centre sees.

    Args:
        vertices: (V, 3) metres, camera frame (x right, y down, z away).
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        camera: maps a point to pixel = focal_length * (x, y) / z + principal_point; pixel centres are integers.
        size: (H, W) of the image.
        cull: leave out triangles seen from behind; right for closed bodies, and twice as fast.
    """
    depth = vertices[:, 2].astype(np.float32)
    inverse_depth = 1 / np.maximum(depth, NEAR)
    plane = vertices[:, :2] * inverse_depth[:, None] * camera.focal_length + camera.principal_point
    x, y = np.ascontiguousarray(plane.T, dtype=np.float32)
    corners = faces.T  # (3, F): one contiguous row per corner
    drawn = (depth > NEAR)[corners].all(axis=0)
    return _rasterise(x[corners], y[corners], inverse_depth[corners], drawn, size, cull)


def window(camera: Camera, corner: tuple[int, int], extent: tuple[int, int], size: tuple[int, int]) -> Camera:
    """The camera of a part of the image drawn at another resolution.

    Args:
        camera: of the full image.
        corner: (x, y) of the part's first pixel.
        extent: (H, W) of the part in pixels of the full image.
        size: (H, W) of the picture that it becomes: larger than ``extent`` to supersample.
    """
    scale = np.array([size[1] / extent[1], size[0] / extent[0]])
    principal_point = (camera.principal_point - np.array(corner) + 0.5) * scale - 0.5  # pixel edges stay edges
    return Camera(camera.focal_length * scale, principal_point)


def vertex_normals(vertices: NDArray, faces: NDArray, by: Literal["area", "angle"] = "area") -> FloatArray:
    """Unit normals (V, 3) of a smooth surface: the mean over the triangles around each vertex.

    Triangles count by their ``area``, or by the ``angle`` that they fill at the vertex, which takes twice the time and
    does not depend on how the surface is cut into triangles.
    """
    corners = vertices[faces.T]
    a, b, c = corners
    across = np.cross(b - a, c - a)
    weights = None
    if by == "angle":
        across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
        edges = np.roll(corners, -1, axis=0) - corners
        edges = edges / np.maximum(np.linalg.norm(edges, axis=2, keepdims=True), 1e-12)
        weights = np.arccos(np.clip(-np.einsum("kfc,kfc->fk", edges, np.roll(edges, 1, axis=0)), -1, 1))
    corner = faces.ravel()
    total = [
        np.bincount(
            corner,
            np.repeat(axis, 3) if weights is None else (weights * axis[:, None]).ravel(),
            minlength=len(vertices),
        )
        for axis in across.T
    ]
    normal = np.stack(total, axis=1)
    return (normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def interpolate(buffers: Buffers, faces: NDArray, values: NDArray) -> FloatArray:
    """Per-vertex values (V, C) at the covered pixels: (P, C)."""
    return _blend(buffers.weights, values[faces[buffers.face]])


def normals(buffers: Buffers, faces: NDArray, of_vertices: FloatArray) -> FloatArray:
    """Smooth unit normals (P, 3) of the covered pixels from :func:`vertex_normals` (V, 3)."""
    blended = interpolate(buffers, faces, of_vertices)
    return blended / np.maximum(np.linalg.norm(blended, axis=1, keepdims=True), 1e-12)


def parts(buffers: Buffers, part_labels: NDArray) -> NDArray:
    """Part label (P,) of the visible triangles; ``part_labels`` is (F,)."""
    return part_labels[buffers.face]


def texture_colours(buffers: Buffers, uv: FloatArray, texture: Image | FloatArray) -> FloatArray:
    """Bilinear texture colours (P, C) for ``uv`` (F, 3, 2) in 0..1, v up, and a ``texture`` (H, W, C)."""
    height, width = texture.shape[:2]
    u, v = _blend(buffers.weights, uv[buffers.face]).T
    x, y = np.clip(u * width - 0.5, 0, width - 1.001), np.clip((1 - v) * height - 0.5, 0, height - 1.001)
    column, row = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - column)[:, None], (y - row)[:, None]
    texel = texture.reshape(height * width, -1)
    first = row * width + column
    upper = texel[first] * (1 - fx) + texel[first + 1] * fx
    lower = texel[first + width] * (1 - fx) + texel[first + width + 1] * fx
    return upper * (1 - fy) + lower * fy


def diffuse(normal: FloatArray, direction: NDArray, ambient: float = 0.5) -> FloatArray:
    """Brightness (P, 1) in ``ambient``..1 of a matt surface: unit ``normal`` (P, 3), ``direction`` (3,) to light."""
    toward = (direction / np.linalg.norm(direction)).astype(np.float32)
    return ambient + (1 - ambient) * np.maximum(normal @ toward, 0)[:, None]


def composite(buffers: Buffers, colours: FloatArray, background: Image, *, soften: bool = False) -> Image:
    """Draw the covered pixels' colours (P, 3) in 0..255 over ``background`` (H, W, 3).

    The buffers may have another size than the background (see :func:`window`): edges are soft where they are finer by
    half or more. ``soften`` spreads the outline over its neighbouring pixels where they are not.
    """
    height, width = background.shape[:2]
    opaque = np.empty((len(colours), 4), np.float32)
    np.clip(colours, 0, 255, out=opaque[:, :3])
    opaque[:, 3] = 1
    drawn = buffers.dense(opaque)
    if buffers.size != (height, width):
        shrinks = buffers.size[0] > height
        drawn = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if soften:
        blurred = cv2.GaussianBlur(drawn, (3, 3), 0.7)
        drawn = np.where(blurred[..., 3:] < 0.999, blurred, drawn)
    image = background.copy()
    touched = drawn[..., 3] > 0
    mixed = drawn[touched]
    image[touched] = mixed[:, :3] + background[touched] * (1 - mixed[:, 3:]) + 0.5
    return image


def _blend(weights: FloatArray, corners: NDArray) -> FloatArray:
    """Weighted mean (P, C) of the corners' values (P, 3, C)."""
    return np.einsum("pk,pkc->pc", weights, corners)


def _rasterise(
    x: FloatArray, y: FloatArray, inverse_depth: FloatArray, drawn: NDArray[np.bool_], size: tuple[int, int], cull: bool
) -> Buffers:
    """The z-buffer: corners' pixel coordinates and 1 / depth (3, F); ``drawn`` (F,) says which triangles count."""
    height, width = size
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])  # negative = seen from outside (y is down)
    left, right = _span(x, width)
    top, bottom = _span(y, height)
    visible = drawn & (right >= left) & (bottom >= top) & ((area < 0) if cull else (area != 0))
    chosen = np.flatnonzero(visible).astype(np.int32)
    counts = (right - left + 1)[chosen] * (bottom - top + 1)[chosen]

    nearest = np.full(height * width, np.inf, dtype=np.float32)
    found = []
    cuts = np.flatnonzero(np.diff(np.cumsum(counts, dtype=np.int64) // CANDIDATES_AT_ONCE)) + 1
    for face, count in zip(np.split(chosen, cuts), np.split(counts, cuts), strict=True):
        owner, column, row = _box_pixels(left[face], top[face], right[face], count)
        weights = _plane_weights(x[:, face], y[:, face], area[face], owner, column, row)
        inside = np.flatnonzero((weights >= SLACK).all(axis=0))
        seen = face[owner[inside]]
        weights = weights[:, inside] * inverse_depth[:, seen]  # linear in the image: weight / depth
        distance = 1 / weights.sum(axis=0)
        pixel = row[inside].astype(np.int64) * width + column[inside]
        np.minimum.at(nearest, pixel, distance)
        front = distance <= nearest[pixel]
        found.append((pixel[front], seen[front], (weights * distance)[:, front].T, distance[front]))
    pixels, triangles, weights, distance = (np.concatenate(column) for column in zip(*found, strict=True))
    kept = _front(pixels, distance, nearest)
    return Buffers(size, pixels[kept], triangles[kept], weights[kept], distance[kept])


def _span(coordinate: FloatArray, limit: int) -> tuple[IntArray, IntArray]:
    """First and last pixel centre between each triangle's corners (3, F), within 0..limit-1."""
    low = np.minimum(np.minimum(coordinate[0], coordinate[1]), coordinate[2])
    high = np.maximum(np.maximum(coordinate[0], coordinate[1]), coordinate[2])
    first = np.ceil(np.clip(low, 0, limit)).astype(np.int32)
    return first, np.floor(np.clip(high, -1, limit - 1)).astype(np.int32)


def _box_pixels(
    left: IntArray, top: IntArray, right: IntArray, counts: IntArray
) -> tuple[NDArray[np.int64], IntArray, IntArray]:
    """List every pixel of K bounding boxes: (owner 0..K-1, column, row), each (sum of counts,)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    place = (np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]).astype(np.int32)
    row, column = np.divmod(place, (right - left + 1)[owner])
    return owner, column + left[owner], row + top[owner]


def _plane_weights(
    x: FloatArray, y: FloatArray, area: FloatArray, owner: NDArray[np.int64], column: IntArray, row: IntArray
) -> FloatArray:
    """Barycentric weights (3, N), in the image plane, of N pixels within their triangles (corners x, y: (3, K))."""
    slopes = np.stack([y[2] - y[0], x[0] - x[2], y[0] - y[1], x[1] - x[0]]) / area
    a1, b1, a2, b2 = slopes[:, owner]
    dx, dy = column.astype(np.float32) - x[0, owner], row.astype(np.float32) - y[0, owner]
    second, third = a1 * dx + b1 * dy, a2 * dx + b2 * dy
    return np.stack([1 - second - third, second, third])


def _front(pixel: NDArray[np.int64], distance: FloatArray, nearest: FloatArray) -> NDArray[np.int64]:
    """Index of one candidate per pixel, pixels ascending: the nearest, and of equals the one listed last."""
    front = np.flatnonzero(distance <= nearest[pixel])
    winner = np.full(len(nearest), -1, dtype=np.int64)
    winner[pixel[front]] = front
    return winner[winner >= 0]
