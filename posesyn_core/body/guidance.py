"""From a plan's bodies to the maps that guide an animator: depth, normals, body parts and a skeleton.

Ranges and colours are those of Champ's published data processing (Zhu et al. 2024), which renders the SMPL mesh with
one sample per pixel centre on black, and draws the skeleton as DWPose does (Yang et al. 2023):

- ``depth``: depth along the optical axis, scaled for every frame on its own: 255 = nearest visible point, 0 = farthest
  (and background).
- ``normal``: smooth normals in camera axes, 127.5 + 127.5 n; red = to the right, green = up, blue = towards the camera.
- ``semantic_map``: each vertex has the colour of the joint that moves it most, Viridis at 10 x its number; between
  vertices the colours blend in linear light.
- ``dwpose``: OpenPose's 18 body joints and 17 limbs. Line widths are pixels of the drawn frame, whatever its size.
- ``wan_pose``: the same with a toe of each foot, as Wan2.2-Animate was trained on (see
  :mod:`posesyn_core.body.pose_pictures`); SMPL's feet stand in for the toes.

Champ runs the detector DWPose on its normal maps. Here the joints come from the body itself, so they are where the
labels say; nose, eyes and ears are points of the mesh, left out where another part hides them. SMPL has no fingers and
no outline of the face: their strokes, which DWPose's drawing has, are missing.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.body.model import Body
from posesyn_core.body.planning import posed_vertices
from posesyn_core.body.pose_pictures import WHOLE_BODY, draw_dwpose, draw_wan_pose, openpose_order, wan_order
from posesyn_core.body.render import Buffers, interpolate, normals, render, vertex_normals
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.skeletons import COCO17, convert
from posesyn_core.values import Camera, ClipPlan, FloatArray, Image

GUIDANCE = ("depth", "normal", "semantic_map", "dwpose", "wan_pose")
"""The maps that there are; an animator's ``guidance`` names those it wants."""

Numbers = NDArray[np.floating]

# ---- a plan's maps -----------------------------------------------------------------------------------------------


def guidance_maps(
    body: Body, plan: ClipPlan, size: tuple[int, int], kinds: Sequence[str] = GUIDANCE
) -> Iterator[dict[str, Image]]:
    """The wanted maps of each frame of a plan, in order: uint8 (H, W, 3) by kind.

    ``body`` is the one that the plan was made with; ``size`` (H, W) is that of the plan's reference image. Nothing is
    computed that ``kinds`` does not name. ValueError for a kind that is not in :data:`GUIDANCE`.
    """
    unknown = set(kinds) - set(GUIDANCE)
    if unknown:
        raise ValueError(f"there is no guidance {', '.join(sorted(unknown))}; known are {', '.join(GUIDANCE)}")
    surface = Surface.of(body)
    for vertices, joints2d in zip(posed_vertices(body, plan), plan.joints2d, strict=True):
        yield frame_maps(surface, vertices, joints2d, plan.camera, size, kinds)


@frozen(eq=False)
class Surface:
    """What the maps need to know of a body: ``faces`` (F, 3), ``labels`` (V,), the joint that moves each vertex most,
    and ``face_points`` (5,), the vertices of nose, left and right eye, left and right ear."""

    faces: NDArray[np.int32]
    labels: NDArray[np.intp]
    face_points: NDArray[np.intp]

    @classmethod
    def of(cls, body: Body) -> "Surface":
        """The surface of an SMPL-layout body, whatever its mesh."""
        labels = body.weights.numpy().argmax(axis=1)
        points = _face_points(body.v_template.numpy(), np.flatnonzero(labels == HEAD))
        return cls(body.faces.numpy().astype(np.int32), labels, points)


HEAD = 15
EYE = np.array([0.032, 0.035])
"""Metres from the tip of the nose to the left eye, in the T-pose: sideways and up."""


def _face_points(rest: FloatArray, head: NDArray[np.intp]) -> NDArray[np.intp]:
    """The face's vertices (5,) of a body at rest (V, 3): of the ``head``, the nose is foremost, the ears outermost."""
    side, _, forward = rest[head].T
    nose = head[forward.argmax()]
    front = head[forward > rest[head].mean(axis=0)[2]]
    eyes = [
        front[np.linalg.norm(rest[front, :2] - rest[nose, :2] - EYE * (sign, 1), axis=1).argmin()] for sign in (1, -1)
    ]
    return np.array([nose, *eyes, head[side.argmax()], head[side.argmin()]])


def frame_maps(
    surface: Surface,
    vertices: FloatArray,
    joints2d: FloatArray,
    camera: Camera,
    size: tuple[int, int],
    kinds: Sequence[str],
) -> dict[str, Image]:
    """The wanted maps of one body: ``vertices`` (V, 3) in the camera frame, ``joints2d`` (24, 2) pixels."""
    faces = surface.faces
    seen = render(vertices, faces, camera, size)
    maps: dict[str, Image] = {}
    for kind in kinds:
        match kind:
            case "depth":
                maps[kind] = depth_map(seen)
            case "normal":
                maps[kind] = normal_map(seen, faces, vertices)
            case "semantic_map":
                maps[kind] = semantic_map(seen, faces, surface.labels)
            case "dwpose":
                keypoints, scores = body_keypoints(surface, vertices, joints2d, camera, seen)
                maps[kind] = draw_dwpose(*openpose_order(keypoints[None], scores[None]), size)
            case "wan_pose":
                keypoints, scores = body_keypoints(surface, vertices, joints2d, camera, seen)
                maps[kind] = draw_wan_pose(*wan_order(keypoints, scores), size)
    return maps


# ---- maps of a rendered surface ----------------------------------------------------------------------------------


def depth_map(seen: Buffers) -> Image:
    """Depth as grey (H, W, 3): the nearest visible point 255, the farthest and the background 0."""
    if not len(seen.pixel):
        return np.zeros((*seen.size, 3), np.uint8)
    near, far = seen.distance.min(), seen.distance.max()
    grey = 255 * (far - seen.distance) / max(far - near, np.finfo(np.float32).tiny)
    return np.repeat(seen.dense(_bytes(grey))[..., None], 3, axis=-1)


_FROM_CAMERA = np.array([1, -1, -1], np.float32)
"""Right, up, towards the camera, out of the camera frame's right, down, away."""


def normal_map(seen: Buffers, faces: NDArray, vertices: FloatArray) -> Image:
    """Normals as colours (H, W, 3): right, up, towards the camera; black where there is nothing."""
    towards = normals(seen, faces, vertex_normals(vertices, faces, by="angle")) * _FROM_CAMERA
    return seen.dense(_bytes(127.5 + 127.5 * towards))


def semantic_map(seen: Buffers, faces: NDArray, labels: NDArray) -> Image:
    """Body parts as colours (H, W, 3) for vertices labelled 0..23 by ``labels`` (V,); black where there is nothing."""
    light = interpolate(seen, faces, _linear(part_colours() / 255)[labels])
    return seen.dense(_bytes(255 * _encoded(light)))


@lru_cache
def part_colours() -> Image:
    """(24, 3) RGB: Viridis, as OpenCV has it, at 10 times the joint's number."""
    (scale,) = cv2.applyColorMap(np.arange(0, 240, 10, dtype=np.uint8)[None], cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(scale[:, ::-1])


def _bytes(values: FloatArray) -> NDArray[np.uint8]:
    return (np.clip(values, 0, 255) + np.float32(0.5)).astype(np.uint8)


def _linear(encoded: Numbers) -> FloatArray:
    """sRGB 0..1 to linear light."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _encoded(linear: FloatArray) -> FloatArray:
    """Linear light 0..1 to sRGB."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** np.float32(1 / 2.4) - 0.055)


# ---- the skeleton ------------------------------------------------------------------------------------------------

_FEET, _TOES = [10, 10, 11, 11], [17, 18, 20, 21]
"""SMPL's feet, and big and small toe of left and right foot in COCO-WholeBody."""
HIDDEN_BEHIND = 0.03
"""Metres: a point of the face that lies further behind what its pixel shows is hidden."""


def body_keypoints(
    surface: Surface, vertices: FloatArray, joints2d: FloatArray, camera: Camera, seen: Buffers
) -> tuple[Numbers, Numbers]:
    """COCO-WholeBody key points (133, 2) in pixels and scores (133,), 0 or 1, of one body.

    A joint scores if it lies in the image; a point of the face also must not be hidden. SMPL's feet are both toes of
    their foot; what SMPL lacks scores 0.
    """
    coco, known = convert(joints2d, None, "smpl24", COCO17.name)
    face = vertices[surface.face_points]
    coco[:5] = project(face, camera.focal_length, camera.principal_point)
    inside, feet = _inside(coco, seen.size), joints2d[_FEET]
    column, row = np.where(inside[:5, None], coco[:5], 0).astype(int).T
    shown = face[:, 2] < seen.depth[row, column] + HIDDEN_BEHIND
    points, scores = np.zeros((WHOLE_BODY, 2), np.float32), np.zeros(WHOLE_BODY)
    points[:17], scores[:17] = coco, inside & np.concatenate([shown, known[5:]])
    points[_TOES], scores[_TOES] = feet, _inside(feet, seen.size)
    return points, scores


def _inside(points: FloatArray, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which points (N, 2) lie in a picture of ``size`` (H, W): (N,)."""
    height, width = size
    inside: NDArray[np.bool_] = np.logical_and.reduce(
        np.isfinite(points) & (points >= 0) & (points < (width, height)), axis=-1
    )
    return inside
