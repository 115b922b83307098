"""Training items: a labelled person, the official augmentation, and the labels in step with the picture."""

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.crops import apply_affine
from posesyn_core.geometry.joints import frame_in
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import FloatArray, Image, LabelledFrame, Pixels
from posesyn_hmr2.crops import Floats, as_pixels, crop_matrix, expand_to_aspect, warp
from posesyn_hmr2.extreme_crops import extreme_crop
from posesyn_hmr2.joints import FLIP, SMPL_OF, Joints44, from_smpl
from posesyn_hmr2.people import Person

SMALLEST = 4.0
"""Pixels; an extreme crop that is smaller is not made."""


def person_of(frame: LabelledFrame, joints: Joints44) -> Person:
    """The labels of one of our frames.

    Its square is the one that is cut at inference. Where it has SMPL parameters of known shape, all joints that
    ``joints`` knows are labelled by posing its body, which must be that of the frame; else those of the 44 that are
    joints of SMPL.
    """
    smpl = frame.smpl
    pose = np.zeros((24, 3), np.float32) if smpl is None else np.concatenate([smpl.global_orient[None], smpl.body_pose])
    labels_2d, labels_3d = _labels(frame, joints, pose)
    return Person(
        id=frame.id,
        image=frame.image,
        keypoints_2d=labels_2d,
        keypoints_3d=labels_3d,
        center=(frame.box[:2] + frame.box[2:]) / 2,
        extent=expand_to_aspect(frame.box[2:] - frame.box[:2]),
        body_pose=pose.ravel(),
        betas=np.zeros(10, np.float32) if smpl is None else smpl.betas,
        has_body_pose=smpl is not None,
        has_betas=smpl is not None and smpl.shape_known,
        pose_alone=smpl is not None and not smpl.shape_known,
    )


def _labels(frame: LabelledFrame, joints: Joints44, pose: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``keypoints_2d`` and ``keypoints_3d`` of a frame; all 0 where it has none."""
    frame = frame_in(frame, "smpl24")
    labels_2d = from_smpl(frame.joints2d, frame.confidence)
    if frame.smpl is None or not frame.smpl.shape_known:
        labels_3d = frame.labels3d()
        return labels_2d, from_smpl(labels_3d[:, :3], labels_3d[:, 3], pelvis=True)
    device = joints.known.device
    rotations = axis_angle_to_matrix(torch.from_numpy(pose).to(device))[None]
    with torch.inference_mode():
        posed = joints(rotations, torch.tensor(frame.smpl.betas, device=device)[None])[0].cpu().numpy()
    known = joints.known.cpu().numpy()
    labels_3d = np.column_stack([posed * known[:, None], known]).astype(np.float32)
    if frame.camera is None:
        return labels_2d, labels_3d
    seen = project(posed + frame.smpl.transl, frame.camera.focal_length, frame.camera.principal_point)
    projected = np.column_stack([np.where(known[:, None], seen, 0), known]).astype(np.float32)
    projected[list(SMPL_OF)] = labels_2d[list(SMPL_OF)]  # what the frame itself says goes before
    return projected, labels_3d


@frozen
class Augmentation:
    """How crops vary in training; the defaults are the published ones.

    The square's side varies by a factor 1 + ``scale`` * N(0, 1), clipped at one deviation, its centre by ``shift`` *
    N(0, 1) of the side, clipped likewise; a share ``rotation_chance`` is turned by ``rotation`` * N(0, 1) degrees,
    clipped at two; each colour is multiplied by 1 +- ``colour``, uniformly; a share ``flip_chance`` is mirrored. For a
    share ``extreme_chance`` the box shrinks to a part of the body (see ``posesyn_hmr2.extreme_crops``).
    """

    scale: float = 0.3
    rotation: float = 30.0
    rotation_chance: float = 0.6
    shift: float = 0.02
    colour: float = 0.2
    flip_chance: float = 0.5
    extreme_chance: float = 0.1
    extreme_level: int = 1

    def draw(self, rng: np.random.Generator) -> "View":
        """One view of a person."""
        turned = rng.random() < self.rotation_chance
        return View(
            scale=1 + self.scale * float(np.clip(rng.standard_normal(), -1, 1)),
            turn=self.rotation * float(np.clip(rng.standard_normal(), -2, 2)) if turned else 0.0,
            flipped=bool(rng.random() < self.flip_chance),
            gain=tuple(rng.uniform(1 - self.colour, 1 + self.colour, 3)),
            shift=tuple(self.shift * np.clip(rng.standard_normal(2), -1, 1)),
            extreme=float(rng.random()) if rng.random() < self.extreme_chance else None,
            extreme_level=self.extreme_level,
        )


@frozen
class View:
    """How one crop differs from the plain one: what :class:`Augmentation` drew.

    ``extreme`` in [0, 1) chooses the part of the body to show; None = all of it.
    """

    scale: float = 1.0
    turn: float = 0.0
    flipped: bool = False
    gain: tuple[float, ...] = (1.0, 1.0, 1.0)
    shift: tuple[float, ...] = (0.0, 0.0)
    extreme: float | None = None
    extreme_level: int = 1

    def square(self, person: Person) -> tuple[Floats, float]:
        """Centre (2,) and side of the square to cut out, before it is turned, scaled and mirrored."""
        box = np.concatenate([person.center, person.extent]).astype(np.float64)
        if self.extreme is not None:
            part = extreme_crop(box, person.keypoints_2d, self.extreme, self.extreme_level)
            box = part if part[2:].min() >= SMALLEST else box
        side = float(box[2:].max())
        return box[:2] + side * np.array(self.shift), side

    def matrix(self, person: Person, width: int, size: int) -> Floats:
        """The map (2, 3) to the crop, from the image or, if ``flipped``, from the mirrored image of that ``width``."""
        center, side = self.square(person)
        if self.flipped:
            center = np.array([width - center[0] - 1, center[1]])
        scaled = np.float32(side) * np.float32(self.scale)  # as published, for the same pixels
        return crop_matrix(center, float(scaled), size, self.turn)

    def cut(self, image: NDArray, person: Person, size: int) -> NDArray:
        """The crop (size, size[, 3]) of an image (H, W[, 3]); training does not blur."""
        given = np.ascontiguousarray(image[:, ::-1]) if self.flipped else image
        return warp(given, self.matrix(person, image.shape[1], size), size)


def training_inputs(person: Person, image: Image, view: View, size: int) -> dict[str, FloatArray | Pixels]:
    """One training item, as the official loader makes it but for its mask, which its losses do not use.

    ``images`` (3, size, size) normalised; ``keypoints_2d`` (44, 3): x, y with the crop as -0.5..0.5, and confidence;
    ``keypoints_3d`` (44, 4): metres and confidence; ``global_orient`` (3,) and ``body_pose`` (23, 3) axis-angle;
    ``betas`` (10,); ``has_body_pose`` (for the root as well) and ``has_betas`` () are 0 or 1.
    """
    pose = turned_pose(person.body_pose.reshape(24, 3), view)
    return {
        "images": as_pixels(view.cut(image, person, size), view.gain),
        "keypoints_2d": _placed(person, view, image.shape[1], size),
        "keypoints_3d": _turned(person.keypoints_3d, view),
        "global_orient": pose[0],
        "body_pose": pose[1:],
        "betas": person.betas.astype(np.float32),
        "has_body_pose": np.array(person.has_body_pose, np.float32),
        "has_betas": np.array(person.has_betas, np.float32),
    }


def crop_mask(person: Person, image: Image, view: View, size: int) -> FloatArray:
    """The silhouette (size, size) in the crop, 0..1, as the official loader makes it.

    Without one all of the image counts, and all of the crop if nothing of it would be left.
    """
    silhouette = np.ones(image.shape[:2], bool) if person.mask is None else person.mask
    mask: FloatArray = view.cut(silhouette.astype(np.uint8) * 255, person, size).astype(np.float32) / np.float32(255)
    return mask if (mask > 0.5).any() else np.ones_like(mask)


def _placed(person: Person, view: View, width: int, size: int) -> FloatArray:
    """2D joints in the crop."""
    points = person.keypoints_2d
    if view.flipped:
        points = np.column_stack([width - points[:, 0] - 1, points[:, 1:]])[FLIP].astype(np.float32)
    places = apply_affine(view.matrix(person, width, size), points[:, :2]) / size - 0.5
    return np.column_stack([places, points[:, 2]]).astype(np.float32)


def _turned(points: FloatArray, view: View) -> FloatArray:
    """3D joints (44, 4) mirrored, then turned about the camera's axis."""
    if view.flipped:
        points = (points * np.array([-1, 1, 1, 1], np.float32))[FLIP].astype(np.float32)
    turn = Rotation.from_euler("z", -view.turn, degrees=True).as_matrix()
    return np.column_stack([points[:, :3] @ turn.T, points[:, 3]]).astype(np.float32)


def turned_pose(pose: FloatArray, view: View) -> FloatArray:
    """Axis-angles (24, 3) of the body mirrored, then turned about the camera's axis."""
    if view.flipped:
        pose = (pose * np.array([1, -1, -1], np.float32))[SMPL24.flip].astype(np.float32)
    turned = Rotation.from_euler("z", -view.turn, degrees=True) * Rotation.from_rotvec(pose[0])
    result: FloatArray = np.concatenate([turned.as_rotvec()[None], pose[1:]]).astype(np.float32)
    return result
