"""From images to what the network takes: the crop, and for training its augmentation with the labels in step."""

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.crops import apply_affine, crop_matrix
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import FloatArray, Image, Inputs, Pixels
from posesyn_hybrik.camera import FOCAL
from posesyn_hybrik.heatmaps import DEPTH_EXTENT
from posesyn_hybrik.people import MARGIN, Floats, Person, Pose
from posesyn_hybrik.skeleton import FLIP, JOINTS, TWIST_FLIP

MEAN = np.array([0.406, 0.457, 0.480], np.float32)
DEVIATION = np.array([0.225, 0.224, 0.229], np.float32)
"""ImageNet's, in the order blue, green, red, and taken out of red, green, blue: the networks are trained with that."""


@frozen
class Augmentation:
    """How crops vary in training; the defaults are the published ones.

    The crop's side varies by a factor of N(1, ``scale``), within 1 +- ``scale``; ``rotation_chance`` of the crops are
    turned by N(0, ``rotation``) degrees, at most twice that; each colour channel is multiplied by 1 +- ``colour``,
    uniformly; ``flip_chance`` of those with 3D labels are mirrored and twice as many of the others. ``occlusion`` is
    the share of the crops of which noise covers a rectangle.
    """

    scale: float = 0.3
    rotation: float = 30.0
    rotation_chance: float = 0.6
    colour: float = 0.2
    flip_chance: float = 0.25
    occlusion: float = 1.0


HIDDEN_3D, HIDDEN_2D = (0.3, 0.5), (0.7, 0.3)
"""The largest share of the box that is hidden, and the least height by width (and width by height), with 3D labels
and without."""


def crop_person(image: Image, box: ArrayLike, size: int) -> Pixels:
    """The network's input (3, size, size) for the person in ``box`` of a uint8 RGB image.

    The square of ``MARGIN`` times the box, sampled bilinearly from the image as it is, black outside. SampleError if
    the box is not finite, has no area or lies wholly outside the image.
    """
    check_box(box, image.shape[1], image.shape[0])
    return normalise(cut(image, crop_matrix(box, size, MARGIN), size))


def cut(image: Image, matrix: ArrayLike, size: int) -> Image:
    """``image`` by the map ``matrix`` (2, 3) into (size, size, 3). Large people are not smoothed, as published."""
    return cv2.warpAffine(image, np.asarray(matrix, np.float64), (size, size), flags=cv2.INTER_LINEAR)


def normalise(pixels: NDArray[np.uint8], gain: ArrayLike = (1, 1, 1)) -> Pixels:
    """uint8 RGB (S, S, 3) -> float32 (3, S, S), each channel first times its ``gain`` and clipped at white.

    A crop without a value over 1 is not divided by 255, as published.
    """
    unit = 255 if pixels.max(initial=0) > 1 else 1
    levels = np.clip(np.arange(256, dtype=np.float32)[:, None] * np.asarray(gain, np.float32), 0, 255) / np.float32(
        unit
    )
    return Pixels(pixels, ((levels - MEAN) / DEVIATION).T)


def training_inputs(person: Person, size: int, augmentation: Augmentation, rng: np.random.Generator) -> Inputs:
    """One augmented training item: ``images`` (3, size, size), and :func:`targets`. SampleError for a bad image."""
    image = load_image(person.image)
    view = draw_view(person, augmentation, rng)
    matrix = view.matrix(size)
    pixels = cut(image, matrix, size)
    if rng.random() < augmentation.occlusion:
        _hide_part(pixels, size * person.side / (MARGIN * view.side), person.has_joints3d, rng)
    gain = rng.uniform(1 - augmentation.colour, 1 + augmentation.colour, 3)
    return {"images": normalise(pixels, gain), **targets(person, view, size)}


@frozen(eq=False)
class View:
    """A crop of an image: its square's ``centre`` (2,) and ``side``, turned clockwise by ``angle`` (radians).

    ``flipped`` mirrors it left to right, after the turn.
    """

    centre: Floats
    side: float
    angle: float = 0.0
    flipped: bool = False

    @property
    def turn(self) -> Floats:
        """The same turn about the camera's axis (3, 3); mirrored, it is an improper one (determinant -1)."""
        mirror = np.diag([-1.0 if self.flipped else 1.0, 1.0, 1.0])
        turn: Floats = mirror @ Rotation.from_euler("z", self.angle).as_matrix()
        return turn

    def matrix(self, size: int) -> Floats:
        """The map (2, 3) from the image to a crop of ``size`` pixels."""
        linear = self.turn[:2, :2] * size / self.side
        return np.column_stack([linear, size / 2 - linear @ self.centre])

    def rotations(self, pose: Pose) -> Floats:
        """SMPL's rotations (24, 3, 3) of the body as it is seen here.

        The root takes the turn. Mirroring with M = diag(-1, 1, 1) swaps left and right and makes M R M of each R.
        """
        rotations = Rotation.from_rotvec(pose.rotations).as_matrix()
        mirror = np.diag([-1.0 if self.flipped else 1.0, 1.0, 1.0])
        rotations[0] = mirror @ self.turn @ rotations[0]  # without the mirroring, a plain turn
        order = SMPL24.flip if self.flipped else np.arange(24)
        return mirror @ rotations[order] @ mirror

    def twist(self, twist: Floats) -> Floats:
        """(cos, sin) (23, 2) of the twists as they are seen here: a mirror swaps the sides and turns them around."""
        return twist[TWIST_FLIP] * [1, -1] if self.flipped else twist


def draw_view(person: Person, augmentation: Augmentation, rng: np.random.Generator) -> View:
    """A random crop about the person."""
    scale = 1 + float(np.clip(augmentation.scale * rng.standard_normal(), -augmentation.scale, augmentation.scale))
    angle = np.radians(augmentation.rotation * float(np.clip(rng.standard_normal(), -2, 2)))
    angle *= rng.random() < augmentation.rotation_chance
    chance = augmentation.flip_chance * (1 if person.has_joints3d else 2)
    return View(person.centre, person.side * scale, float(angle), bool(rng.random() < chance))


def targets(person: Person, view: View, size: int) -> dict[str, FloatArray]:
    """What the network should say of the person in that crop.

    ``uvd`` (29, 3) as in ``posesyn_hybrik.heatmaps`` with ``uvd_weight`` (29, 3), 0 where the weight is; ``scale`` (1,)
    and ``trans`` (2,) of the camera, known if ``has_camera`` (): not without the pelvis, which it places; ``rotmat``
    (24, 3, 3) and ``betas`` (10,), known if ``has_smpl`` () and ``has_shape`` ();
    ``twist`` (23, 2) with ``twist_weight`` (23, 1). What is unknown is 0.
    """
    order = FLIP if view.flipped else np.arange(JOINTS)
    weights, joints = person.weights[order], person.joints3d[order] @ view.turn.T
    places = apply_affine(view.matrix(size), person.joints2d)[order] / size - 0.5
    uvd = np.column_stack([places, joints[:, 2] / DEPTH_EXTENT]) * weights
    scale, trans = fit_camera(joints[:24], uvd[:24, :2], np.all(weights[:24], axis=1))
    pose = person.pose
    known = person.twist_known[TWIST_FLIP] if view.flipped else person.twist_known
    item = {
        "uvd": uvd,
        "uvd_weight": weights,
        "scale": [scale],
        "trans": trans,
        "has_camera": weights[0, 2] > 0 and weights[:24, 2].sum() > 1,
        "rotmat": np.zeros((24, 3, 3)) if pose is None else view.rotations(pose),
        "betas": np.zeros(10) if pose is None else pose.betas,
        "has_smpl": pose is not None,
        "has_shape": pose is not None and pose.shape_known,
        "twist": view.twist(person.twist),
        "twist_weight": known[:, None],
    }
    return {name: np.asarray(value, np.float32) for name, value in item.items()}


def fit_camera(joints: Floats, places: Floats, valid: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Scale s and (tx, ty) of the camera that sees ``joints`` (J, 3), metres from the pelvis, at ``places`` (J, 2).

    Least squares over the ``valid`` (J,) in u (z 256 / f + 1 / s) = x + tx and the same for v and y (see
    ``posesyn_hybrik.camera``). All 0 with fewer than two.
    """
    if valid.sum() < 2:
        return 0.0, np.zeros(2)
    joints, places = joints[valid], places[valid]
    none, ones = np.zeros(len(joints)), np.ones(len(joints))
    across = np.column_stack([places[:, 0], -ones, none])
    down = np.column_stack([places[:, 1], none, -ones])
    measured = joints[:, :2] - places * joints[:, 2:] / FOCAL
    inverse, *trans = np.linalg.lstsq(np.vstack([across, down]), measured.T.ravel(), rcond=None)[0]
    return float(1 / inverse), np.array(trans)


def _hide_part(pixels: Image, box: float, labelled_3d: bool, rng: np.random.Generator) -> None:
    """Put a rectangle of noise over ``pixels`` (S, S, 3); the person's box is about ``box`` pixels in the middle."""
    largest, narrowest = HIDDEN_3D if labelled_3d else HIDDEN_2D
    area, aspect = rng.uniform(0, largest) * box**2, rng.uniform(narrowest, 1 / narrowest)
    sides = np.sqrt([area * aspect, area / aspect]).astype(int)
    corner = (len(pixels) - box) / 2 + rng.random(2) * (box - sides)
    (top, left), (bottom, right) = np.clip([corner, corner + sides], 0, len(pixels)).astype(int)
    pixels[top:bottom, left:right] = rng.integers(0, 256, (bottom - top, right - left, 3))
