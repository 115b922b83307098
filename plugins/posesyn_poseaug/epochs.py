"""An epoch of PoseAug: bone lengths exchanged, then generator and discriminators over all poses."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from posesyn_poseaug.augmentor import Augmentor, Pairs, Terms, frozen_in_training
from posesyn_poseaug.camera import project
from posesyn_poseaug.skeleton import with_lengths

SMALLEST = 2
"""Batches of fewer poses are left out: norms can't be trained on them."""


def exchange_lengths(pairs: Pairs, templates: Tensor) -> Pairs:
    """Every pose with the bone lengths of a random row of ``templates`` (S, 15), seen by its camera."""
    chosen = templates.to(pairs.poses)[torch.randint(len(templates), (len(pairs),))]
    poses = with_lengths(pairs.poses, chosen)
    return Pairs(poses, project(poses, pairs.cameras), pairs.cameras)


def gan_epoch(
    augmentor: Augmentor, lifter: nn.Module, pairs: Pairs, epoch: int, extra_2d: Tensor | None = None
) -> tuple[Pairs, dict[str, float]]:
    """One pass over ``pairs`` in batches: the pairs that came out for the lifter, and the mean of every loss term.

    ``epoch`` counts from 1. The discriminators take for real other draws of the same pairs, 3D and 2D each its own;
    ``extra_2d`` (M, 16, 2) adds 2D poses from elsewhere (in the wild: Table 2's last row). All draws are from torch's
    global generator.
    """
    seen = pairs.keypoints if extra_2d is None else torch.cat([pairs.keypoints, extra_2d.to(pairs.keypoints)])
    solid, flat = torch.randperm(len(pairs)), torch.randperm(len(seen))
    kept: list[Pairs] = []
    lines: list[Terms] = []
    with frozen_in_training(lifter):
        augmentor.generator.train()
        for at in _chunks(torch.randperm(len(pairs)), augmentor.config.batch_size):
            first = len(lines) * augmentor.config.batch_size
            real_3d = pairs.poses[_around(solid, first, len(at))]
            real = Pairs(real_3d, seen[_around(flat, first, len(at))], pairs.cameras[: len(at)])
            fit, terms = augmentor.step(lifter, pairs.chosen(at), real, epoch)
            kept.append(fit)
            lines.append({name: value.detach() for name, value in terms.items()})
    return Pairs.joined(kept), _means(lines)


def batches_of(pairs: Pairs, size: int) -> Iterator[Pairs]:
    """The pairs in a new random order, ``size`` at a time."""
    for at in _chunks(torch.randperm(len(pairs)), size):
        yield pairs.chosen(at)


def _chunks(order: Tensor, size: int) -> Iterator[Tensor]:
    yield from (chunk for chunk in order.split(size) if len(chunk) >= SMALLEST)


def _around(order: Tensor, first: int, count: int) -> Tensor:
    """``count`` places of an order from ``first`` on, beginning anew at its end."""
    return order[(torch.arange(count) + first) % len(order)]


def _means(lines: list[Terms]) -> dict[str, float]:
    """Every term's mean over the iterations that had it."""
    names = {name for line in lines for name in line}
    return {
        name: float(torch.stack([line[name].double() for line in lines if name in line]).mean())
        for name in sorted(names)
    }
