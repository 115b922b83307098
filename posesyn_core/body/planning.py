"""From a motion to posed bodies in a reference image: fitting (Eq. 8), orientation (Eq. 9) and place.

The reference's shape, camera and place are kept (Eq. 7); only pose and orientation come from the motion.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from attrs import evolve, frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.body.fitting import fit_smpl
from posesyn_core.body.model import Body
from posesyn_core.body.skinning import rigid_chain
from posesyn_core.body.smoothing import smooth_positions, smooth_rotations
from posesyn_core.errors import SampleError
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.geometry.skeletons import SMPL24, convert
from posesyn_core.method.orientation import Mode, align_orientation, orient_to_camera
from posesyn_core.values import ClipPlan, FloatArray, Motion, PoseEstimate, Sample, SmplParams

Translation = Literal["follow", "constant"]


def plan_clips(
    body: Body,
    motions: Sequence[Motion],
    references: Sequence[Sample],
    estimates: Sequence[PoseEstimate],
    *,
    names: Sequence[str],
    seeds: Sequence[int],
    orientation: Mode,
    translation: Translation = "follow",
    smooth: float = 0.0,
    skeletons: Sequence[FloatArray | None] | None = None,
) -> list[ClipPlan]:
    """Lay each motion onto its reference person; all motions are fitted together.

    ``estimates`` are the estimator's view of the references and must carry ``smpl``. ``orientation`` is the mode of
    :func:`posesyn_core.method.orientation.align_orientation`; motions that carry their rotations are not fitted, and
    those with an orientation of their own keep it. The pelvis stays where the reference's is (Eq. 10:
    ``translation`` "constant"); with "follow" it goes up and down as the motion's, whose heights are scaled like its
    legs, so that who sits down or jumps does so in the picture, too. ``smooth`` is the standard deviation, in frames,
    of a Gaussian over the fitted rotations and the pelvis (:mod:`posesyn_core.body.smoothing`); the first frame is the
    reference's all the same, and the labels are those of the smoothed bodies. ``residual_mm`` is that of the fit,
    before it. ``skeletons`` are the T-pose's joints (24, 3) of people who are not of the body's proportions (None for
    those who are).
    """
    if not motions:
        return []
    bodies = [estimate.smpl for estimate in estimates]
    shapes = np.stack([smpl.betas for smpl in bodies if smpl is not None])
    given = [None] * len(motions) if skeletons is None else skeletons
    rests = [_rest(body, betas, skeleton) for betas, skeleton in zip(shapes, given, strict=True)]
    bodies_of = _bodies(body, motions, shapes, rests)
    plans = []
    for at, (motion, reference, estimate) in enumerate(zip(motions, references, estimates, strict=True)):
        assert estimate.smpl is not None
        found = bodies_of[at]
        pose = smooth_rotations(found.body_pose, smooth)
        global_orient = smooth_rotations(found.global_orient, smooth)
        if motion.global_orient is None:
            turned = orient_to_camera(global_orient)
            global_orient = align_orientation(turned, estimate.smpl.global_orient, orientation)
        heights = smooth_positions(found.places, smooth)[:, 1]
        transl = _place(heights if translation == "follow" else 0 * heights, estimate.smpl)
        joints3d = _joints(rests[at], global_orient, pose, transl)
        plans.append(
            ClipPlan(
                id=names[at],
                motion_id=motion.id,
                sample_id=motion.sample_id,
                caption=motion.caption,
                reference=reference,
                reference_estimate=estimate,
                camera=estimate.camera,
                fps=motion.fps,
                seed=seeds[at],
                residual_mm=found.residual_mm,
                global_orient=global_orient,
                body_pose=pose,
                betas=estimate.smpl.betas,
                transl=transl,
                joints3d=joints3d,
                joints2d=project(joints3d, estimate.camera.focal_length, estimate.camera.principal_point),
            )
        )
    return plans


@frozen(eq=False)
class _Found:
    """The bodies of a motion: rotations (L, ...), the root's in the motion's frame or, where the motion gives it, the
    camera's; ``places`` (L, 3) of the pelvis, y up."""

    residual_mm: float
    body_pose: FloatArray
    global_orient: FloatArray
    places: FloatArray


def _bodies(body: Body, motions: Sequence[Motion], shapes: FloatArray, rests: Sequence[torch.Tensor]) -> list[_Found]:
    """Those that motions carry, and those fitted to the joints of the others, all together."""
    found: dict[int, _Found] = {}
    for at, motion in enumerate(motions):
        if motion.body_pose is not None:
            orient = motion.global_orient
            still = np.zeros((len(motion.joints), 3), np.float32)
            found[at] = _Found(0.0, motion.body_pose, still if orient is None else orient, motion.joints[:, 0])
    fitted = [at for at in range(len(motions)) if at not in found]
    if fitted:
        joints, mask = _padded([motions[at].joints for at in fitted])
        numbers = (torch.from_numpy(part) for part in (joints, mask, shapes[fitted]))
        fit = fit_smpl(body, *numbers, skeleton=torch.stack([rests[at] for at in fitted]))
        for row, at in enumerate(fitted):
            columns = (fit.body_pose, fit.global_orient, fit.transl)
            parts = [column[row, : len(motions[at].joints)].numpy() for column in columns]
            found[at] = _Found(float(fit.residual_mm[row]), *parts)
    return [found[at] for at in range(len(motions))]


POSED_AT_ONCE = 16
"""Frames whose surfaces are posed in one batch."""


def posed_vertices(body: Body, plan: ClipPlan) -> Iterator[FloatArray]:
    """The surface (V, 3) of the plan's body in each frame, metres, camera frame."""
    betas = np.repeat(plan.betas[None], len(plan.transl), axis=0)
    parameters = (plan.global_orient, plan.body_pose, betas, plan.transl)
    for batch in zip(*(torch.from_numpy(np.array(part)).split(POSED_AT_ONCE) for part in parameters), strict=True):
        with torch.inference_mode():
            vertices = body(*batch).vertices.numpy()
        yield from vertices


def filled_in(body: Body, plan: ClipPlan, places: NDArray[np.intp]) -> ClipPlan:
    """The plan with bodies put in between its own, which come to stand at ``places`` (L,), rising from 0.

    Rotations go the shortest way at an even pace, the pelvis in a straight line; ``body`` is the plan's.
    """
    frames = np.arange(places[-1] + 1)
    before = np.clip(np.searchsorted(places, frames, side="right") - 1, 0, max(len(places) - 2, 0))
    after = np.minimum(before + 1, len(places) - 1)
    share = ((frames - places[before]) / np.maximum(places[after] - places[before], 1)).astype(np.float32)
    rotations = np.concatenate([plan.global_orient[:, None], plan.body_pose], axis=1)
    start, end = (Rotation.from_rotvec(rotations[at].reshape(-1, 3)) for at in (before, after))
    turn = Rotation.from_rotvec((start.inv() * end).as_rotvec() * np.repeat(share, rotations.shape[1])[:, None])
    between = (start * turn).as_rotvec().astype(np.float32).reshape(len(frames), -1, 3)
    transl = plan.transl[before] + share[:, None] * (plan.transl[after] - plan.transl[before])
    between[places], transl[places] = rotations, plan.transl
    joints3d = _joints(_rest(body, plan.betas, None), between[:, 0], between[:, 1:], transl)
    joints3d[places] = plan.joints3d
    joints2d = project(joints3d, plan.camera.focal_length, plan.camera.principal_point)
    return evolve(
        plan,
        global_orient=between[:, 0],
        body_pose=between[:, 1:],
        transl=transl,
        joints3d=joints3d,
        joints2d=joints2d,
    )


def require_drawable(plan: ClipPlan, size: tuple[int, int]) -> None:
    """SampleError if bodies of a plan are not finite, or leave the picture of ``size`` (H, W) wholly."""
    if not all(np.isfinite(a).all() for a in (plan.global_orient, plan.body_pose, plan.betas, plan.transl)):
        raise SampleError("the plan's bodies have numbers that are not finite")
    inside = (plan.joints2d >= 0) & (plan.joints2d < size[::-1]) & (plan.joints3d[..., 2:] > 0)
    gone = np.flatnonzero(~inside.all(axis=-1).any(axis=-1))
    if len(gone):
        raise SampleError(f"the body leaves the image: no joint is in it in frame {gone[0]} of {len(plan.transl)}")


AROUND_BOX = 0.25
"""Share of the person box's size by which joints may lie outside of it."""
LEAST_IN_BOX = 0.75
"""Share of the joints that must lie in the box so enlarged."""
LEAST_SPAN = 0.3
"""Share of the box's longer side that the joints must span at least."""


LARGEST_DISAGREEMENT_MM = 30.0
"""By which the joints of an estimate may differ, on average, from those that its own parameters make on the run's body:
more than an estimator's joints from the mesh do from SMPL's, less than two bodies."""


def reference_fault(
    body: Body, estimate: PoseEstimate, sample: Sample, skeleton: FloatArray | None = None
) -> str | None:
    """Why the estimated body of a reference person can't be animated; None if it can.

    There must be a person box, and a body (``smpl``) that is finite, before the camera, and reprojects into the box:
    an estimate of someone else, or of nobody, would be animated over the picture of the person. The parameters must be
    of this body: those of another would animate a person of other proportions. ``skeleton`` is that of a person who is
    known not to have them.
    """
    smpl, camera = estimate.smpl, estimate.camera
    low, high = sample.box[:2], sample.box[2:]
    if not (np.isfinite(sample.box).all() and (high > low).all()):
        return "the reference has no person box"
    if smpl is None:
        return "the estimator gives no body (SMPL) for the reference"
    numbers = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl, camera.focal_length, camera.principal_point)
    if not all(np.isfinite(each).all() for each in (*numbers, estimate.joints2d, estimate.joints3d)):
        return "the estimated body of the reference has numbers that are not finite"
    rest = _rest(body, smpl.betas, skeleton)
    (joints,) = _joints(rest, smpl.global_orient[None], smpl.body_pose[None], smpl.transl[None])
    if joints[:, 2].min() <= 0:
        return "the estimated body of the reference lies behind the camera"
    seen = project(joints, camera.focal_length, camera.principal_point)
    slack = AROUND_BOX * (high - low).max()
    share = ((seen >= low - slack) & (seen <= high + slack)).all(axis=1).mean()
    if share < LEAST_IN_BOX:
        return f"only {100 * share:.0f} % of the reference's estimated joints lie in the person box"
    apart = _from_own_joints_mm(joints, estimate)
    if apart > LARGEST_DISAGREEMENT_MM:
        return (
            f"the reference's SMPL parameters make joints that are {apart:.0f} mm from the estimated ones on average: "
            "they are of another body than the run's"
        )
    if np.ptp(seen, axis=0).max() < LEAST_SPAN * (high - low).max():
        return "the estimated body of the reference is far smaller than the person box"
    return None


def _from_own_joints_mm(joints: FloatArray, estimate: PoseEstimate) -> float:
    """Mean distance of joints (24, 3) from the estimated ones, both from the root; 0 where there are no such joints."""
    if estimate.joint_set != SMPL24.name or estimate.residual_mm is not None:  # a fitted body has its own residual
        return 0.0
    relative, own = joints - joints[:1], estimate.joints3d - estimate.joints3d[:1]
    return float(1000 * np.linalg.norm(relative - own, axis=-1).mean())


def plan_fault(plan: ClipPlan, most_mm: float) -> str | None:
    """Why a clip can't be drawn as planned; None if it can. ``most_mm`` bounds the residual of the fit (Eq. 8)."""
    numbers = (plan.residual_mm, plan.global_orient, plan.body_pose, plan.transl, plan.joints3d, plan.joints2d)
    if not all(np.isfinite(each).all() for each in numbers):
        return "joints -> SMPL gave numbers that are not finite"
    if plan.residual_mm > most_mm:
        return f"joints -> SMPL residual {plan.residual_mm:.0f} mm > {most_mm:.0f} mm"
    if plan.joints3d[..., 2].min() <= 0:
        return "the motion goes behind the camera"
    return None


TURNS = np.radians(np.arange(-90.0, 91.0, 3.0))
"""The turns about the vertical that :func:`turn_to_labels` tries."""


def turn_to_labels(body: Body, estimate: PoseEstimate, sample: Sample) -> PoseEstimate:
    """The estimate turned about the camera's vertical, and placed, as the sample's labelled 2D joints fit best.

    A weak estimator often finds a pose but misses its heading by tens of degrees. A texture lifted with that heading
    would teach the estimator its own mistake; the labels of the reference know better. Weak perspective, least
    squares over the joints that both know. Without ``smpl``, or with fewer than four such joints, it is left as it is.
    """
    joints, derivable = convert(estimate.joints3d, None, "smpl24", sample.joint_set)
    known = derivable & (sample.confidence > 0)
    if estimate.smpl is None or known.sum() < 4:
        return estimate
    turns = Rotation.from_rotvec(TURNS[:, None] * [0.0, 1.0, 0.0])
    seen = np.einsum("aij,kj->aki", turns.as_matrix(), joints[known])[..., :2]
    labels = sample.keypoints2d[known].astype(np.float64)
    centred, wanted = seen - seen.mean(1, keepdims=True), labels - labels.mean(0)
    scales = (centred * wanted).sum((1, 2)) / (centred**2).sum((1, 2))  # pixels per metre
    best = int(((scales[:, None, None] * centred - wanted) ** 2).sum((1, 2)).argmin())
    if scales[best] <= 0:
        return estimate
    return _moved(body, estimate, turns[best], scales[best], labels.mean(0), seen[best].mean(0))


def _moved(
    body: Body, estimate: PoseEstimate, turn: Rotation, scale: float, where: FloatArray, middle: FloatArray
) -> PoseEstimate:
    """The estimate after ``turn``: a metre is ``scale`` pixels there, and the joints' ``middle`` lies at ``where``."""
    smpl, camera = estimate.smpl, estimate.camera
    assert smpl is not None
    depth = float(camera.focal_length.mean()) / scale
    across = (where - camera.principal_point) * depth / camera.focal_length - middle
    pelvis = np.append(across, depth)
    rest = body.rest_joints(torch.from_numpy(np.array(smpl.betas))[None])[0, 0].numpy()
    joints3d = turn.apply(estimate.joints3d)
    orient = (turn * Rotation.from_rotvec(smpl.global_orient)).as_rotvec()
    return evolve(
        estimate,
        joints3d=joints3d,
        joints2d=project(joints3d + pelvis, camera.focal_length, camera.principal_point),
        smpl=evolve(smpl, global_orient=orient, transl=pelvis - rest),
    )


def _padded(clips: Sequence[FloatArray]) -> tuple[FloatArray, np.ndarray]:
    """Clips of unequal length as (B, L, 22, 3), the last frame repeated, with the mask (B, L) of real frames."""
    longest = max(len(clip) for clip in clips)
    padded = np.stack([np.pad(clip, ((0, longest - len(clip)), (0, 0), (0, 0)), mode="edge") for clip in clips])
    mask = np.arange(longest) < np.array([len(clip) for clip in clips])[:, None]
    return padded, mask


def _place(heights: FloatArray, reference: SmplParams) -> FloatArray:
    """Translations (L, 3), camera frame: the reference's, raised and lowered as ``heights`` (L,), metres."""
    transl = np.repeat(reference.transl[None], len(heights), axis=0)
    transl[:, 1] -= heights - heights[0]
    return transl


def _rest(body: Body, betas: FloatArray, skeleton: FloatArray | None) -> torch.Tensor:
    """The T-pose's joints (24, 3): of the body, or of a person who has others."""
    if skeleton is not None:
        return torch.from_numpy(np.array(skeleton))
    with torch.inference_mode():
        return body.rest_joints(torch.from_numpy(np.array(betas))[None])[0]


def _joints(rest: torch.Tensor, global_orient: FloatArray, body_pose: FloatArray, transl: FloatArray) -> FloatArray:
    with torch.inference_mode():
        pose = torch.from_numpy(np.concatenate([global_orient[:, None], body_pose], axis=1))
        _, joints = rigid_chain(axis_angle_to_matrix(pose), rest[None])
        return (joints + torch.from_numpy(np.array(transl))[:, None]).numpy()
