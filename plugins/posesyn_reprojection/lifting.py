"""From a reference image and an estimated body to a person who can be posed.

The texture of the body is the reference picture itself: a surface point is coloured by the pixel at which the reference
shows it. Points that the reference does not show borrow the pixel of the most similar point that it does: the other
arm's, or the one on the other side of the trunk.
"""

import cv2
import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from posesyn_core.body.model import Body
from posesyn_core.body.render import Buffers, render, vertex_normals, window
from posesyn_core.errors import SampleError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.skeletons import convert, joint_set
from posesyn_core.seeds import rng
from posesyn_core.values import Camera, FloatArray, Image, PoseEstimate, Sample, SmplParams
from posesyn_reprojection.segmentation import Mask, person_mask, remove, spread, told_mask

MARGIN = 0.15
"""Surroundings of the reference person that are looked at, as a share of the person's size."""

TOLERANCE = 0.02
"""How far (metres) a surface point may lie behind what its pixel shows and still count as seen."""

GRAZING = 0.35
"""Least cosine between a point's normal and the ray to the camera: the outline's own colours are half background."""

NEAR = 2
"""How far outside the person's pixels, in pixels, a point may project and still be that pixel's."""

TRUNK = [16, 17, 2, 1]
"""SMPL's shoulders and hips, around the trunk."""


@frozen(eq=False)
class Person:
    """A reference person ready to be posed.

    background: the picture without the person, (H, W, 3); texture: the part of the picture about the person, with the
    person's colours spread over everything else; uv: (F, 3, 2) place of the faces' corners in it; trust: (V, 1), 0..1,
    how far that is to be believed at each vertex; colours: (V, 3) what to use where it is not.
    """

    background: Image
    texture: Image
    uv: FloatArray
    trust: FloatArray
    colours: FloatArray


class Surface:
    """What the lifting needs to know of a body's surface, worked out once.

    faces (F, 3); ``kin`` (V, 4): points that look alike lie close together in it; ``neighbours`` (V, V): the mean over
    adjacent vertices; ``nearness`` (V, 24), 0..1: to the joints; ``trunk`` (F,): is the face trunk or head?
    """

    def __init__(self, body: Body) -> None:
        self.faces = body.faces.numpy().astype(np.int32)
        rest = body.v_template.numpy()
        names = np.array(body.part_names)
        labels = body.part_labels.numpy()
        apart = np.linalg.norm(rest[:, None] - body.rest_joints(torch.zeros(1, 10)).numpy(), axis=-1)
        self.nearness = np.exp(-0.5 * (apart / 0.12) ** 2)
        self.trunk = np.isin(names[labels], ["head", "scalp", "torso", "hips"])
        on_head = np.zeros(len(rest), bool)
        on_head[self.faces[np.isin(names[labels], ["head", "scalp"])]] = True
        side, height, front = rest.T
        depth = np.where(on_head, 1.0, 0.4) * front  # a back looks like the front of it, but a nape not like a face
        self.kin = np.stack([np.abs(side), height, depth, 0.03 * np.sign(side)], axis=1)
        ends = self.faces[:, [0, 1, 2, 1, 2, 0]].reshape(-1, 2, 3).transpose(1, 0, 2).reshape(2, -1)
        both = np.concatenate([ends, ends[::-1]], axis=1)
        links = csr_matrix((np.ones(both.shape[1], np.float32), both), shape=(len(rest), len(rest)))
        self.neighbours = csr_matrix(links.multiply(1 / np.maximum(links.sum(axis=1), 1)))


def lift(
    body: Body,
    surface: Surface,
    reference: Sample,
    estimate: PoseEstimate,
    resolution: int,
    shown: FloatArray | None = None,
) -> Person:
    """Find the person in the reference image and lay its pixels onto the estimated body.

    ``shown`` (H, W), 0..1, is how surely each pixel of the image shows the person; without it the outline is found by
    colour.

    SampleError if the estimator gives no body, or a body that is not in the image.
    """
    if estimate.smpl is None:
        raise SampleError("the estimator gives no body (SMPL) for the reference")
    smpl, image = estimate.smpl, load_image(reference.image)
    vertices, joints = _posed(body, smpl)
    seen_at = project(joints, estimate.camera.focal_length, estimate.camera.principal_point)
    labels, known = convert(reference.keypoints2d, reference.confidence > 0, reference.joint_set, "smpl24")
    error = np.where(known[:, None], labels - seen_at, 0)
    vertices = _pulled(surface, vertices, error, known, estimate.camera)
    pixels = in_front(vertices, estimate.camera)
    if not len(pixels):
        raise SampleError("the estimated body of the reference lies behind the camera")
    corner, extent = _surroundings(np.vstack([pixels, reference.box.reshape(2, 2)]), image.shape[:2])
    rows, columns = (slice(corner[1], corner[1] + extent[0]), slice(corner[0], corner[0] + extent[1]))
    part = image[rows, columns]
    scale = min(1.0, resolution / max(extent))
    size = max(2, round(extent[0] * scale)), max(2, round(extent[1] * scale))
    camera = window(estimate.camera, corner, extent, size)
    picture = _resized(part, size)

    seen = render(vertices, surface.faces, camera, size)
    silhouette = seen.mask.astype(np.uint8)
    if silhouette.sum() < 50:
        raise SampleError("the estimated body of the reference lies outside its image")
    core = _core(surface, seen, reference, (np.array(corner) - 0.5) * scale + 0.5, scale)
    told = None if shown is None else told_mask(_resized(shown[rows, columns], size), silhouette)
    if told is None:
        mask = person_mask(picture, silhouette, core, _inside((reference.box.reshape(2, 2) - corner) * scale, size))
        removed = mask | silhouette
    else:
        mask, removed = told
    removed = cv2.resize(removed, extent[::-1], interpolation=cv2.INTER_NEAREST)
    background = image.copy()
    background[rows, columns] = remove(part, removed, rng(0, reference.id, "background"))
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8))  # outline pixels are half background
    texture = spread(picture, inner if inner.any() else mask)
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=NEAR)
    uv, trust, colours = _borrow(surface, vertices, seen, near, camera, texture)
    return Person(background, texture, uv, trust, colours)


def _resized(picture: NDArray, size: tuple[int, int]) -> NDArray:
    """To ``size`` (H, W), if it isn't that."""
    same = picture.shape[:2] == size
    return picture if same else cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def _posed(body: Body, smpl: SmplParams) -> tuple[FloatArray, FloatArray]:
    """Vertices (V, 3) and joints (24, 3) of a body."""
    parameters = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    with torch.inference_mode():
        found = body(*(torch.from_numpy(np.array(array))[None] for array in parameters))
    return found.vertices[0].numpy(), found.joints3d[0].numpy()


def _pulled(
    surface: Surface, vertices: FloatArray, error: NDArray, known: NDArray[np.bool_], camera: Camera
) -> FloatArray:
    """Vertices (V, 3) of the estimate, shifted in the image so that the labelled joints are met.

    An estimate is some centimetres off, an annotator far less: every surface point follows the labelled joints about
    it, at its own depth. ``error`` (24, 2) is label - estimate in pixels, ``known`` (24,) says which joints have one;
    far from those nothing moves.
    """
    weight = surface.nearness * known
    shift = weight @ error / (weight.sum(axis=1, keepdims=True) + 0.05)
    return np.column_stack([vertices[:, :2] + shift * vertices[:, 2:] / camera.focal_length, vertices[:, 2]])


def _core(surface: Surface, seen: Buffers, reference: Sample, origin: NDArray, scale: float) -> Mask:
    """What is surely the person (H, W), 0 or 1: the bones between labelled joints and the inside of the trunk, by its
    labels or, where they are not complete, by the estimate. Labels * ``scale`` - ``origin`` are pixels of ``seen``."""
    points = np.nan_to_num(reference.keypoints2d * scale - origin)
    points = np.clip(points, -4 * max(seen.size), 4 * max(seen.size)).round().astype(np.int32)
    labelled = reference.confidence > 0
    around, complete = convert(points, labelled, reference.joint_set, "smpl24")
    width = max(1, round(0.015 * max(seen.size)))
    if complete[TRUNK].all():
        core = cv2.fillPoly(np.zeros(seen.size, np.uint8), [around[TRUNK].astype(np.int32)], 1)
    else:
        trunk = seen.dense(surface.trunk[seen.face].astype(np.uint8))
        core = cv2.erode(trunk, np.ones((2 * width + 1, 2 * width + 1), np.uint8))
    bones = np.array(joint_set(reference.joint_set).bones)
    return cv2.polylines(core, list(points[bones[labelled[bones].all(axis=1)]]), False, 1, width)


def _inside(corners: NDArray, size: tuple[int, int]) -> Mask:
    """The mask (H, W) of a box given by its two corners (2, 2) in pixels."""
    (x0, y0), (x1, y1) = np.clip(corners, 0, size[::-1]).astype(int)
    mask = np.zeros(size, np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def in_front(vertices: FloatArray, camera: Camera) -> FloatArray:
    """Pixels of the vertices that lie before the camera, (at most V, 2)."""
    ahead = vertices[vertices[:, 2] > 0.05]
    return project(ahead, camera.focal_length, camera.principal_point)


def _surroundings(pixels: FloatArray, size: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """First pixel (x, y) and extent (H, W) of the part of an image about a person; SampleError if there is none."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    around = MARGIN * (high - low).max()
    limit = np.array(size[1::-1])
    x0, y0 = np.clip(np.floor(low - around), 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(high + around) + 1, 0, limit).astype(int)
    if x1 - x0 < 8 or y1 - y0 < 8:
        raise SampleError("the estimated body of the reference lies outside its image")
    return (int(x0), int(y0)), (int(y1 - y0), int(x1 - x0))


def _borrow(
    surface: Surface, vertices: FloatArray, seen: Buffers, near: Mask, camera: Camera, texture: Image
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where each face finds its colours in the texture: ``uv``, ``trust`` and ``colours`` of :class:`Person`.

    A vertex that the reference shows uses its own pixel, another one that of the shown vertex it is most akin to. A
    face whose corners borrowed from places apart would show a smear; such faces are not trusted.
    """
    pixels = project(vertices, camera.focal_length, camera.principal_point)
    shown = np.flatnonzero(_shown(surface, vertices, pixels, seen, near))
    if len(shown) < 20:
        raise SampleError("the estimated body of the reference lies outside its image")
    source = np.arange(len(vertices))
    hidden = np.setdiff1d(source, shown)
    source[hidden] = shown[cKDTree(surface.kin[shown]).query(surface.kin[hidden])[1]]
    place = pixels[source]

    corners = surface.faces.T
    edges = [(corners[a], corners[b]) for a, b in ((0, 1), (1, 2), (2, 0))]
    pull = np.max([np.linalg.norm(place[a] - place[b], axis=1) for a, b in edges], axis=0)
    length = np.max([np.linalg.norm(vertices[a] - vertices[b], axis=1) for a, b in edges], axis=0)
    expected = length * float(camera.focal_length[0]) / float(np.median(vertices[:, 2]))
    sound = (pull < 2 * expected + 1).astype(np.float64)
    around = np.bincount(surface.faces.ravel(), minlength=len(vertices))
    trust = np.bincount(surface.faces.ravel(), np.repeat(sound, 3), len(vertices)) / np.maximum(around, 1)

    height, width = texture.shape[:2]
    column, row = np.rint(np.clip(place, 0, [width - 1, height - 1])).astype(int).T
    colours = texture[row, column].astype(np.float32)
    for _ in range(4):  # neighbours that borrowed from different places differ in colour: even that out
        colours = np.where(trust[:, None] > 0.99, colours, surface.neighbours @ colours)
    uv = (place + 0.5) / [width, height]
    uv[:, 1] = 1 - uv[:, 1]
    return uv.astype(np.float32)[surface.faces], trust.astype(np.float32)[:, None], colours


def _shown(surface: Surface, vertices: FloatArray, pixels: FloatArray, seen: Buffers, near: Mask) -> NDArray[np.bool_]:
    """Which vertices the reference shows: turned to the camera and, with the pixels around, not behind another part."""
    height, width = seen.size
    column, row = np.rint(pixels).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    nearest = cv2.erode(seen.depth, np.ones((3, 3), np.uint8))
    row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    facing = -np.einsum("vc,vc->v", vertex_normals(vertices, surface.faces), vertices)
    turned = facing > GRAZING * np.linalg.norm(vertices, axis=1)
    return inside & turned & (near[row, column] > 0) & (vertices[:, 2] < nearest[row, column] + TOLERANCE)
