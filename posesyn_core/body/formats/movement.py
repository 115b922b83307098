"""A body that moves, as files of other programs want it: metres, y up, whatever it was estimated or planned in."""

from collections.abc import Sequence

import numpy as np
import torch
from attrs import evolve, field, frozen

from posesyn_core.body.fitting import fit_smpl
from posesyn_core.body.model import Body
from posesyn_core.method.orientation import camera_to_y_up, orient_to_camera
from posesyn_core.values import ClipPlan, FloatArray, Motion, SmplParams, array

FITTED_AT_ONCE = 16
"""Motions that are fitted together."""


@frozen
class Movement:
    """L frames of one body in a world of metres with y up."""

    name: str
    fps: float = field(validator=lambda _, __, fps: _positive(fps))
    global_orient: FloatArray = array(("L", 3), "axis-angle of the root, y up")
    body_pose: FloatArray = array(("L", 23, 3), "axis-angle of joints 1..23 relative to their parents")
    betas: FloatArray = array((10,), "shape coefficients of the body that it is written with")
    transl: FloatArray = array(("L", 3), "translation added to the posed body, metres, y up")

    def roots(self, body: Body) -> FloatArray:
        """(L, 3) metres: where the pelvis is."""
        return self.transl + rest_joints(body, self.betas)[0]


def _positive(fps: float) -> None:
    if not fps > 0:
        raise ValueError(f"a movement needs a frame rate above 0, not {fps}")


def rest_joints(body: Body, betas: FloatArray) -> FloatArray:
    """(24, 3) metres: the joints of the T-pose."""
    return body.rest_joints(torch.from_numpy(np.array(betas))[None])[0].cpu().numpy()


def rest_surface(body: Body, betas: FloatArray) -> FloatArray:
    """(V, 3) metres: the surface of the T-pose."""
    shape = torch.from_numpy(np.array(betas)).to(body.v_template.device)
    return (body.v_template + body.shapedirs @ shape).cpu().numpy()


def fit_motions(body: Body, motions: Sequence[Motion]) -> list[Movement]:
    """Motions as the average body does them (Eq. 8), where they go; the floor stays at y = 0."""
    found = []
    for start in range(0, len(motions), FITTED_AT_ONCE):
        group = motions[start : start + FITTED_AT_ONCE]
        longest = max(len(motion.joints) for motion in group)
        joints, mask = np.zeros((len(group), longest, 22, 3), np.float32), np.zeros((len(group), longest), bool)
        for at, motion in enumerate(group):
            joints[at, : len(motion.joints)], mask[at, : len(motion.joints)] = motion.joints, True
        fit = fit_smpl(body, torch.from_numpy(joints), torch.from_numpy(mask), torch.zeros(len(group), 10))
        for at, motion in enumerate(group):
            fitted = (fit.global_orient, fit.body_pose, fit.transl)
            orient, pose, transl = (each[at, : len(motion.joints)].numpy() for each in fitted)
            found.append(Movement(motion.id, motion.fps, orient, pose, np.zeros(10, np.float32), transl))
    return found


def from_camera(body: Body, name: str, fps: float, frames: Sequence[SmplParams]) -> Movement:
    """Bodies of the camera frame, turned upright: the camera at the origin looks along -z.

    All get the median of their shapes: a movement has one body.
    """
    betas = np.median([frame.betas for frame in frames], axis=0).astype(np.float32)
    orient, pose, transl = (
        np.stack([getattr(frame, name) for frame in frames]) for name in ("global_orient", "body_pose", "transl")
    )
    return _upright(body, Movement(name, fps, orient, pose, betas, transl))


def of_plan(body: Body, plan: ClipPlan) -> Movement:
    """The labelled bodies of a clip, turned upright as the camera saw them, and put down: they start at the origin,
    and their lowest point is at y = 0."""
    seen = Movement(plan.id, plan.fps, plan.global_orient, plan.body_pose, plan.betas, plan.transl)
    turned = _upright(body, seen)
    start = turned.roots(body)[0]
    return evolve(turned, transl=turned.transl - [start[0], _lowest(body, turned), start[2]])


def _upright(body: Body, seen: Movement) -> Movement:
    """Half a turn about x for a movement of the camera frame (x right, y down, z away)."""
    rest = rest_joints(body, seen.betas)[0]
    transl = camera_to_y_up(seen.transl + rest) - rest
    return evolve(seen, global_orient=orient_to_camera(seen.global_orient), transl=transl)


def _lowest(body: Body, movement: Movement) -> float:
    """The height of the lowest point of the surface in all frames, metres."""
    lowest = np.inf
    parts = (movement.global_orient, movement.body_pose, movement.transl)
    betas = torch.from_numpy(np.array(movement.betas))
    for orient, pose, transl in zip(*(torch.from_numpy(np.array(p)).split(FITTED_AT_ONCE) for p in parts), strict=True):
        with torch.inference_mode():
            vertices = body(orient, pose, betas.expand(len(orient), -1), transl).vertices
        lowest = min(lowest, float(vertices[..., 1].min()))
    return lowest
