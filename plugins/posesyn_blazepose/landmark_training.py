"""Fine-tuning of BlazePose's landmarks: crops by what is labelled, and a loss of plain distances."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posesyn_blazepose.looks import POSE
from posesyn_blazepose.network import SIZE, refined
from posesyn_blazepose.rois import MARGIN, Floats, square_of_box
from posesyn_blazepose.views import Augmentation, View
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.values import LabelledFrame

SHOULDERS, HIPS = [11, 12], [23, 24]
REACH = 1.15
"""The circle about the whole body over the distance of the farthest labelled joint from the middle of the hips."""
METRES = 10.0
"""The weight of the world landmarks in the loss."""


def landmark_view(
    frame: LabelledFrame, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[View, dict[str, NDArray[np.float32]]]:
    """A random crop as a second look takes it, and its labels.

    ``keypoints2d`` (33, 3): x, y in pixels of the crop, and confidence; ``joints3d`` (33, 4): x, y, z in metres from
    the middle of the hips as the crop sees it, and confidence; what is unknown is 0.
    """
    square = _square(frame)
    square[:2] += rng.normal(0, augmentation.shift, 2) * square[2]
    square[2] *= np.exp(augmentation.scale * np.clip(rng.standard_normal(), -2, 2))
    square[3] += np.radians(augmentation.turn) * np.clip(rng.standard_normal(), -2.5, 2.5)
    view = View(square, bool(rng.random() < 0.5))
    order = joint_set(frame.joint_set).flip if view.flipped else np.arange(POSE)
    matrix, known = view.matrix(), frame.labels3d()[order]
    places = frame.joints2d[order] @ matrix[:, :2].T + matrix[:, 2]
    labels = {
        "keypoints2d": np.column_stack([places, frame.confidence[order]]).astype(np.float32),
        "joints3d": np.column_stack([known[:, :3] @ view.turn.T, known[:, 3]]).astype(np.float32),
    }
    return view, {name: np.where(values[:, -1:] > 0, values, 0) for name, values in labels.items()}


def _square(frame: LabelledFrame) -> Floats:
    """The square that the labels suggest (4,), or that about the box where they don't show the torso."""
    known, points = frame.confidence > 0, frame.joints2d.astype(np.float64)
    if not known[SHOULDERS + HIPS].all():
        return square_of_box(frame.box)
    middle = points[HIPS].mean(0)
    torso = points[SHOULDERS].mean(0) - middle
    radius = np.linalg.norm(points[known] - middle, axis=1).max() * REACH
    return np.array([*middle, max(2 * MARGIN * radius, 1.0), np.arctan2(torso[0], -torso[1])])


def landmark_loss(said: Mapping[str, Tensor], batch: Mapping[str, Tensor], keypoints: float) -> dict[str, Tensor]:
    """Mean distances of the labelled joints: ``keypoints2d`` in half crops, refined and not; ``joints`` in metres."""
    labelled, known = batch["keypoints2d"], batch["joints3d"][..., 3]
    apart = [
        (landmarks[:, :POSE, :2] - labelled[..., :2]).square().sum(-1).add(1e-6).sqrt() / (SIZE / 2)
        for landmarks in (said["landmarks"], refined(said["landmarks"], said["heatmaps"]))
    ]
    world = said["world"][:, :POSE] - said["world"][:, HIPS].mean(1, keepdim=True)
    distance = (world - batch["joints3d"][..., :3]).square().sum(-1).add(1e-8).sqrt()
    terms = {
        "keypoints2d": _mean((apart[0] + apart[1]).clamp(max=2) / 2, labelled[..., 2]),
        "joints": _mean(distance, known),
    }
    return {"loss": keypoints * terms["keypoints2d"] + METRES * terms["joints"], **terms}


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / (weights > 0).sum().clamp(min=1)
