"""Claim: all four guidance maps of a 512 x 512 frame at 10 frames per second and more, on two cores.

The free body, 460 pixels tall, walks on the spot while it turns; maps are those of Champ's data processing. The
reference draws what it can of the same frames, in turns with ours in one run:

- pyrender, if it can be imported: depth, normals and parts, as vertex colours in two passes, each mesh sent anew as for
  a moving person. It needs OpenGL; without a display that is OSMesa (Debian: libosmesa6), which draws on the processor,
  on as many threads as there are cores. In a virtual environment of its own: ``pip install pyrender``, and then
  ``pip install 'PyOpenGL>=3.1.7'``, which knows OSMesa though pyrender asks for an older one.
- Otherwise what a textbook says: depth, normals and parts triangle by triangle, over each one's bounding box, in numpy.

Printed are frames per second on the clock and of processor time, their ratios, and how far the maps agree.

    python bench/rendering.py [--frames 20] [--reference 4] [--turns 3] [--threads 2]
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from posesyn_core.body.guidance import Surface, depth_map, frame_maps, normal_map, part_colours, semantic_map
from posesyn_core.body.model import load_body
from posesyn_core.body.render import Buffers, vertex_normals
from posesyn_core.geometry.cameras import project
from posesyn_core.values import Camera, FloatArray, Image

SIZE = (512, 512)
CAMERA = Camera(np.full(2, 1000.0), np.full(2, 255.5))
KINDS = ("depth", "normal", "semantic_map", "dwpose")
Draw = Callable[[Surface, FloatArray], dict[str, Image]]
"""Maps by kind of a surface whose vertices (V, 3) are in the camera frame."""
OPENGL = np.array([1, -1, -1], np.float32)
"""Right, up, towards the camera, out of the camera frame's right, down, away."""


def seconds(work: Callable[[], object]) -> np.ndarray:
    """(2,): what ``work`` takes on the clock, and of the processor's time on all threads."""
    started, spent = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - started, time.process_time() - spent])


def walk(frames: int) -> tuple[Surface, FloatArray, FloatArray]:
    """The body's surface, its vertices (L, V, 3) and joints in pixels (L, 24, 2)."""
    body, time_ = load_body(), torch.linspace(0, 6, frames)
    pose = torch.zeros(frames, 23, 3)
    pose[:, 0, 0], pose[:, 1, 0] = 0.5 * torch.sin(time_), -0.5 * torch.sin(time_)
    pose[:, 15, 2], pose[:, 16, 2] = -1.0, 1.0
    turn = time_ / 2
    orient = torch.stack([torch.pi * torch.cos(turn / 2), torch.zeros(frames), -torch.pi * torch.sin(turn / 2)], 1)
    with torch.inference_mode():
        posed = body(orient, pose, torch.zeros(frames, 10), torch.tensor([[0, -0.3, 3.8]]).expand(frames, 3))
    pixels = project(posed.joints3d.numpy(), CAMERA.focal_length, CAMERA.principal_point)
    return Surface.of(body), posed.vertices.numpy(), pixels


def plain(surface: Surface, vertices: FloatArray) -> dict[str, Image]:
    """Depth, normals and parts, one triangle after the other."""
    height, width = SIZE
    pixels = project(vertices, CAMERA.focal_length, CAMERA.principal_point)
    nearest = np.full(SIZE, np.inf, np.float32)
    face, weights = np.full(SIZE, -1, np.int32), np.zeros((*SIZE, 3), np.float32)
    for number, corners in enumerate(surface.faces):
        (xa, ya), (xb, yb), (xc, yc) = pixels[corners]
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        left, right = max(0, int(np.ceil(min(xa, xb, xc)))), min(width - 1, int(max(xa, xb, xc)))
        top, bottom = max(0, int(np.ceil(min(ya, yb, yc)))), min(height - 1, int(max(ya, yb, yc)))
        if area >= 0 or right < left or bottom < top:
            continue
        y, x = np.mgrid[top : bottom + 1, left : right + 1]
        second = ((x - xa) * (yc - ya) - (xc - xa) * (y - ya)) / area
        third = ((xb - xa) * (y - ya) - (x - xa) * (yb - ya)) / area
        share = np.stack([1 - second - third, second, third], -1) / vertices[corners, 2]
        depth = 1 / share.sum(-1)
        part = np.s_[top : bottom + 1, left : right + 1]
        drawn = (share >= -1e-5).all(-1) & (depth < nearest[part])
        nearest[part][drawn], face[part][drawn] = depth[drawn], number
        weights[part][drawn] = (share * depth[..., None])[drawn]
    covered = np.flatnonzero(face.ravel() >= 0)
    seen = Buffers(SIZE, covered, face.ravel()[covered], weights.reshape(-1, 3)[covered], nearest.ravel()[covered])
    return {
        "depth": depth_map(seen),
        "normal": normal_map(seen, surface.faces, vertices),
        "semantic_map": semantic_map(seen, surface.faces, surface.labels),
    }


def with_pyrender() -> Draw:
    """The maps by pyrender; ImportError or OSError where it, or the OpenGL library under it, is missing."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "osmesa")
    np.infty = np.inf  # noqa: NPY201  # numpy 2 has dropped the name that pyrender 0.1.45 uses
    import pyrender

    x, y = CAMERA.principal_point + 0.5  # OpenGL counts from the corner of the first pixel
    camera = pyrender.IntrinsicsCamera(*CAMERA.focal_length, x, y, znear=0.5, zfar=20)
    scene = pyrender.Scene(bg_color=np.zeros(4))
    scene.add(camera)
    renderer = pyrender.OffscreenRenderer(*SIZE[::-1])

    def seen(vertices: FloatArray, faces: np.ndarray, colours: FloatArray) -> tuple[Image, FloatArray]:
        primitive = pyrender.Primitive(positions=vertices * OPENGL, indices=faces, color_0=colours)
        node = scene.add(pyrender.Mesh([primitive]))
        found = renderer.render(scene, pyrender.RenderFlags.FLAT)
        scene.remove_node(node)
        return found

    def draw(surface: Surface, vertices: FloatArray) -> dict[str, Image]:
        towards = vertex_normals(vertices, surface.faces, by="angle") * OPENGL
        normal, depth = seen(vertices, surface.faces, 0.5 + 0.5 * towards)
        semantic, _ = seen(vertices, surface.faces, (part_colours() / np.float32(255))[surface.labels])
        covered = np.flatnonzero(depth)
        nowhere = np.zeros(len(covered), np.int32), np.zeros((len(covered), 3), np.float32)
        buffers = Buffers(SIZE, covered, *nowhere, depth.ravel()[covered])
        return {"depth": depth_map(buffers), "normal": normal, "semantic_map": semantic}

    return draw


def reference() -> tuple[str, Draw]:
    """The reference's name and its drawing."""
    try:
        return "pyrender", with_pyrender()
    except (ImportError, OSError) as missing:
        return f"one triangle after the other (pyrender: {missing})", plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20, help="frames drawn per turn")
    parser.add_argument("--reference", type=int, default=4, help="frames that the reference draws per turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    surface, vertices, pixels = walk(options.frames)
    name, draw = reference()

    def ours(at: int) -> dict[str, Image]:
        return frame_maps(surface, vertices[at], pixels[at], CAMERA, SIZE, KINDS)

    shown = np.linspace(0, options.frames - 1, options.reference).astype(int)
    drawn, wanted = ours(shown[0]), draw(surface, vertices[shown[0]])
    for kind, image in wanted.items():
        off = np.abs(drawn[kind].astype(int) - image).max(-1)
        print(f"{kind}: {100 * (off <= 2).mean():.2f} % of the pixels agree within 2 of 255")
    print(f"reference: {name}")
    times = []
    with ThreadPoolExecutor(options.threads) as pool:
        for _ in range(options.turns):
            spent = seconds(lambda: list(pool.map(ours, range(options.frames)))) / options.frames
            theirs = seconds(lambda: [draw(surface, vertices[at]) for at in shown]) / len(shown)
            times.append(np.stack([spent, theirs]))
    (clock, work), (their_clock, their_work) = np.median(times, axis=0)
    print(
        f"four maps of {SIZE[0]} x {SIZE[1]} on {options.threads} threads: {1 / clock:.1f} frames/s on the clock, "
        f"{1 / work:.1f} per second of processor; reference, three maps: {1 / their_clock:.2f} and "
        f"{1 / their_work:.2f}; ratio {their_clock / clock:.1f} and {their_work / work:.1f}"
    )


if __name__ == "__main__":
    main()
