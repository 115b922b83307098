"""What components are tried on: a few rendered people with their truth, and a clip of one of them."""

from collections.abc import Sequence

import numpy as np
import torch
from attrs import evolve

from posesyn_core.body.model import load_body
from posesyn_core.body.skinning import rigid_chain
from posesyn_core.errors import UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.geometry.skeletons import convert, joint_set
from posesyn_core.inference.probe import probe_samples
from posesyn_core.pipeline.casting import as_reference
from posesyn_core.pipeline.people import Reference
from posesyn_core.values import Actor, ClipPlan, FloatArray, Image, LabelledFrame, PoseEstimate, Sample

PEOPLE = 4
FRAMES = 3
BEYOND = 0.3
"""How far beyond its neighbour a joint at an end is put, of the way from the body's middle to that."""


def people() -> list[Sample]:
    """Rendered people with 2D and 3D truth; always the same ones."""
    return list(probe_samples(PEOPLE))


def people_in(name: str) -> list[Sample]:
    """The same people with 2D and 3D joints of the joint set ``name`` alone.

    A joint that SMPL's skeleton lacks stands in the middle of its neighbours in the set's tree, or, at an end, a little
    beyond its neighbour, away from the body's middle: near enough where no picture is looked at.
    """
    return [_in(person, name) for person in people()]


def _in(person: Sample, name: str) -> Sample:
    assert person.joints3d is not None and person.smpl is not None and person.camera is not None
    joints, known = convert(person.joints3d, None, "smpl24", name)
    while not known.all():
        joints, known = _guessed(joints, known, joint_set(name).bones)
    place = _root(person)
    seen = project(joints + place, person.camera.focal_length, person.camera.principal_point)
    return evolve(
        person,
        joint_set=name,
        keypoints2d=seen,
        confidence=np.ones(len(seen), np.float32),
        keypoints3d=joints + place,
        joints3d=None,
        smpl=None,
        detected=None,
    )


def _root(person: Sample) -> FloatArray:
    """(3,) where the root is, metres, camera frame."""
    smpl = person.smpl
    assert smpl is not None
    parts = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    with torch.inference_mode():
        place: FloatArray = (
            load_body().joints(*(torch.from_numpy(np.array(part))[None] for part in parts))[0, 0].numpy()
        )
    return place


def _guessed(joints: FloatArray, known: np.ndarray, bones: Sequence[tuple[int, int]]) -> tuple[FloatArray, np.ndarray]:
    """With what the known joints tell of those beside them; UserError if that is nothing."""
    near = {at: [b if a == at else a for a, b in bones if at in (a, b)] for at in np.flatnonzero(~known).tolist()}
    near = {at: [other for other in others if known[other]] for at, others in near.items()}
    between = [at for at, others in near.items() if len(others) > 1]
    chosen = between or [at for at, others in near.items() if others]
    if not chosen:
        raise UserError("a trial needs a joint set that has joints in common with SMPL's skeleton")
    found, now = joints.copy(), known.copy()
    for at in chosen:
        middle = joints[near[at]].mean(0)
        found[at] = middle if between else middle + BEYOND * (middle - joints[known].mean(0))
        now[at] = True
    return found, now


def pictures() -> list[Image]:
    """Their pictures."""
    return [load_image(person.image) for person in people()]


def truths() -> list[PoseEstimate]:
    """What a perfect estimator says of them."""
    return [
        PoseEstimate(person.joints3d, person.keypoints2d, person.camera, person.smpl)  # type: ignore[arg-type]
        for person in people()
    ]


def frames() -> list[LabelledFrame]:
    """The people as frames of a synthesised data set, with everything that those have."""
    return [evolve(labelled_frame(person), error_mm=0.0, caption="a person stands") for person in people()]


def clip(actor: Actor | None = None) -> ClipPlan:
    """The first person, or an animator's own, raising an arm, in ``FRAMES`` frames."""
    body, first = load_body(), Reference(people()[0], truths()[0])
    person = first if actor is None else as_reference(body, actor)
    truth = person.estimate
    smpl = truth.smpl
    assert smpl is not None
    pose = np.repeat(smpl.body_pose[None], FRAMES, axis=0)
    pose[:, 15, 2] += np.linspace(0, 0.6, FRAMES)
    orient, transl = (np.repeat(part[None], FRAMES, axis=0) for part in (smpl.global_orient, smpl.transl))
    with torch.inference_mode():
        rest = body.rest_joints(torch.from_numpy(np.array(smpl.betas))[None])
        if person.skeleton is not None:
            rest = torch.from_numpy(np.array(person.skeleton))[None]
        rotations = axis_angle_to_matrix(torch.from_numpy(np.concatenate([orient[:, None], pose], axis=1)))
        joints = rigid_chain(rotations, rest)[1].numpy() + transl[:, None]
    return ClipPlan(
        id="trial#0@0",
        motion_id="trial#0",
        sample_id="trial",
        caption="a person raises an arm",
        reference=person.sample,
        reference_estimate=truth,
        camera=truth.camera,
        fps=20.0,
        seed=0,
        residual_mm=0.0,
        global_orient=orient,
        body_pose=pose,
        betas=smpl.betas,
        transl=transl,
        joints3d=joints,
        joints2d=project(joints, truth.camera.focal_length, truth.camera.principal_point),
    )
