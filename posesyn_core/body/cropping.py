"""Reference photographs cut to a square about the person, for animators that draw squares.

A generative animator that squashes a whole photograph into its square draws people of other proportions than their
labels. The camera moves with the square, so that the same body is seen in it at the same place.
"""

import numpy as np
import torch
from attrs import evolve
from numpy.typing import NDArray

from posesyn_core.body.model import Body
from posesyn_core.geometry.crops import apply_affine, square
from posesyn_core.values import Camera, EncodedImage, FloatArray, PoseEstimate, Sample

MARGIN = 1.2
"""The square's side by the person box, or by the person's height when upright if that is more: room to move."""
LEAST_MARGIN = 1.05
"""Where a picture is too small for that, so much about the person box must do."""
OF_JOINTS = 1.1
"""A body's height by that of its joints."""


def reference_square(
    body: Body, sample: Sample, estimate: PoseEstimate, width: int, height: int, size: int
) -> NDArray[np.float64]:
    """The map (2, 3) from a photograph of ``width`` x ``height`` to the square of ``size`` pixels about its person.

    The square lies in the picture as far as it fits. Somebody who sits or is cut off gets the room to stand up, if the
    picture has it. ``estimate`` must carry ``smpl``.
    """
    centre, longest = square(sample.box)
    wanted = MARGIN * max(float(longest), _height_upright(body, estimate))
    side = min(wanted, max(LEAST_MARGIN * float(longest), min(width, height)))
    edge = 0.5 * side / size  # pixel centres: the square's first one lies so far within its edge
    limits = np.array([width, height], np.float64)
    low, high = side / 2 + edge - 0.5, limits - 0.5 - side / 2 + edge
    centre = np.where(low <= high, np.clip(centre, low, np.maximum(low, high)), (limits - 1) / 2 + edge)
    scale = size / side
    return np.column_stack([scale * np.eye(2), size / 2 - scale * centre])


def _height_upright(body: Body, estimate: PoseEstimate) -> float:
    """Pixels of the photograph that the person would span standing where the estimate has them."""
    smpl = estimate.smpl
    assert smpl is not None
    rest = body.rest_joints(torch.from_numpy(np.array(smpl.betas))[None])[0].numpy()
    metres = OF_JOINTS * float(np.ptp(rest[:, 1]))
    return float(estimate.camera.focal_length.mean()) * metres / float(smpl.transl[2] + rest[0, 2])


def seen_in(
    matrix: NDArray[np.float64], image: EncodedImage, sample: Sample, estimate: PoseEstimate
) -> tuple[Sample, PoseEstimate]:
    """What sample and estimate say of ``image``, which ``matrix`` (2, 3: a scale and a shift) cuts out of theirs.

    3D joints and SMPL parameters stay; 2D joints, boxes and cameras move.
    """
    scale = float(matrix[0, 0])
    moved = evolve(
        sample,
        image=image,
        box=_corners(matrix, sample.box),
        keypoints2d=_moved_points(matrix, sample.keypoints2d),
        camera=None if sample.camera is None else _moved(matrix, sample.camera),
        head_size=None if sample.head_size is None else scale * sample.head_size,
        neighbours=tuple(
            evolve(each, box=_corners(matrix, each.box), keypoints2d=_moved_points(matrix, each.keypoints2d))
            for each in sample.neighbours
        ),
    )
    joints2d, camera = _moved_points(matrix, estimate.joints2d), _moved(matrix, estimate.camera)
    return moved, evolve(estimate, joints2d=joints2d, camera=camera)


def _moved_points(matrix: NDArray[np.float64], points: FloatArray) -> FloatArray:
    return apply_affine(matrix, points).astype(np.float32)


def _corners(matrix: NDArray[np.float64], box: FloatArray) -> FloatArray:
    return _moved_points(matrix, box.reshape(2, 2)).ravel()


def _moved(matrix: NDArray[np.float64], camera: Camera) -> Camera:
    return Camera(matrix[0, 0] * camera.focal_length, _moved_points(matrix, camera.principal_point[None])[0])
