"""How the starter's training looks at a person: crops as its two looks take them, and as pictures vary; labels in
step."""

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_blazepose.network import SIZE
from posesyn_blazepose.rois import FIRST_MARGIN, Floats, crop_matrix, square_of_box, turns
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import FloatArray, Image, LabelledFrame, SmplParams

BODY_MARGIN = 1.45
"""The second look's square over the longer side of the box about the joints, along the body."""
SHOULDERS, HIPS = [16, 17], [1, 2]
LEAST_TORSO = 0.15
"""Of the person's extent: a shorter torso (seen along its axis) says nothing of how to turn the crop."""


@frozen
class Augmentation:
    """``scale`` and ``shift`` (of the side) are deviations of the square; ``turn`` degrees of deviation; ``whirl`` is
    the share of first looks turned by any angle; ``second`` the share of second looks; ``colour`` how much channels
    and brightness vary; ``occlusion`` the share of crops of which parts are hidden; ``blur`` of those that are
    coarse."""

    scale: float = 0.1
    shift: float = 0.04
    turn: float = 10.0
    whirl: float = 0.2
    second: float = 0.5
    colour: float = 0.2
    occlusion: float = 0.35
    blur: float = 0.25


@frozen(eq=False)
class View:
    """One crop of a person: its square ``roi`` (4,), and whether it is ``flipped`` left to right afterwards."""

    roi: Floats
    flipped: bool

    @property
    def turn(self) -> Floats:
        """What becomes of directions in the camera's frame (3, 3); of determinant -1 if flipped."""
        turn = np.eye(3)
        turn[:2, :2] = turns(self.roi).T
        return np.diag([-1.0 if self.flipped else 1.0, 1.0, 1.0]) @ turn

    def matrix(self) -> Floats:
        """The map (2, 3) from the picture to the crop."""
        matrix = crop_matrix(self.roi, SIZE)
        if self.flipped:
            matrix[0] = [0, 0, SIZE] - matrix[0]
        return matrix


def square_of_body(points: Floats, known: NDArray[np.bool_]) -> Floats | None:
    """The upright square (4,) about joints (24, 2) of SMPL as the second look takes it; None if the torso is
    unknown."""
    if known.sum() < 2:
        return None
    seen = points[known]
    torso = points[SHOULDERS].mean(0) - points[HIPS].mean(0)
    short = np.hypot(*torso) < LEAST_TORSO * np.ptp(seen, axis=0).max()
    told = known[SHOULDERS + HIPS].all() and not short
    angle = np.arctan2(torso[0], -torso[1]) if told else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    aligned = seen @ turn
    low, high = aligned.min(0), aligned.max(0)
    return np.array([*(turn @ ((low + high) / 2)), (high - low).max() * BODY_MARGIN, angle])


def draw_view(frame: LabelledFrame, augmentation: Augmentation, rng: np.random.Generator) -> View:
    """A random look at the person of a frame."""
    body = square_of_body(frame.joints2d.astype(np.float64), frame.confidence > 0)
    second = body is not None and rng.random() < augmentation.second
    roi = body.copy() if second and body is not None else square_of_box(frame.box, FIRST_MARGIN)
    roi[:2] += rng.normal(0, augmentation.shift, 2) * roi[2]
    roi[2] *= np.exp(augmentation.scale * np.clip(rng.standard_normal(), -2, 2))
    if not second and rng.random() < augmentation.whirl:
        roi[3] += rng.uniform(-np.pi, np.pi)
    else:
        roi[3] += np.radians(augmentation.turn) * np.clip(rng.standard_normal(), -2.5, 2.5)
    return View(roi, bool(rng.random() < 0.5))


def draw_crop(image: Image, view: View, augmentation: Augmentation, rng: np.random.Generator) -> Image:
    """The crop (256, 256, 3), varied as light, lenses and other people vary it."""
    matrix = view.matrix()
    crop = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < augmentation.occlusion:
        for _ in range(rng.integers(1, 4)):
            _hide(crop, rng)
    if rng.random() < augmentation.blur:
        small = int(SIZE * rng.uniform(0.2, 0.6))
        crop = cv2.resize(cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), (SIZE, SIZE))
    spread = augmentation.colour
    gain = np.exp(rng.normal(0, spread, 3) * 0.5 + rng.normal(0, spread))
    levels = np.clip(np.arange(256.0)[:, None] * gain + rng.normal(0, 40 * spread), 0, 255).astype(np.uint8)
    return np.stack([levels[:, channel].take(crop[..., channel]) for channel in range(3)], -1)


def _hide(crop: Image, rng: np.random.Generator) -> None:
    """Put a rectangle of one colour, or of another part of the picture, over a part of the crop; changes it."""
    height, width = (SIZE * rng.uniform(0.06, 0.32, 2)).astype(int)
    top, left = (rng.random(2) * (SIZE - np.array([height, width]))).astype(int)
    patch: Image | NDArray[np.integer] = rng.integers(0, 256, 3)
    if rng.random() < 0.5:
        y, x = (rng.random(2) * (SIZE - np.array([height, width]))).astype(int)
        patch = crop[y : y + height, x : x + width].copy()
    crop[top : top + height, left : left + width] = patch


def labels(frame: LabelledFrame, view: View) -> dict[str, NDArray[np.float32]]:
    """What the loss needs of one view of a person.

    ``keypoints2d`` (24, 3): x, y with the crop as -1..1, and confidence; ``joints3d`` (24, 4): x, y, z in metres, and
    confidence; ``rotmat`` (24, 3, 3); ``shape`` (10,); ``has_smpl`` () is 0 or 1, and ``has_shape`` () whether the
    betas are known, too. What is unknown is 0 (rotations: identity).
    """
    order = SMPL24.flip if view.flipped else np.arange(24)
    matrix, known = view.matrix(), frame.labels3d()[order]
    places = (frame.joints2d[order] @ matrix[:, :2].T + matrix[:, 2]) / (SIZE / 2) - 1
    shape = np.zeros(10, np.float32) if frame.smpl is None or not frame.smpl.shape_known else frame.smpl.betas
    return {
        "keypoints2d": np.column_stack([places, frame.confidence[order]]).astype(np.float32),
        "joints3d": np.column_stack([known[:, :3] @ view.turn.T, known[:, 3]]).astype(np.float32),
        "rotmat": turned_rotations(frame.smpl, view.turn, order),
        "shape": np.asarray(shape, np.float32),
        "has_smpl": np.array(frame.smpl is not None, np.float32),
        "has_shape": np.array(frame.smpl is not None and frame.smpl.shape_known, np.float32),
    }


def turned_rotations(smpl: SmplParams | None, turn: Floats, order: NDArray[np.intp]) -> FloatArray:
    """SMPL's rotations (24, 3, 3) of a body turned (and mirrored) as a whole in front of the camera."""
    if smpl is None:
        return np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
    rotations = Rotation.from_rotvec(np.concatenate([smpl.global_orient[None], smpl.body_pose])).as_matrix()
    mirror = np.diag([np.linalg.det(turn), 1, 1])
    rotations[0] = mirror @ turn @ rotations[0]  # without the mirroring, a plain turn
    return (mirror @ rotations[order] @ mirror).astype(np.float32)
