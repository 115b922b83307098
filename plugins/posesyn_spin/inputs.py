"""From images to what the network takes: the crop, and for training its augmentation with the labels in step."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.crops import apply_affine, crop, square, warp
from posesyn_core.geometry.joints import frame_in
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import EncodedImage, FloatArray, Image, Inputs, LabelledFrame, Pixels, SmplParams
from posesyn_spin.crops import UNIT, CropKind, official_crop, transform, transform_matrix

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


@frozen(eq=False)
class Person:
    """One labelled person, wherever the labels come from: a frame of ours, or a row of an official annotation file.

    The square to cut out has ``centre`` (2,) and ``side`` in pixels. ``keypoints2d`` (24, 3) are x, y in pixels and
    confidence; ``joints3d`` (24, 4) x, y, z in metres and confidence, both in SMPL's order; ``smpl`` None if unknown.
    """

    id: str
    image: EncodedImage
    centre: NDArray[np.float64]
    side: float
    keypoints2d: NDArray[np.float64]
    joints3d: NDArray[np.float64]
    smpl: SmplParams | None


def person_of(frame: LabelledFrame) -> Person:
    """The labels of one of our frames."""
    frame = frame_in(frame, "smpl24")
    centre, side = square(frame.box, MARGIN)
    return Person(
        id=frame.id,
        image=frame.image,
        centre=centre,
        side=float(side),
        keypoints2d=np.column_stack([frame.joints2d, frame.confidence]).astype(np.float64),
        joints3d=frame.labels3d().astype(np.float64),
        smpl=frame.smpl,
    )


def crop_person(image: Image, box: FloatArray, size: int, kind: CropKind = "affine") -> Pixels:
    """The network's input (3, size, size) for the person in ``box`` of a uint8 RGB image.

    SampleError if the box is not finite, has no area or lies wholly outside the image.
    """
    if kind == "affine":
        return normalise(crop(image, box, size, MARGIN)[0])
    check_box(box, image.shape[1], image.shape[0])
    centre, side = square(box, MARGIN)
    return normalise(official_crop(image, centre, float(side) / UNIT, size, stretch=kind == "official"))


def normalise(pixels: NDArray[np.uint8]) -> Pixels:
    """uint8 RGB (S, S, 3) -> float32 (3, S, S) with ImageNet's mean and deviation taken out."""
    return _normalised(pixels, np.ones(3, np.float32))


def _normalised(pixels: NDArray[np.uint8], gain: FloatArray) -> Pixels:
    """As :func:`normalise`, each channel first times its ``gain`` and clipped at white."""
    levels = np.minimum(np.arange(256, dtype=np.float32)[:, None] * gain / 255, 1)
    return Pixels(pixels, ((levels - MEAN) / DEVIATION).T)


@frozen(eq=False)
class View:
    """How one crop looks at a person: its square's ``centre`` (2,) and ``side``, turned clockwise by ``angle`` radians.

    ``flipped`` mirrors it left to right, after the turn; ``gain`` (3,) brightens its channels; ``kind`` says how pixels
    are taken.
    """

    centre: NDArray[np.float64]
    side: float
    angle: float
    flipped: bool
    gain: FloatArray
    kind: CropKind

    @property
    def turn(self) -> NDArray[np.float64]:
        """The same turn about the camera's axis (3, 3); mirrored, it is an improper one (determinant -1)."""
        mirror = np.diag([-1.0 if self.flipped else 1.0, 1.0, 1.0])
        return mirror @ Rotation.from_euler("z", self.angle).as_matrix()

    def matrix(self, size: int) -> NDArray[np.float64]:
        """The map (2, 3) from the image to a crop of ``size`` pixels."""
        linear = self.turn[:2, :2] * size / self.side
        return np.column_stack([linear, size / 2 - linear @ self.centre])

    def cut(self, image: Image, size: int) -> Image:
        """The picture (size, size, 3); a fresh array."""
        if self.kind == "affine":
            return warp(image, self.matrix(size), size)
        stretch = self.kind == "official"
        pixels = official_crop(image, self.centre, self.side / UNIT, size, rotation=self._degrees, stretch=stretch)
        return np.array(pixels[:, ::-1] if self.flipped else pixels)

    def places(self, points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Image points (J, 2) with the crop as -1..1; as published, an official crop's are whole pixels of it."""
        if self.kind == "affine":
            return 2 * apply_affine(self.matrix(size), points) / size - 1
        matrix = transform_matrix(self.centre, self.side / UNIT, size, self._degrees)
        return (2 * transform(points + 1, matrix) / size - 1) * [-1 if self.flipped else 1, 1]

    @property
    def _degrees(self) -> float:
        """The turn as the official code counts it: counter-clockwise."""
        return -float(np.degrees(self.angle))


def training_inputs(
    person: Person, size: int, augmentation: Augmentation, rng: np.random.Generator, kind: CropKind = "affine"
) -> Inputs:
    """One augmented training item (see :func:`training_item`). SampleError for a bad image."""
    image = load_image(person.image)
    view = _draw_view(person, augmentation, rng, kind)
    pixels = view.cut(image, size)
    if rng.random() < augmentation.occlusion:
        _hide_part(pixels, rng)
    return training_item(person, view, pixels)


def training_item(person: Person, view: View, pixels: Image) -> Inputs:
    """What the loss needs of one view of a person, whose picture is ``pixels`` (S, S, 3).

    ``images`` (3, S, S); ``keypoints2d`` (24, 3): x, y with the crop as -1..1, and confidence; ``joints3d`` (24, 4):
    x, y, z in metres, and confidence; ``rotmat`` (24, 3, 3); ``betas`` (10,); ``has_smpl`` () is 0 or 1, and
    ``has_shape`` () whether the betas are known, too. What is unknown is 0 (rotations: identity).
    """
    order = SMPL24.flip if view.flipped else np.arange(24)
    keypoints, joints = person.keypoints2d[order], person.joints3d[order]
    places = view.places(keypoints[:, :2], len(pixels))
    return {
        "images": _normalised(pixels, view.gain),
        "keypoints2d": np.column_stack([places, keypoints[:, 2]]).astype(np.float32),
        "joints3d": np.column_stack([joints[:, :3] @ view.turn.T, joints[:, 3]]).astype(np.float32),
        "rotmat": _turned_rotations(person.smpl, view.turn, order),
        "betas": np.zeros(10, np.float32) if person.smpl is None else person.smpl.betas,
        "has_smpl": np.array(person.smpl is not None, np.float32),
        "has_shape": np.array(person.smpl is not None and person.smpl.shape_known, np.float32),
    }


def _draw_view(person: Person, augmentation: Augmentation, rng: np.random.Generator, kind: CropKind) -> View:
    """A random crop about the person."""
    scale = 1 + augmentation.scale * float(np.clip(rng.standard_normal(), -1, 1))
    angle = np.radians(augmentation.rotation * float(np.clip(rng.standard_normal(), -2, 2)))
    angle *= rng.random() < ROTATION_CHANCE
    centre = person.centre + augmentation.shift * person.side * rng.standard_normal(2)
    flipped = bool(rng.random() < FLIP_CHANCE)
    gain = rng.uniform(1 - augmentation.colour, 1 + augmentation.colour, 3).astype(np.float32)
    return View(centre, person.side * scale, float(angle), flipped, gain, kind)


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
