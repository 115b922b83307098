"""Which pixels are the person, and what the picture is without them.

The estimated body is off by some centimetres, so its silhouette alone would paint background onto the body and leave
parts of the person in the background. Where a network tells the person's pixels, those are taken. Else the silhouette
seeds GrabCut (Rother et al. 2004), which finds the outline by colour.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from posesyn_core.values import Image

Mask = NDArray[np.uint8]

CUT_SIDE, FILL_SIDE = 256, 192
"""Longest sides, in pixels, of the pictures that are cut and inpainted; details below are not worth the time."""

ROUNDS = 2

SURE, HARDLY = 0.5, 0.1
"""From which probability a pixel is the person's, and from which it is no longer background."""

LEAST_OVERLAP = 0.3
"""Of a mask and the silhouette of the estimated body, as a share of both together."""


def person_mask(image: Image, body: Mask, core: Mask, around: Mask) -> Mask:
    """The person's pixels (H, W), 0 or 1, in a picture (H, W, 3) of the person and some surroundings.

    Masks (H, W), 0 or 1: ``body`` is the silhouette of the estimated body, ``core`` what is surely the person, and
    ``around`` where else the person may be. Where the cut finds something of quite another size than the body, the
    silhouette is returned.
    """
    small_image, small_body, small_core, small_around = (
        _shrunk(array, CUT_SIDE) for array in (image, body, core, around)
    )
    reach = max(3, round(0.05 * max(small_body.shape)))
    labels = np.full(small_body.shape, cv2.GC_BGD, np.uint8)
    labels[(_grown(small_body, 3 * reach) | small_around) > 0] = cv2.GC_PR_BGD
    labels[(small_body | small_core) > 0] = cv2.GC_PR_FGD
    labels[(small_core if small_core.any() else small_body) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # GrabCut's mixtures start from a random clustering
    cv2.grabCut(small_image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    cut = _touching(((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8), small_body | small_core)
    if not 0.4 < cut.sum() / max(int(small_body.sum()), 1) < 4.0:
        return body
    return cv2.resize(cut, body.shape[::-1], interpolation=cv2.INTER_NEAREST)


def told_mask(shown: NDArray[np.floating], body: Mask) -> tuple[Mask, Mask] | None:
    """The person's pixels and those to be painted over, (H, W), 0 or 1, where ``shown`` (H, W) tells the person.

    The silhouette ``body`` of the estimated body does not reach into what is told to be something else: somebody in
    front of the person stays. None where the mask has little to do with the body: it is somebody else's, or nobody's.
    """
    mask = (shown > SURE).astype(np.uint8)
    if (mask & body).sum() < LEAST_OVERLAP * (mask | body).sum():
        return None
    edge = max(1, round(0.01 * max(mask.shape)))
    near = _grown(mask, 2 * edge)
    return mask, ((shown > HARDLY) | (body & near)).astype(np.uint8)


def remove(image: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """The picture (H, W, 3) with the masked pixels filled from around them, as grainy as the rest."""
    hole = _grown(mask, max(3, round(0.02 * max(mask.shape))))
    small = cv2.inpaint(_shrunk(image, FILL_SIDE), _grown(_shrunk(hole, FILL_SIDE), 1), 3, cv2.INPAINT_NS)
    filled = cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
    grain = image.astype(np.float32) - cv2.GaussianBlur(image, (0, 0), 1)
    strength = 1.2 * np.median(np.abs(grain[hole == 0])) if (hole == 0).any() else 0.0
    filled += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(strength)
    share = cv2.GaussianBlur(_grown(hole, 1).astype(np.float32), (0, 0), 1)[..., None]
    share[hole > 0] = 1
    return np.clip(image * (1 - share) + filled * share, 0, 255).astype(np.uint8)


def spread(image: Image, mask: Mask) -> Image:
    """The picture with every pixel outside ``mask`` replaced by the nearest one inside; the mask must not be empty."""
    _, nearest = cv2.distanceTransformWithLabels(1 - mask, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colour_of = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colour_of[nearest[mask > 0]] = image[mask > 0]
    return colour_of[nearest]


def _shrunk(array: NDArray, side: int) -> NDArray:
    scale = side / max(array.shape[:2])
    if scale >= 1:
        return array
    size = max(1, round(array.shape[1] * scale)), max(1, round(array.shape[0] * scale))
    return cv2.resize(array, size, interpolation=cv2.INTER_AREA if array.ndim == 3 else cv2.INTER_NEAREST)


def _disc(radius: int) -> Mask:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _grown(mask: Mask, radius: int) -> Mask:
    return cv2.dilate(mask, _disc(radius))


def _touching(mask: Mask, body: Mask) -> Mask:
    """The connected parts of ``mask`` that lie on the body by a third at least: not a passer-by nor the furniture."""
    count, parts = cv2.connectedComponents(mask)
    share = np.bincount(parts.ravel(), body.ravel(), count) / np.bincount(parts.ravel(), minlength=count)
    share[0] = 0
    return (share[parts] > 0.33).astype(np.uint8)
