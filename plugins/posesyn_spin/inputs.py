"""From images to what the network takes: the crop, and for training its augmentation with the labels in step."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.geometry.crops import apply_affine, crop, square, warp
from posesyn_core.skeletons import SMPL24
from posesyn_core.values import FloatArray, Image, LabelledFrame, SmplParams

MARGIN = 1.2
"""The square crop's side over the longer side of the person's box."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

FLIP_CHANCE = 0.5
ROTATION_CHANCE = 0.4
OCCLUSION_SIZE = (0.08, 0.3)
"""Sides of the rectangle that hides a part of the crop, as shares of the crop's."""


@frozen
class Augmentation:
    """How crops vary in training; the defaults are the published ones.

    The crop's side varies by a factor 1 + ``scale`` * N(0, 1), clipped at one deviation; ``ROTATION_CHANCE`` of the
    crops are turned by ``rotation`` * N(0, 1) degrees, clipped at two; each colour channel is multiplied by
    1 +- ``colour``, uniformly; half are mirrored. Not in the official code: the crop's centre varies by ``shift`` *
    N(0, 1) of its side in either direction, and ``occlusion`` is the share of crops of which a rectangle is hidden.
    """

    scale: float = 0.25
    rotation: float = 30.0
    colour: float = 0.4
    shift: float = 0.0
    occlusion: float = 0.0


def crop_person(image: Image, box: FloatArray, size: int) -> FloatArray:
    """The network's input (3, size, size) for the person in ``box`` of a uint8 RGB image."""
    return normalise(crop(image, box, size, MARGIN)[0])


def normalise(pixels: NDArray[np.uint8]) -> FloatArray:
    """uint8 RGB (S, S, 3) -> float32 (3, S, S) with ImageNet's mean and deviation taken out."""
    return _normalised(pixels, np.ones(3, np.float32))


def _normalised(pixels: NDArray[np.uint8], gain: FloatArray) -> FloatArray:
    """As :func:`normalise`, each channel first times its ``gain`` and clipped at white; by table look-up."""
    levels = np.minimum(np.arange(256, dtype=np.float32)[:, None] * gain / 255, 1)
    table = (levels - MEAN) / DEVIATION
    return np.stack([table[:, channel].take(pixels[..., channel]) for channel in range(3)])


def training_inputs(
    frame: LabelledFrame, size: int, augmentation: Augmentation, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """One augmented training item.

    ``images`` (3, size, size); ``keypoints2d`` (24, 3): x, y with the crop as -1..1, and confidence; ``joints3d``
    (24, 3) metres; ``rotmat`` (24, 3, 3); ``betas`` (10,); ``has_joints3d`` and ``has_smpl`` () are 0 or 1, and
    what a frame lacks is 0 (rotations: identity).
    """
    image = frame.load_image()
    matrix, turn, flipped = _draw_view(frame.box, size, augmentation, rng)
    pixels = warp(image, matrix, size)
    if rng.random() < augmentation.occlusion:
        _hide_part(pixels, rng)
    gain = rng.uniform(1 - augmentation.colour, 1 + augmentation.colour, 3).astype(np.float32)
    order = SMPL24.flip if flipped else np.arange(24)
    keypoints = 2 * apply_affine(matrix, frame.joints2d)[order] / size - 1
    joints = np.zeros((24, 3)) if frame.joints3d is None else frame.joints3d[order] @ turn.T
    return {
        "images": _normalised(pixels, gain),
        "keypoints2d": np.column_stack([keypoints, frame.confidence[order]]).astype(np.float32),
        "joints3d": joints.astype(np.float32),
        "has_joints3d": np.array(frame.joints3d is not None, np.float32),
        "rotmat": _turned_rotations(frame.smpl, turn, order),
        "betas": np.zeros(10, np.float32) if frame.smpl is None else frame.smpl.betas,
        "has_smpl": np.array(frame.smpl is not None, np.float32),
    }


def _draw_view(
    box: FloatArray, size: int, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """A random crop about ``box``: its map (2, 3) from the image, the same turn in space (3, 3), and if it is mirrored.

    The turn is about the camera's axis; mirrored, it is an improper one (determinant -1).
    """
    centre, side = square(box, MARGIN)
    scale = 1 + augmentation.scale * float(np.clip(rng.standard_normal(), -1, 1))
    angle = np.radians(augmentation.rotation * float(np.clip(rng.standard_normal(), -2, 2)))
    angle *= rng.random() < ROTATION_CHANCE
    centre = centre + augmentation.shift * side * rng.standard_normal(2)
    flipped = bool(rng.random() < FLIP_CHANCE)
    turn = np.diag([-1.0 if flipped else 1.0, 1.0, 1.0]) @ Rotation.from_euler("z", angle).as_matrix()
    linear = turn[:2, :2] * size / (side * scale)
    return np.column_stack([linear, size / 2 - linear @ centre]), turn, flipped


def _hide_part(pixels: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Put a rectangle of a random colour over ``pixels`` (S, S, 3)."""
    size = len(pixels)
    height, width = (size * rng.uniform(*OCCLUSION_SIZE, 2)).astype(int)
    top, left = (rng.random(2) * (size - np.array([height, width]))).astype(int)
    pixels[top : top + height, left : left + width] = rng.integers(0, 256, 3)


def _turned_rotations(smpl: SmplParams | None, turn: NDArray[np.float64], order: NDArray[np.intp]) -> FloatArray:
    """SMPL's rotations (24, 3, 3) of a body turned (and mirrored) as a whole in front of the camera.

    The root takes the turn. Mirroring with M = diag(-1, 1, 1) swaps left and right and makes M R M of every joint's R.
    """
    if smpl is None:
        return np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
    rotations = Rotation.from_rotvec(np.concatenate([smpl.global_orient[None], smpl.body_pose])).as_matrix()
    mirror = np.diag([np.linalg.det(turn), 1, 1])
    rotations[0] = mirror @ turn @ rotations[0]  # without the mirroring, a plain turn
    return (mirror @ rotations[order] @ mirror).astype(np.float32)
