"""Claim: all four guidance maps of a 512 x 512 frame at 10 frames per second and more, on two cores.

The free body, 460 pixels tall, walks on the spot while it turns; maps are those of Champ's data processing. The plain
reference draws the same three rendered maps as a textbook does: triangle by triangle, over each one's bounding box, in
numpy. Both draw the same frames in turns in one run; printed are frames per second, the ratio, and on how many pixels
their depth maps agree. pyrender is no alternative here: it needs an OpenGL driver.

    python bench/rendering.py [--frames 20] [--plain 2] [--threads 2]
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from posesyn_core.body.guidance import Surface, depth_map, frame_maps, normal_map, semantic_map
from posesyn_core.body.model import load_body
from posesyn_core.body.render import Buffers
from posesyn_core.geometry.cameras import project
from posesyn_core.values import Camera, FloatArray, Image

SIZE = (512, 512)
CAMERA = Camera(np.full(2, 1000.0), np.full(2, 255.5))
KINDS = ("depth", "normal", "semantic_map", "dwpose")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20, help="frames drawn between two frames of the reference")
    parser.add_argument("--plain", type=int, default=2, help="frames of the plain reference")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    surface, vertices, pixels = walk(options.frames)

    def ours(at: int) -> dict[str, Image]:
        return frame_maps(surface, vertices[at], pixels[at], CAMERA, SIZE, KINDS)

    ours(0)
    clock, work, plain_clock, agreed = [], [], [], []
    with ThreadPoolExecutor(options.threads) as pool:
        for turn in range(options.plain):
            started, spent = time.perf_counter(), time.process_time()
            drawn = list(pool.map(ours, range(options.frames)))
            clock.append((time.perf_counter() - started) / options.frames)
            work.append((time.process_time() - spent) / options.frames)
            at = turn * options.frames // options.plain
            spent = time.process_time()
            wanted = plain(surface, vertices[at])
            plain_clock.append(time.process_time() - spent)
            agreed.append((np.abs(drawn[at]["depth"].astype(int) - wanted["depth"]) <= 1).mean())
    print(
        f"four maps of {SIZE[0]} x {SIZE[1]} on {options.threads} threads: {1 / min(clock):.1f} frames/s on the clock, "
        f"{1 / min(work):.1f} per second of processor; plain: {1 / min(plain_clock):.2f} (three maps); "
        f"ratio per processor {min(plain_clock) / min(work):.0f}; depth agrees on {100 * min(agreed):.2f} %"
    )


if __name__ == "__main__":
    main()
