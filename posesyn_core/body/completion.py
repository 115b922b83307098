"""Estimates completed to a whole SMPL pose, where one is needed: initial poses of motions, reference people.

An estimator of another joint set knows no more than that set's joints. The body is fitted to those of them that are
SMPL's too (Eq. 8 with missing joints), placed where the estimate's camera sees them where the estimate says. What no
joint tells is guessed by anatomy: the trunk goes with hips and shoulders, feet point to the front, and an unseen limb
hangs. The residual of the fit is in the estimate that results.
"""

from collections.abc import Sequence

import numpy as np
import roma
import torch
import torch.nn.functional as F
from attrs import evolve
from numpy.typing import NDArray
from torch import Tensor

from posesyn_core.body.fitting import fit_smpl
from posesyn_core.body.model import Body
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.cameras import place, project
from posesyn_core.geometry.joints import estimated, known_joints, places_of
from posesyn_core.geometry.skeletons import HUMANML22, SMPL24, conversion
from posesyn_core.values import FloatArray, PoseEstimate, SmplParams

MM = 1000.0
JOINTS = len(HUMANML22)
AT = HUMANML22.joints.index
HIPS, KNEES, ANKLES, FEET, SHOULDERS, ELBOWS, WRISTS = (
    [AT(f"left_{part}"), AT(f"right_{part}")] for part in ("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist")
)
TRUNK = [*HIPS, *SHOULDERS]
LIMBS = [*HIPS, *KNEES, *ANKLES, *SHOULDERS, *ELBOWS, *WRISTS]
LEAST_LIMBS = 8
"""Of the 12 limb joints, as many must be known; hips and shoulders always."""
LOWER, UPPER = [AT("pelvis"), AT("spine1")], [*map(AT, ("spine3", "neck", "left_collar", "right_collar", "head"))]
CHUNK = 64
"""Estimates are fitted so many at a time, repeats among them: the last bits depend on that number."""
ITERATIONS = 5
"""More than for motions: a single pose has no neighbours, and other sets place joints a little elsewhere."""


def complete_all(body: Body, results: Sequence[PoseEstimate | SampleError]) -> list[PoseEstimate | SampleError]:
    """:func:`complete` for an estimator's results: those that it failed with stay."""
    found = iter(complete(body, [result for result in results if isinstance(result, PoseEstimate)]))
    return [next(found) if isinstance(result, PoseEstimate) else result for result in results]


def complete(body: Body, estimates: Sequence[PoseEstimate]) -> list[PoseEstimate | SampleError]:
    """The estimates as whole SMPL poses: SMPL's 24 joints in 2D and 3D, all known, and ``smpl`` on ``body``.

    One that is whole already stays as it is; one that has all of SMPL's joints keeps them and gets ``smpl``. Others get
    the joints of their own ``smpl``, or else of the body fitted to what they know, and its distance from that in
    ``residual_mm``. SampleError for an estimate that knows too little. UserError for a joint set that has too few of
    SMPL's joints (:func:`check_completable`). Each result depends on its own estimate alone.
    """
    results: list[PoseEstimate | SampleError] = list(estimates)
    poor = places_of(None if is_whole(each) else each.joint_set for each in estimates)
    for name, places in poor.items():
        if name is not None:
            check_completable(name)
            for chunk in (places[at : at + CHUNK] for at in range(0, len(places), CHUNK)):
                padded = [estimates[at] for at in [*chunk, *(CHUNK - len(chunk)) * chunk[-1:]]]
                for at, result in zip(chunk, _completed(body, padded), strict=False):
                    results[at] = result
    return results


def is_whole(estimate: PoseEstimate) -> bool:
    """Does it have all of SMPL's joints and its parameters?"""
    return estimate.smpl is not None and _has_all_joints(estimate)


def _has_all_joints(estimate: PoseEstimate) -> bool:
    if estimate.joint_set != SMPL24.name:
        return False
    return all(bool(known_joints(estimate, dimensions).all()) for dimensions in (2, 3))


def check_completable(name: str) -> None:
    """UserError naming what the joint set lacks, if it is too poor for the fit of a body."""
    has = (conversion(name, HUMANML22.name) != 0).any(1)
    missing = [HUMANML22.joints[at] for at in LIMBS if not has[at]]
    if missing:
        raise UserError(
            f"joint set {name!r} is too poor for a whole SMPL pose: it lacks {', '.join(missing)}; "
            "take an estimator that has them"
        )


def _completed(body: Body, estimates: Sequence[PoseEstimate]) -> list[PoseEstimate | SampleError]:
    """Estimates of one joint set, none of them whole."""
    points, known = estimated(estimates, HUMANML22.name, 3, np.float64)
    able = known[:, TRUNK].all(1) & (known[:, LIMBS].sum(1) >= LEAST_LIMBS)
    faults = [
        None if fits else SampleError(f"the estimate has too few joints for a whole pose: {_missing(row)} are unknown")
        for fits, row in zip(able, known, strict=True)
    ]
    found = iter(_posed(body, [e for e, fits in zip(estimates, able, strict=True) if fits], points[able], known[able]))
    return [next(found) if fault is None else fault for fault in faults]


def _missing(known: NDArray[np.bool_]) -> str:
    return ", ".join(HUMANML22.joints[at] for at in LIMBS if not known[at])


def _posed(
    body: Body, estimates: Sequence[PoseEstimate], points: NDArray[np.floating], known: NDArray[np.bool_]
) -> list[PoseEstimate | SampleError]:
    """Estimates with their joints ``points`` (N, 22, 3) as far as ``known`` (N, 22)."""
    if not estimates:
        return []
    orient, pose, betas = _parameters(body, estimates, points, known)
    with torch.inference_mode():
        joints = body.joints(*(torch.from_numpy(part).to(body.v_template) for part in (orient, pose, betas)))
        rest = body.rest_joints(torch.from_numpy(betas).to(body.v_template))[:, 0]
    whole, pelvis = joints.cpu().numpy().astype(np.float64), rest.cpu().numpy()
    relative = whole - whole[:, :1]
    residual = _residual(relative[:, :JOINTS], points, known)
    where = _places(estimates, relative, pelvis)
    return [
        _result(estimate, SmplParams(*parts), relative[at], float(residual[at]), where[at])
        for at, (estimate, *parts) in enumerate(zip(estimates, orient, pose, betas, where - pelvis, strict=True))
    ]


def _parameters(
    body: Body, estimates: Sequence[PoseEstimate], points: NDArray[np.floating], known: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Root orientations (N, 3), poses (N, 23, 3) and betas (N, 10): the estimates' own, or those of the fit."""
    parts = [np.zeros((len(estimates), *shape), np.float32) for shape in ((3,), (23, 3), (10,))]
    unfitted = [at for at, estimate in enumerate(estimates) if estimate.smpl is None]
    if unfitted:
        given, mask = torch.from_numpy(points[unfitted]).double(), torch.from_numpy(known[unfitted])
        rest = body.rest_joints(torch.zeros(1, 10).to(body.v_template))[0].double().cpu()
        target = fill(given, mask, rest)[:, None]
        fit = fit_smpl(body, target, known=mask[:, None], iterations=ITERATIONS)
        for part, values in zip(parts, (fit.global_orient[:, 0], fit.body_pose[:, 0], fit.betas), strict=True):
            part[unfitted] = values.numpy()
    for at, estimate in enumerate(estimates):
        if estimate.smpl is not None:
            own = estimate.smpl.global_orient, estimate.smpl.body_pose, estimate.smpl.betas
            for part, value in zip(parts, own, strict=True):
                part[at] = value
    orient, pose, betas = parts
    return orient, pose, betas


def _residual(
    joints: NDArray[np.float64], points: NDArray[np.floating], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(N,) mm: mean distance over the known joints, both sides about their mean."""
    share = known / known.sum(1, keepdims=True)
    moved, fixed = (each - np.einsum("nj,njc->nc", share, each)[:, None] for each in (joints, points))
    return MM * (share * np.linalg.norm(moved - fixed, axis=-1)).sum(1)


def _places(
    estimates: Sequence[PoseEstimate], joints: NDArray[np.float64], pelvis: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(N, 3) metres: where the pelvis is, as estimates with parameters of their own say; ``pelvis`` (N, 3) is the one
    of the rest pose. Else so that the cameras see joints (N, 24, 3) relative to it as estimated."""
    pixels, known = estimated(estimates, SMPL24.name, 2, np.float64)
    focal = np.array([estimate.camera.focal_length for estimate in estimates], np.float64)
    middle = np.array([estimate.camera.principal_point for estimate in estimates], np.float64)
    where = place(joints, pixels, known, focal, middle)
    for at, estimate in enumerate(estimates):
        if estimate.smpl is not None:
            where[at] = pelvis[at] + estimate.smpl.transl
    return where


def _result(
    estimate: PoseEstimate, smpl: SmplParams, joints: NDArray[np.float64], residual: float, where: NDArray[np.float64]
) -> PoseEstimate | SampleError:
    """The whole estimate: the body ``smpl`` with its joints (24, 3) relative to the pelvis, which is at ``where``."""
    if not (np.isfinite(residual) and np.isfinite(where).all()):
        return SampleError("no body can be fitted to the estimate's joints and camera")
    if _has_all_joints(estimate):
        return evolve(estimate, smpl=smpl, residual_mm=residual)
    camera = estimate.camera
    return PoseEstimate(
        joints3d=joints.astype(np.float32),
        joints2d=project((joints + where).astype(np.float32), camera.focal_length, camera.principal_point),
        camera=camera,
        smpl=smpl,
        residual_mm=residual,
    )


# ---- what no joint tells -----------------------------------------------------------------------------------------


def fill(points: Tensor, known: Tensor, rest: Tensor) -> Tensor:
    """Joints (N, 22, 3) with a guess in place of those that are not ``known`` (N, 22): a start for the fit.

    Hips and shoulders are known. ``rest`` (24, 3) are the joints of the average body in its rest pose, whose trunk is
    laid between them, scaled to the person.
    """
    found = points.where(known[..., None], 0.0)
    scale = _scale(found, known, rest)[:, None, None]
    low, high = _middle(found, HIPS), _middle(found, SHOULDERS)
    pelvis, chest = (_turned(found, rest, pair, high - low) for pair in (HIPS, SHOULDERS))
    below = low[:, None] + scale * _laid(pelvis, rest, [*LOWER, AT("spine2")], HIPS)
    above = high[:, None] + scale * _laid(chest, rest, [*UPPER, AT("spine2")], SHOULDERS)
    guess = found.clone()
    guess[:, LOWER], guess[:, UPPER] = below[:, :-1], above[:, :-1]
    guess[:, AT("spine2")] = 0.5 * (below[:, -1] + above[:, -1])
    found = points.where(known[..., None], guess)
    down = F.normalize(low - high, dim=-1)[:, None]
    thigh = scale * (rest[KNEES] - rest[HIPS]) @ pelvis.mT
    for starts, ends, direction in (
        (HIPS, KNEES, thigh),
        (KNEES, ANKLES, None),
        (SHOULDERS, ELBOWS, down.expand(-1, 2, -1)),
        (ELBOWS, WRISTS, None),
    ):
        before = {tuple(ANKLES): HIPS, tuple(WRISTS): SHOULDERS}.get(tuple(ends), starts)
        along = found[:, starts] - found[:, before] if direction is None else direction
        length = scale * (rest[ends] - rest[starts]).norm(dim=-1)[:, None]
        straight = found[:, starts] + F.normalize(along, dim=-1) * length
        found[:, ends] = found[:, ends].where(known[:, ends, None], straight)
    feet = found[:, ANKLES] + scale * _foot(found, pelvis, rest)
    found[:, FEET] = found[:, FEET].where(known[:, FEET, None], feet)
    return found


def _middle(points: Tensor, pair: list[int]) -> Tensor:
    return points[..., pair, :].mean(-2)


def _frame(across: Tensor, upwards: Tensor) -> Tensor:
    return roma.special_gramschmidt(torch.stack([across, upwards], dim=-1))


def _turned(points: Tensor, rest: Tensor, pair: list[int], upwards: Tensor) -> Tensor:
    """(N, 3, 3): how the part of the trunk about a left and right joint is turned against the rest pose."""
    at_rest = _frame(rest[pair[0]] - rest[pair[1]], _middle(rest, SHOULDERS) - _middle(rest, HIPS))
    return _frame(points[:, pair[0]] - points[:, pair[1]], upwards) @ at_rest.mT


def _laid(turn: Tensor, rest: Tensor, joints: list[int], pair: list[int]) -> Tensor:
    """(N, K, 3): the joints of the rest pose relative to the middle of a pair, turned."""
    return (rest[joints] - _middle(rest, pair)) @ turn.mT


def _scale(points: Tensor, known: Tensor, rest: Tensor) -> Tensor:
    """(N,): the person's size by the average body's: the known limb bones, and from hips to shoulders."""
    starts, ends = [*HIPS, *KNEES, *SHOULDERS, *ELBOWS], [*KNEES, *ANKLES, *ELBOWS, *WRISTS]
    both = known[:, starts] & known[:, ends]
    bones, usual = (points[:, ends] - points[:, starts]).norm(dim=-1), (rest[ends] - rest[starts]).norm(dim=-1)
    trunk = (_middle(points, SHOULDERS) - _middle(points, HIPS)).norm(dim=-1)
    usual_trunk = (_middle(rest, SHOULDERS) - _middle(rest, HIPS)).norm()
    return (trunk + (bones * both).sum(1)) / (usual_trunk + (usual * both).sum(1))


def _foot(points: Tensor, pelvis: Tensor, rest: Tensor) -> Tensor:
    """(N, 2, 3): from ankles to feet, in the plane in which the knees bend, or straight ahead of the pelvis."""
    thigh = F.normalize(points[:, KNEES] - points[:, HIPS], dim=-1)
    shank = F.normalize(points[:, ANKLES] - points[:, KNEES], dim=-1)
    ahead = 0.1 * pelvis[:, None, :, 2] + thigh
    front = ahead - (ahead * shank).sum(-1, keepdim=True) * shank
    usual = rest[ANKLES] - rest[KNEES]
    turn = _frame(shank, front) @ _frame(usual, torch.tensor([0.0, 0.0, 1.0]).to(rest).expand_as(usual)).mT
    return (turn @ (rest[FEET] - rest[ANKLES])[..., None])[..., 0]
