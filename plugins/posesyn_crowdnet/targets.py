"""Training items: the cut picture, the disturbed 2D pose, and the targets that follow what was done to the picture.

Everything is in the official units: 2D in 0..64 of the heatmap, depth in 0..64 of 2 metres about the pelvis, 3D in
metres from the pelvis, camera frame.
"""

from collections.abc import Callable

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.geometry.crops import apply_affine
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import FloatArray, Image
from posesyn_crowdnet.body import JointRegressor
from posesyn_crowdnet.crops import Floats, View, crop_box, crop_matrix, cut, mirrored
from posesyn_crowdnet.joints import COCO, HUMAN36M, SUPERSET, flip_order, to_superset
from posesyn_crowdnet.network import CROP, HEATMAP
from posesyn_crowdnet.people import Fit, Person

TO_HEATMAP = HEATMAP / CROP
DEPTH_EXTENT = 2.0
"""Metres of depth that the volume spans."""
AS_COCO = [SUPERSET.index(name) for name in COCO]
LARGEST_BETA = 3.0
LARGEST_MISFIT = 0.025
"""Metres; a fit that is off by more is not trained on."""
UNTRUSTED = ("L_Ankle", "R_Ankle", "L_Toe", "R_Toe", "L_Wrist", "R_Wrist", "L_Hand", "R_Hand")
"""Joints whose fitted rotations are not trained on: keypoints hardly determine them."""

Disturb = Callable[[Floats, Floats, float], Floats]
"""COCO's joints (17, 3: x, y, valid), those of neighbours (N, 17, 3) and the area of the person, all in crop pixels, ->
the joints (17, 2) as they might be detected (:func:`posesyn_crowdnet.posefix.disturb`)."""


def training_item(
    person: Person,
    image: Image,
    view: View,
    regressor: JointRegressor,
    *,
    disturb: Disturb | None = None,
    fit_check: JointRegressor | None = None,
) -> dict[str, FloatArray]:
    """One item; J = 30 joints. SampleError for a bad image or box.

    - ``images`` (3, 256, 256), ``joints`` (J, 2) and ``joints_mask`` (J, 1): the network's inputs;
    - ``orig_joint_img`` (J, 3) and ``orig_joint_cam`` (J, 3): the annotated joints; ``orig_joint_valid`` and
      ``orig_joint_trunc`` (J, 1): which are known, and known within the crop; ``is_3D`` (J, 1): those of a 3D set, but
      for the ones that are unknown in 3D (the official one is one number for all);
    - ``fit_joint_img``, ``fit_joint_cam`` (J, 3), ``pose_param`` (72,), ``shape_param`` (10,): the fitted body;
      ``fit_joint_trunc`` (J, 1), ``fit_param_valid`` (72,), ``is_valid_fit`` ().

    ``regressor`` gives the 30 joints of fitted bodies. ``fit_check`` gives Human3.6M's 17, for people whose fit is to
    be compared with their 3D joints. Without ``disturb`` the network gets the true 2D joints.
    """
    box = crop_box(person.box, person.width, person.height)
    matrix = crop_matrix(box, view, person.width)
    return {"images": cut(image, box, view), **labels(person, view, matrix, regressor, disturb, fit_check)}


def labels(
    person: Person,
    view: View,
    matrix: Floats,
    regressor: JointRegressor,
    disturb: Disturb | None = None,
    fit_check: JointRegressor | None = None,
) -> dict[str, FloatArray]:
    """All of :func:`training_item` but the picture; ``matrix`` is :func:`posesyn_crowdnet.crops.crop_matrix`'s."""
    order = flip_order(person.names) if view.flipped else np.arange(len(person.names))
    points = mirrored(person.points, person.width) if view.flipped else person.points
    in_crop, valid = apply_affine(matrix, points[order]), person.valid[order]
    depth = valid.astype(np.float64) if person.points3d is None else _depths(person, order)
    place = to_superset(np.column_stack([in_crop * TO_HEATMAP, depth]), person.names)
    known = to_superset(valid, person.names)
    seen = known & _inside(place, with_depth=person.points3d is not None)
    shown = to_superset(person.shown[order], person.names)
    given = place[:, :2].copy()
    if disturb is not None:
        given[AS_COCO] = _detected(person, view, matrix, given, known, disturb)
    item = {
        "joints": given,
        "joints_mask": (seen & shown)[:, None],
        "orig_joint_img": place,
        "orig_joint_cam": _camera_joints(person, view, order),
        "orig_joint_valid": known[:, None],
        "orig_joint_trunc": seen[:, None],
        "is_3D": np.zeros((len(SUPERSET), 1)) if person.points3d is None else _known_3d(person, order),
        **_fit_targets(person, view, matrix, regressor, fit_check),
    }
    return {name: np.asarray(value, np.float32) for name, value in item.items()}


def _detected(
    person: Person, view: View, matrix: Floats, given: Floats, known: NDArray[np.bool_], disturb: Disturb
) -> Floats:
    """COCO's joints (17, 2) of the superset's ``given`` (30, 2), disturbed; all in heatmap units.

    As published, neighbours are not mirrored with the picture, and all of their joints count, absent ones too.
    """
    joints = np.column_stack([given[AS_COCO] / TO_HEATMAP, known[AS_COCO]])
    others = np.ones_like(person.neighbours)
    others[..., :2] = apply_affine(matrix, person.neighbours[..., :2].reshape(-1, 2)).reshape(others[..., :2].shape)
    area = person.tight[2:].prod() * abs(np.linalg.det(matrix[:, :2]))
    return disturb(joints, others, float(area)) * TO_HEATMAP


def _depths(person: Person, order: NDArray[np.intp]) -> Floats:
    assert person.points3d is not None
    z = person.points3d[order, 2]
    return ((z - z[person.names.index("Pelvis")]) / (DEPTH_EXTENT / 2) + 1) / 2 * HEATMAP


def _known_3d(person: Person, order: NDArray[np.intp]) -> Floats:
    """(30, 1) weights; what the set has not counts as known, as published, and is left out by its 2D label."""
    known: Floats = 1 - to_superset(1 - person.weights3d[order], person.names)[:, None]
    return known


def _inside(place: Floats, *, with_depth: bool) -> NDArray[np.bool_]:
    """(J,) whether x, y (and z) lie within the heatmap."""
    used = place if with_depth else place[:, :2]
    inside: NDArray[np.bool_] = np.logical_and.reduce((used >= 0) & (used < HEATMAP), axis=1)
    return inside


def _camera_joints(person: Person, view: View, order: NDArray[np.intp]) -> Floats:
    """The annotated 3D joints (30, 3) from the pelvis, mirrored and turned with the picture; 0 without."""
    if person.points3d is None:
        return np.zeros((len(SUPERSET), 3))
    joints = person.points3d - person.points3d[person.names.index("Pelvis")]
    if view.flipped:
        joints = joints[order] * [-1, 1, 1]
    return to_superset(joints @ view.turn.T, person.names)


@frozen
class PosedFit:
    """A fit as seen in the (mirrored, but not yet turned) picture: joints (30, 3) metres in the camera frame."""

    pose: Floats
    joints: Floats
    place: Floats


def _fit_targets(
    person: Person, view: View, matrix: Floats, regressor: JointRegressor, fit_check: JointRegressor | None
) -> dict[str, object]:
    trusted = np.repeat([name not in UNTRUSTED for name in SUPERSET[: len(SMPL24)]], 3)
    turn = np.eye(3) if person.official_mpii else view.turn
    if person.fit is None:
        none = np.zeros((len(SUPERSET), 3))
        root = Rotation.from_matrix(turn).as_rotvec()
        return {
            "fit_joint_img": none, "fit_joint_cam": none, "pose_param": np.concatenate([root, np.zeros(69)]),
            "shape_param": np.zeros(10), "fit_joint_trunc": none[:, :1], "fit_param_valid": trusted, "is_valid_fit": 0,
            "is_valid_shape": 0,
        }  # fmt: skip
    posed = pose_fit(person.fit, view, person.width, regressor)
    place = posed.place.copy()
    place[:, :2] = apply_affine(matrix, place[:, :2]) * TO_HEATMAP
    place[:, 2] = ((place[:, 2] - posed.joints[0, 2]) / (DEPTH_EXTENT / 2) + 1) / 2 * HEATMAP
    joints = posed.joints if person.official_mpii else (posed.joints - posed.joints[0]) @ turn.T
    pose = posed.pose.copy()
    pose[0] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[0])).as_rotvec()
    betas = person.fit.betas
    good = not person.checked or fit_check is None or _misfit(person, view, posed.pose, fit_check) <= LARGEST_MISFIT
    return {
        "fit_joint_img": place,
        "fit_joint_cam": joints,
        "pose_param": pose.ravel(),
        "shape_param": np.zeros(10) if (np.abs(betas) > LARGEST_BETA).any() else betas,
        "fit_joint_trunc": _inside(place, with_depth=True)[:, None],
        "fit_param_valid": trusted,
        "is_valid_fit": good,
        "is_valid_shape": good and person.fit.shape_known,
    }


def pose_fit(fit: Fit, view: View, width: int, regressor: JointRegressor) -> PosedFit:
    """The fit in the picture, mirrored if the view is (x moved so that the pelvis lands on the mirrored pixel)."""
    pose = fit.pose
    if view.flipped:
        pose = pose[SMPL24.flip] * [1, -1, -1]
    joints = _regressed(regressor, pose, fit.betas)
    transl = fit.transl
    if fit.world is not None:
        transl = transl - joints[0] + fit.world @ joints[0]
    joints = joints + transl
    focal, centre = fit.camera.focal_length.astype(np.float64), fit.camera.principal_point.astype(np.float64)
    if view.flipped:
        root = joints[0].copy()
        joints[:, 0] += 2 * ((width - 1) / 2 - centre[0]) / focal[0] * root[2] - 2 * root[0]
    pixels = joints[:, :2] / joints[:, 2:] * focal + centre
    return PosedFit(pose, joints, np.column_stack([pixels, joints[:, 2]]))


def _regressed(regressor: JointRegressor, pose: Floats, betas: Floats) -> Floats:
    rotations = torch.from_numpy(Rotation.from_rotvec(pose).as_matrix()[None])
    with torch.no_grad():
        kind = regressor.rows
        joints = regressor(rotations.to(kind), torch.from_numpy(np.array(betas)[None]).to(kind))
    return joints[0].cpu().numpy().astype(np.float64)


def _misfit(person: Person, view: View, pose: Floats, fit_check: JointRegressor) -> float:
    """Mean distance (m) of the annotated joints from those of the fit that both have, their means put together."""
    assert person.points3d is not None and person.fit is not None
    order = flip_order(person.names) if view.flipped else np.arange(len(person.names))
    annotated = person.points3d[order] * ([-1, 1, 1] if view.flipped else [1, 1, 1])
    fitted = _regressed(fit_check, pose, person.fit.betas)
    common = [(person.names.index(name), at) for at, name in enumerate(HUMAN36M) if name in person.names]
    here, there = np.array(common).T
    difference = annotated[here] - fitted[there]
    return float(np.linalg.norm(difference - difference.mean(0), axis=1).mean())
