"""Photographs for the report: square crops about a person with skeletons on them, as data URIs."""

import base64
from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.errors import SampleError
from posesyn_core.geometry.crops import apply_affine, crop
from posesyn_core.images import LEFT, MIDDLE, RIGHT, Colour, draw_skeleton, encode_jpeg
from posesyn_core.values import FloatArray, LabelledFrame, Sample

MARGIN = 1.25
"""A crop's side by the longer side of the person's box."""
QUALITY = 80

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


@frozen
class Picture:
    """A picture as a data URI, or the ``fault`` why there is none; ``alt`` says what it shows."""

    alt: str
    uri: str = ""
    fault: str = ""


def person(of: Sample | LabelledFrame, overlays: Sequence[Overlay], alt: str, side: int = 256) -> Picture:
    """The person's square crop, ``side`` pixels wide, with ``overlays``; an unreadable image gives the reason."""
    try:
        image, to_crop = crop(of.load_image(), of.box, side, MARGIN)
    except SampleError as error:
        return Picture(alt, fault=str(error))
    for overlay in overlays:
        joints = apply_affine(to_crop, overlay.joints2d)
        image = draw_skeleton(image, joints, overlay.joint_set, overlay.visible, colours=overlay.colours)
    encoded = base64.b64encode(encode_jpeg(image, QUALITY)).decode()
    return Picture(alt, uri=f"data:image/jpeg;base64,{encoded}")
