"""What can be turned in the report: skeletons that move and bodies, as compact numbers for ``page.js``.

A scene is a list of layers. Points are millimetres with y up as int16, little-endian, in base64: 6 bytes a point. A
layer is a skeleton of a joint set (frames, joints, 3), or the surface of the run's body (vertices, 3), whose triangles
stand in the page once.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posesyn_core.body.label_fitting import fit_to_labels
from posesyn_core.body.model import Body
from posesyn_core.drawing.sheets import LABELLED, PREDICTED, Shades
from posesyn_core.drawing.skeletons import LEFT, MIDDLE, RIGHT, Colour, colour_of
from posesyn_core.errors import PoseSynError
from posesyn_core.geometry import skeletons
from posesyn_core.method.orientation import camera_to_y_up
from posesyn_core.pipeline.cases import SHOWN, Case, read_cases
from posesyn_core.pipeline.evaluate import WORST
from posesyn_core.pipeline.run import Run, Selected
from posesyn_core.values import ClipPlan, FloatArray, Motion, SmplParams

Scene = dict[str, Any]
Layer = dict[str, Any]
APART = 1.1
"""Metres between people who stand side by side."""
SHOWN_FPS = 10.0
"""Frames a second that are kept of a motion; the page blends between them."""
UNKNOWN = -32768
FITTED: Shades = ((20, 120, 70), (120, 205, 150), (50, 165, 105))
SIDES: Shades = (LEFT, RIGHT, MIDDLE)
TRUE_BODY, ESTIMATED_BODY = (90, 160, 235), (245, 140, 60)


def run_body(run: Run) -> Body | None:
    """The run's body; None where it can't be had here: skeletons are shown then."""
    try:
        return run.bodies.body
    except PoseSynError:
        return None


def fitted_poses(run: Run, body: Body | None, hard: Sequence[Selected]) -> list[FloatArray | None]:
    """The poses (24, 3) from which motions start, where the recipe has them fitted to the labels."""
    if body is None or run.recipe.synthesize.pose != "fitted" or not hard:
        return [None] * len(hard)
    samples = [selected.scored.sample for selected in hard]
    return list(fit_to_labels(body, [selected.pose for selected in hard], samples))


def motion_scene(selected: Selected, fitted: FloatArray | None, motion: Motion | None) -> Scene:
    """A hard sample's pseudo-label, the pose fitted to its labels, and its motion, side by side."""
    pose = selected.pose.joints3d[None] if selected.pose.joint_set == "smpl24" else None
    layers = [("what the estimator saw", pose, PREDICTED), ("fitted to the 2D labels", _one(fitted), FITTED)]
    found = [
        _skeleton(name, camera_to_y_up(joints), "smpl24", tone) for name, joints, tone in layers if joints is not None
    ]
    if motion is not None:
        step = max(1, round(motion.fps / SHOWN_FPS))
        joints = motion.joints[::step] - motion.joints[0, 0] * [1, 0, 1]
        found.append(_skeleton("motion", joints, "humanml22", SIDES, motion.fps / step))
    for at, layer in enumerate(found):
        layer["offset"] = [APART * (at - (len(found) - 1) / 2), 0, 0]
    return {"layers": found}


def clip_scene(plan: ClipPlan) -> Scene:
    """The labelled joints of a clip, as its camera saw them."""
    step = max(1, round(plan.fps / SHOWN_FPS))
    joints = camera_to_y_up(plan.joints3d[::step] - plan.joints3d[0, 0])
    return {"layers": [_skeleton("label", joints, "smpl24", SIDES, plan.fps / step)]}


def worst_scenes(run: Run, variant: str, body: Body | None) -> list[tuple[Case, Scene]]:
    """True and estimated body of the worst cases of all test sets, pelvis on pelvis, the worst first."""
    files = sorted((run.folder / "evaluate" / variant).glob(f"*{WORST}.npz"))
    worst = sorted((case for path in files for case in _cases(path)), key=lambda case: -case.error)[:SHOWN]
    return [(case, _case_scene(case, body)) for case in worst]


def _cases(path: Path) -> list[Case]:
    try:
        return read_cases(path)
    except PoseSynError:  # `posesyn check` tells of damaged files
        return []


def _case_scene(case: Case, body: Body | None) -> Scene:
    if body is not None and case.true_body is not None and case.body is not None:
        pair = (("truth", case.true_body, TRUE_BODY), ("estimate", case.body, ESTIMATED_BODY))
        return {"layers": [_surface(name, body, smpl, tone) for name, smpl, tone in pair]}
    sides = (("truth", case.true_joints, LABELLED), ("estimate", case.joints, PREDICTED))
    known = [(name, joints, tone) for name, joints, tone in sides if np.isfinite(joints).any()]
    return {"layers": [_skeleton(name, camera_to_y_up(joints[None]), "smpl24", tone) for name, joints, tone in known]}


def _one(joints: FloatArray | None) -> FloatArray | None:
    return None if joints is None else joints[None]


def _skeleton(name: str, joints: NDArray[np.floating], joint_set: str, tone: Shades, fps: float = 0.0) -> Layer:
    """A skeleton (L, J, 3) with its lowest joint at y = 0."""
    standing = joints - [0, np.nanmin(joints[..., 1]), 0]
    known = skeletons.joint_set(joint_set)
    return {
        "name": name, "kind": "skeleton", "frames": len(joints), "fps": fps, "points": packed(standing),
        "bones": known.bones, "colours": [css(colour_of(joint, tone)) for joint in known.joints],
    }  # fmt: skip


def _surface(name: str, body: Body, smpl: SmplParams, tone: Colour) -> Layer:
    parts = (smpl.global_orient, smpl.body_pose, smpl.betas)
    with torch.inference_mode():
        posed = body(*(torch.from_numpy(np.array(part))[None] for part in parts))
    vertices = camera_to_y_up((posed.vertices - posed.joints3d[:, :1])[0].numpy())
    return {"name": name, "kind": "mesh", "points": packed(vertices), "colours": [css(tone)]}


def packed(points: NDArray[np.floating]) -> str:
    """Points in metres as int16 millimetres in base64; what is unknown or too far out is ``UNKNOWN``."""
    millimetres = np.where(np.isfinite(points) & (np.abs(points) < 32), np.nan_to_num(points) * 1000, UNKNOWN)
    return base64.b64encode(millimetres.round().astype("<i2").tobytes()).decode()


def packed_faces(body: Body) -> str:
    """The triangles of a body as uint16 in base64, three vertices each."""
    return base64.b64encode(body.faces.cpu().numpy().astype("<u2").tobytes()).decode()


def css(colour: Colour) -> str:
    """A colour as style sheets have it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
