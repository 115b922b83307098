"""Estimates drawn on pictures: skeletons, and beside them the bodies."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from posesyn_core.body.model import Body
from posesyn_core.body.render import composite, diffuse, normals, render, vertex_normals, window
from posesyn_core.drawing.skeletons import draw_skeleton, unseen_joints
from posesyn_core.geometry.arrays import to_tensor
from posesyn_core.geometry.joints import known_joints
from posesyn_core.values import FloatArray, Image, PoseEstimate

SMOOTH = 2
"""Meshes are drawn this much larger, for soft edges."""
LIGHT = np.array([0.3, -0.5, -1.0])
SKIN = np.array([172.0, 196.0, 226.0], np.float32)
OPAQUE = 0.85


def posed_vertices(body: Body, estimate: PoseEstimate) -> FloatArray:
    """(V, 3) metres, camera frame: the surface of the estimate's body."""
    smpl = estimate.smpl
    assert smpl is not None
    device = body.v_template.device
    arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    with torch.inference_mode():
        return body(*(to_tensor(array)[None].to(device) for array in arrays)).vertices[0].cpu().numpy()


def overlay(image: Image, found: Sequence[PoseEstimate], surfaces: Mapping[int, FloatArray], body: Body) -> Image:
    """The picture with skeletons; beside it, if there are ``surfaces`` (by the estimates' ids), with the bodies."""
    drawn = image
    for estimate in found:
        unseen = unseen_joints(estimate.joints2d, image.shape, estimate.confidence)
        known = known_joints(estimate, 2)
        drawn = draw_skeleton(drawn, estimate.joints2d, estimate.joint_set, known, unseen=unseen)
    if not surfaces:
        return drawn.copy()
    solid, faces = image, body.faces.cpu().numpy()
    bodies = [(surfaces[id(estimate)], estimate) for estimate in found if id(estimate) in surfaces]
    for vertices, estimate in sorted(bodies, key=lambda pair: -float(pair[0][:, 2].mean())):  # far ones first
        solid = _draw_body(solid, vertices, faces, estimate)
    return np.hstack([drawn, solid])


def _draw_body(image: Image, vertices: FloatArray, faces: NDArray[np.int64], estimate: PoseEstimate) -> Image:
    extent = (image.shape[0], image.shape[1])
    size = (SMOOTH * extent[0], SMOOTH * extent[1])
    seen = render(vertices, faces, window(estimate.camera, (0, 0), extent, size), size)
    colours = SKIN * diffuse(normals(seen, faces, vertex_normals(vertices, faces)), LIGHT)
    solid = composite(seen, colours, image)
    return (OPAQUE * solid + (1 - OPAQUE) * image + 0.5).astype(np.uint8)
