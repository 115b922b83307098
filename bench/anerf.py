"""Claim: a 256 x 256 picture of a standing person at A-NeRF's official size takes a twentieth of the described loop.

The loop renders ray after ray in chunks as the official code does: 64 coarse samples through the whole bounding
cylinder, then 64 + 16 through the second network, whatever they show (``posesyn_anerf.field.render_rays``). Ours leaves
out what shows nothing (``posesyn_anerf.rendering``). Both have the same field: the starter's, widened to the official
size (width 256, 8 layers, two networks, 7 and 4 frequencies) by zeros, which changes no colour and costs what any
weights of that size cost.

Both run in turn, in pieces: the loop on every ``--every``-th chunk of the picture's rays, ours on the whole picture.
Printed are CPU-seconds of the process, the loop's scaled up to all rays and to those of its bounding box, their ratios
to ours, and the mean difference of the pictures on the rays of the loop.

    OMP_NUM_THREADS=1 python bench/anerf.py [--size 256] [--every 16] [--weights starter]
"""

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_anerf.animator import AnerfAnimator
from posesyn_anerf.cameras import RENDERED, cylinders, pixel_rays, to_c2w
from posesyn_anerf.config import AnerfConfig
from posesyn_anerf.field import Field, FieldSizes, Network, Rays, render_rays
from posesyn_anerf.posing import invert, pose
from posesyn_anerf.rendering import Renderer, View
from posesyn_core.geometry.rotations import axis_angle_to_matrix

OFFICIAL = FieldSizes()
COARSE, FINE, CHUNK = 64, 16, 512


def widened(small: Field) -> Field:
    """A field of the official size with the colours and densities of a smaller one of one network."""
    assert small.sizes.single and not small.sizes.codes
    large = Field(OFFICIAL)
    for name in ("embed", "embeddirs"):
        getattr(large, name).load_state_dict(getattr(small, name).state_dict())
    for network in (large.network_fn, large.network_fine):
        widen(small.network_fine, network)
    return large.eval().requires_grad_(False)


def widen(small: Network, large: Network) -> None:
    """Copy the weights; layers that the small network lacks pass on what they get (it is positive)."""
    for parameter in large.parameters():
        parameter.data.zero_()
    points = _columns(24 * (1 + 2 * small.sizes.point_frequencies), 72, 24 * (1 + 2 * large.sizes.point_frequencies))
    width, skip = small.sizes.width, small.sizes.skip
    layers = list(small.pts_linears)
    extra = large.sizes.skip - skip
    for at, layer in enumerate(large.pts_linears):
        old = at if at <= skip else at - extra
        if (at > skip and old <= skip) or old >= len(layers):
            assert isinstance(layer, nn.Linear)
            layer.weight.data[:width, -large.sizes.width :][:, :width] = torch.eye(width)
            continue
        columns = torch.arange(width)
        if old == 0:
            columns = points
        elif old == skip + 1:
            columns = torch.cat([points, large.sizes.point_values + columns])
        _copy(layers[old], layer, columns)
    copies = {
        "alpha_linear": torch.arange(width),
        "feature_linear": torch.arange(width),
        "rgb_linear": torch.arange(width // 2),
    }
    for name, columns in copies.items():
        _copy(getattr(small, name), getattr(large, name), columns)
    views = torch.cat([torch.arange(width), large.sizes.width + torch.arange(small.sizes.view_values)])
    _copy(small.views_linears[0], large.views_linears[0], views)


def _columns(distances: int, directions: int, before: int) -> Tensor:
    return torch.cat([torch.arange(distances), before + torch.arange(directions)])


def _copy(source: nn.Module, target: nn.Module, columns: Tensor) -> None:
    assert isinstance(source, nn.Linear) and isinstance(target, nn.Linear)
    rows = len(source.weight)
    target.weight.data[:rows, columns], target.bias.data[:rows] = source.weight.data, source.bias.data


def standing(animator: AnerfAnimator, size: int) -> View:
    """The animator's first person, arms lowered, in a picture of ``size`` pixels."""
    (actor, *_) = animator.actors()
    angles = np.concatenate([actor.smpl.global_orient[None], actor.smpl.body_pose]).astype(np.float64)
    angles[16, 2], angles[17, 2] = -1.2, 1.2
    place = animator.unit * (actor.skeleton[0] + actor.smpl.transl).astype(np.float64)
    rest = torch.from_numpy(animator.rest_pose).double()
    frames = pose(axis_angle_to_matrix(torch.from_numpy(angles))[None], rest, torch.from_numpy(place)[None])
    camera = actor.camera
    return View(invert(frames)[0].numpy(), to_c2w(np.eye(4)), camera.focal_length, camera.principal_point, (size, size))


def loop(field: Field, view: View, pixels: NDArray[np.intp]) -> NDArray[np.floating]:
    """Colours (P, 3), weighed by opacity, as the described loop computes them; one chunk of rays."""
    numbers = (
        *pixel_rays(view.c2w, pixels, view.focal, view.centre),
        view.skts,
        cylinders(view.joints[None], RENDERED),
    )
    origins, directions, skts, cylinder = (torch.tensor(np.asarray(n), dtype=torch.float32) for n in numbers)
    count = len(pixels)
    rays = Rays(origins, directions, skts[None].expand(count, -1, -1, -1), cylinder.expand(count, -1))
    with torch.inference_mode():
        return render_rays(field, rays, COARSE, FINE).fine.rgb.numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--every", type=int, default=16)
    parser.add_argument("--weights", default="starter")
    options = parser.parse_args()
    animator = AnerfAnimator(AnerfConfig(weights=options.weights, size=options.size))
    view, small = standing(animator, options.size), animator.loaded.field
    field = widened(small)
    probe = torch.randn(2, 64, 24, 3, generator=torch.Generator().manual_seed(0)) * 0.4
    apart = (field(field.network_fine, probe, probe) - small(small.network_fine, probe, probe)).abs().max()
    assert float(apart) < 1e-3 * float(small(small.network_fine, probe, probe).abs().max()), float(apart)
    renderer = Renderer(field, COARSE, FINE, animator.renderer.reach)
    inside = Renderer(field, COARSE, FINE, animator.renderer.reach, skip=False).pixels(view)
    grid = np.stack(np.meshgrid(*[np.arange(options.size)] * 2), axis=-1).reshape(-1, 2)
    chunks = np.split(grid, range(CHUNK, len(grid), CHUNK))[options.every // 2 :: options.every]
    ours, theirs, differences, rays = [], [], [], 0
    for at, chunk in enumerate(chunks):
        start = time.process_time()
        drawn = loop(field, view, chunk)
        theirs.append(time.process_time() - start)
        rays += len(chunk)
        if at % max(1, len(chunks) // 2) == 0:
            start = time.process_time()
            colours, _ = renderer.render(view)
            ours.append(time.process_time() - start)
        box = (chunk >= inside.min(0)).all(1) & (chunk <= inside.max(0)).all(
            1
        )  # outside the official code draws nothing
        differences.append(np.abs(np.where(box[:, None], drawn, 0) - colours[chunk[:, 1], chunk[:, 0]]))
    ray, frame, found = sum(theirs) / rays, float(np.mean(ours)), np.concatenate(differences)
    print(f"ours: {frame:.2f} CPU-seconds a picture of {options.size} x {options.size} ({len(ours)} runs)")
    for name, count in (("all rays", len(grid)), ("rays of the bounding box", len(inside))):
        print(f"the loop, {name} ({count}): {ray * count:.1f} CPU-seconds, ratio {ray * count / frame:.1f}")
    print(f"difference in 1/255 on {rays} timed rays: mean {255 * found.mean():.3f}, most {255 * found.max():.1f}")


if __name__ == "__main__":
    main()
