"""Claim: the z-buffer of `posesyn_core.body.render` draws a body several times faster than ray casting with embreex.

Both find the visible triangle of every pixel for the free body, anew for each frame as for a moving person: embreex
builds its hierarchy and casts rays inside the body's projected box. One thread; prints both times, the ratio, and the
share of pixels on which they agree. Needs `pip install embreex`.

    python bench/render.py [--sizes 224 448] [--rounds 20]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from posesyn_core.body.model import load_body
from posesyn_core.body.render import render
from posesyn_core.values import Camera


def cast_rays(vertices: np.ndarray, faces: np.ndarray, camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Face index (H, W) by ray casting, -1 where there is none."""
    pixels = vertices[:, :2] / vertices[:, 2:] * camera.focal_length + camera.principal_point
    x0, y0 = np.maximum(np.floor(pixels.min(axis=0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(pixels.max(axis=0)), [size[1] - 1, size[0] - 1]).astype(int)
    scene = EmbreeScene()
    TriangleMesh(scene, vertices, faces)
    v, u = np.mgrid[y0 : y1 + 1, x0 : x1 + 1]
    x, y = (np.stack([u, v]) - camera.principal_point[:, None, None]) / camera.focal_length[:, None, None]
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)
    found = np.full(size, -1)
    found[y0 : y1 + 1, x0 : x1 + 1] = scene.run(np.zeros_like(rays), rays).reshape(v.shape)
    return found


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    body, zeros = load_body(), torch.zeros(1, 10)
    turned = torch.tensor([[np.pi, 0, 0]], dtype=torch.float32)
    vertices = body(turned, torch.zeros(1, 23, 3), zeros, torch.tensor([[0, -0.35, 2.9]])).vertices[0].numpy()
    faces = body.faces.numpy().astype(np.int32)
    for side in options.sizes:
        size, camera = (side, side), Camera(np.full(2, 1.2 * side), np.full(2, (side - 1) / 2))
        ours = milliseconds(lambda: render(vertices, faces, camera, size), options.rounds)  # noqa: B023
        theirs = milliseconds(lambda: cast_rays(vertices, faces, camera, size), options.rounds)  # noqa: B023
        seen, cast = render(vertices, faces, camera, size), cast_rays(vertices, faces, camera, size)
        agreed = (seen.face_index == cast)[seen.mask | (cast >= 0)].mean()
        print(
            f"{side} x {side}, {len(faces)} triangles, {seen.mask.sum()} pixels covered: z-buffer {ours:.1f} ms, "
            f"embreex {theirs:.1f} ms, ratio {theirs / ours:.1f}; same triangle on {100 * agreed:.2f} % of them"
        )


if __name__ == "__main__":
    main()
