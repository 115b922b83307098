"""Pictures and motion requests that engines are tried on: each different, and all of people."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from posesyn_core.body.model import load_body
from posesyn_core.body.render import composite, diffuse, normals, render, vertex_normals
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.geometry.cameras import project
from posesyn_core.method.orientation import camera_to_y_up
from posesyn_core.seeds import rng
from posesyn_core.values import Camera, Detected, Image, MotionRequest, Sample, SmplParams

PICTURES = 16
SIZE = 192
CAMERA = Camera(np.full(2, 260, np.float32), np.full(2, SIZE / 2, np.float32))
SEEN = np.ones(24, np.float32)
CAPTIONS = (
    "a person walks forward and waves",
    "a man crouches down, then jumps to the left",
    "someone turns around slowly with raised arms",
    "a person kicks with the right leg and falls",
)


@cache
def probe_samples(count: int = PICTURES, of: str = "probe") -> tuple[Sample, ...]:
    """Rendered people in random poses, headings, places and light before random backgrounds; always the same ones.

    Another word than "probe" says other people.
    """
    draw = rng(0, "engines", of)
    smpl, vertices, joints = _bodies(count, draw)
    faces = load_body().faces.numpy()
    return tuple(_sample(at, smpl[at], vertices[at], joints[at], faces, draw) for at in range(count))


def probe_requests() -> list[MotionRequest]:
    """A motion about the pose of each of the first probe pictures."""
    _, _, joints = _bodies(len(CAPTIONS), rng(0, "engines", "probe"))
    return [
        MotionRequest(f"probe{at}", f"probe{at}", caption, at, camera_to_y_up(joints[at, :22] - joints[at, :1]))
        for at, caption in enumerate(CAPTIONS)
    ]


def _bodies(count: int, draw: np.random.Generator) -> tuple[list[SmplParams], NDArray[np.float32], NDArray[np.float32]]:
    """Parameters, vertices (N, V, 3) and joints (N, 24, 3) in the camera frame, metres."""
    upright = np.array([np.pi, 0, 0]) * np.ones((count, 1))
    orient = upright + draw.normal(0, 0.25, (count, 3))
    pose, betas = draw.normal(0, 0.25, (count, 23, 3)), draw.normal(0, 1, (count, 10))
    transl = np.array([0, 0, 3.2]) + draw.uniform(-0.3, 0.3, (count, 3))
    with torch.inference_mode():
        posed = load_body()(*(torch.as_tensor(v, dtype=torch.float32) for v in (orient, pose, betas, transl)))
    smpl = [SmplParams(*parts) for parts in zip(orient, pose, betas, transl, strict=True)]
    return smpl, posed.vertices.numpy(), posed.joints3d.numpy()


def _sample(
    number: int,
    smpl: SmplParams,
    vertices: NDArray[np.float32],
    joints: NDArray[np.float32],
    faces: NDArray[np.int64],
    draw: np.random.Generator,
) -> Sample:
    seen = render(vertices, faces, CAMERA, (SIZE, SIZE))
    light = diffuse(normals(seen, faces, vertex_normals(vertices, faces)), draw.normal(size=3) - [0, 1, 2])
    picture = composite(seen, draw.uniform(60, 255, 3).astype(np.float32) * light, _background(draw))
    joints2d = project(joints, CAMERA.focal_length, CAMERA.principal_point)
    return Sample(
        f"probe{number}",
        encode_png(picture),
        joint_boxes(joints2d[None])[0],
        "smpl24",
        joints2d,
        SEEN,
        CAMERA,
        detected=Detected("smpl24", joints2d, SEEN),
        joints3d=joints - joints[:1],
        smpl=smpl,
    )


def _background(draw: np.random.Generator) -> Image:
    """Colour patches of several sizes (H, W, 3)."""
    layers = [draw.uniform(0, 255, (n, n, 3)).repeat(SIZE // n, 0).repeat(SIZE // n, 1) for n in (2, 6, 24, 96)]
    return np.mean(layers, axis=0).astype(np.uint8)
