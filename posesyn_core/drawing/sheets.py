"""Square crops about people with skeletons on them, one by one or as a sheet of many."""

import contextlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from posesyn_core.drawing.skeletons import LEFT, MIDDLE, RIGHT, Colour, draw_skeleton, unseen_joints
from posesyn_core.errors import SampleError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.crops import apply_affine, crop, square
from posesyn_core.geometry.joints import known_joints
from posesyn_core.values import FloatArray, Image, LabelledFrame, PoseEstimate, Sample

T = TypeVar("T")

MARGIN = 1.25
"""A crop's side by the longer side of the person's box, where the picture is large enough."""
TILE, COLUMNS, ROWS = 180, 6, 2
"""A sheet's tiles: their side in pixels, how many beside each other, and how many rows at most."""

# Shades for left, right and middle: a pose that is right but for its sides still shows.
Shades = tuple[Colour, Colour, Colour]
LABELLED: Shades = ((0, 96, 190), (90, 200, 255), (0, 150, 230))
PREDICTED: Shades = ((200, 40, 0), (255, 176, 66), (242, 100, 10))


@frozen
class Overlay:
    """A skeleton to draw: joints (J, 2) in pixels of the full image."""

    joints2d: FloatArray
    joint_set: str
    visible: NDArray[np.bool_] | None = None
    colours: Shades = (LEFT, RIGHT, MIDDLE)


def around(box: ArrayLike, width: int, height: int) -> NDArray[np.float64]:
    """The square (4,) of a picture that shows the person in ``box`` (4,): with a margin, and moved into the picture.

    The margin goes before anything outside the picture is shown. SampleError as of ``check_box``.
    """
    check_box(box, width, height)
    centre, longer = square(box)
    last = np.array([width, height]) - 1
    side = max(longer, min(longer * MARGIN, *last))
    centre = np.where(side <= last, np.clip(centre, side / 2, np.maximum(last - side / 2, side / 2)), centre)
    return np.concatenate([centre - side / 2, centre + side / 2])


def tile(of: Sample | LabelledFrame, overlays: Sequence[Overlay], side: int) -> Image:
    """The person's square crop (side, side, 3) with ``overlays``. SampleError if the image can't be read."""
    whole = load_image(of.image)
    image, to_crop = crop(whole, around(of.box, *whole.shape[1::-1]), side)
    for overlay in overlays:
        joints = apply_affine(to_crop, overlay.joints2d)
        unseen = unseen_joints(overlay.joints2d, whole.shape)
        image = draw_skeleton(image, joints, overlay.joint_set, overlay.visible, colours=overlay.colours, unseen=unseen)
    return image


def worst_cases(samples: Sequence[Sample], estimates: Sequence[PoseEstimate]) -> Image | None:
    """A sheet of samples, worst first, with true and predicted skeletons.

    Samples whose image can't be read are passed over; None if nothing is left.
    """
    tiles = []
    for sample, estimate in zip(samples, estimates, strict=True):
        overlays = [
            Overlay(sample.keypoints2d, sample.joint_set, sample.confidence > 0, LABELLED),
            Overlay(estimate.joints2d, estimate.joint_set, known_joints(estimate, 2), PREDICTED),
        ]
        with contextlib.suppress(SampleError):
            tiles.append(tile(sample, overlays, TILE))
        if len(tiles) == COLUMNS * ROWS:
            break
    return sheet(tiles)


def sheet(tiles: Sequence[Image]) -> Image | None:
    """Tiles of one size in rows of ``COLUMNS``, the last one filled up with white; None without tiles."""
    if not tiles:
        return None
    filled = [*tiles, *[np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)]
    return np.vstack([np.hstack(filled[at : at + COLUMNS]) for at in range(0, len(filled), COLUMNS)])


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` of ``items``, evenly spaced, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[at] for at in np.linspace(0, len(items) - 1, count).round().astype(int)]
