"""Looking at people: crops of the picture itself, as MediaPipe takes them, and what the network says of them."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from scipy.special import expit

from posesyn_blazepose.network import SIZE, LandmarkNetwork, refined
from posesyn_blazepose.rois import Floats, crop_matrix, guarded, square_of_points, to_picture, turns
from posesyn_core.values import FloatArray, Image

POSE = 33
"""Landmarks of the pose; the next two say where the next crop lies."""
BATCH = 16


@frozen(eq=False)
class Seen:
    """What one look at N people says.

    ``rois`` (N, 4): the squares that were looked at; ``next`` (N, 4): those to look at next; ``points`` (N, 33, 2)
    pixels of the picture; ``depths`` (N, 33) of the same scale, from the hips; ``visibility`` and ``presence`` (N,
    33), ``flag`` (N,) probabilities; ``world`` (N, 33, 3) metres from the middle of the hips, camera frame; ``masks``
    (N, 256, 256) logits of the crops if they were asked for.
    """

    rois: Floats
    next: Floats
    points: Floats
    depths: Floats
    visibility: Floats
    presence: Floats
    flag: Floats
    world: Floats
    masks: FloatArray | None


STEPS = 32
"""A pixel's side, in the steps to which MediaPipe rounds places."""


def mediapipes_crop(image: Image, roi: Floats) -> Image:
    """The crop (256, 256, 3) of one square (4,), to the last bit that MediaPipe's networks see.

    Its OpenCV rounds the places that it takes colours from; newer ones, and so ``posesyn_blazepose.rois.cut``, don't. A
    bit moves hidden landmarks by up to three pixels.
    """
    step = turns(roi) * (roi[2] / SIZE)
    first = roi[:2] - step.sum(1) * (SIZE / 2)
    along = np.arange(SIZE)[None, :, None] * step[:, 0] + np.arange(SIZE)[:, None, None] * step[:, 1] + first
    places = np.rint(along * STEPS).astype(np.int64)
    whole = (places // STEPS).clip(-(2**15), 2**15 - 1).astype(np.int16)
    rest = (places % STEPS) @ [1, STEPS]
    crop = cv2.remap(image, whole, rest.astype(np.uint16), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def look(network: LandmarkNetwork, images: Sequence[Image], rois: Floats, *, masks: bool = False) -> Seen:
    """Look at a square (4,) of each picture."""
    device = next(network.parameters()).device
    parts = []
    for at in range(0, len(images), BATCH):
        pairs = zip(images[at : at + BATCH], rois[at : at + BATCH], strict=True)
        pixels = np.stack([mediapipes_crop(image, roi) for image, roi in pairs])
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
            said = network(batch.contiguous(memory_format=torch.channels_last), mask=masks)
            said["landmarks"] = refined(said["landmarks"], said.pop("heatmaps"))
        parts.append({name: value.cpu().numpy() for name, value in said.items()})
    said_all = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _in_picture(said_all, rois)


def look_where_told(
    networks: Sequence[LandmarkNetwork], images: Sequence[Image], rois: Floats, *, masks: bool = False
) -> Seen:
    """Look with the first network, then with each of the others where the one before says."""
    for network in networks[:-1]:
        rois = guarded(rois, look(network, images, rois).next)
    return look(networks[-1], images, rois, masks=masks)


def _in_picture(said: dict[str, NDArray[np.float32]], rois: Floats) -> Seen:
    landmarks, turn = said["landmarks"].astype(np.float64), turns(rois)
    points = to_picture(landmarks[..., :2], rois, SIZE)
    world = said["world"][:, :POSE].astype(np.float64)
    sure = expit(landmarks[:, :POSE, 3:])
    return Seen(
        rois=rois,
        next=square_of_points(points[:, POSE], points[:, POSE + 1]),
        points=points[:, :POSE],
        depths=landmarks[:, :POSE, 2] * (rois[:, 2:3] / SIZE),
        visibility=sure[..., 0],
        presence=sure[..., 1],
        flag=said["flag"].astype(np.float64),
        world=np.concatenate([world[..., :2] @ np.swapaxes(turn, -1, -2), world[..., 2:]], -1),
        masks=said.get("mask"),
    )


def mask_in_picture(logits: FloatArray, roi: Floats, image: Image) -> FloatArray:
    """How surely each pixel (H, W) shows the person, from the mask's logits (256, 256) in a square; 0 outside it."""
    probability = expit(np.asarray(logits, np.float32))
    height, width = image.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(probability, crop_matrix(roi, SIZE), (width, height), flags=flags), np.float32)
