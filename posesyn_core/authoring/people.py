"""What components are tried on: a few rendered people with their truth, and a clip of one of them."""

import numpy as np
import torch
from attrs import evolve

from posesyn_core.body.model import load_body
from posesyn_core.files.images import load_image
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.inference.probe import probe_samples
from posesyn_core.values import ClipPlan, Image, LabelledFrame, PoseEstimate, Sample

PEOPLE = 4
FRAMES = 3


def people() -> list[Sample]:
    """Rendered people with 2D and 3D truth; always the same ones."""
    return list(probe_samples(PEOPLE))


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


def clip() -> ClipPlan:
    """The first person raising an arm, in ``FRAMES`` frames."""
    person, truth = people()[0], truths()[0]
    assert truth.smpl is not None
    pose = np.repeat(truth.smpl.body_pose[None], FRAMES, axis=0)
    pose[:, 15, 2] += np.linspace(0, 0.6, FRAMES)
    orient, transl = (np.repeat(part[None], FRAMES, axis=0) for part in (truth.smpl.global_orient, truth.smpl.transl))
    betas = np.repeat(truth.smpl.betas[None], FRAMES, axis=0)
    with torch.inference_mode():
        joints = load_body().joints(*(torch.from_numpy(part) for part in (orient, pose, betas, transl))).numpy()
    return ClipPlan(
        id="trial#0@0",
        motion_id="trial#0",
        sample_id="trial",
        caption="a person raises an arm",
        reference=person,
        reference_estimate=truth,
        camera=truth.camera,
        fps=20.0,
        seed=0,
        residual_mm=0.0,
        global_orient=orient,
        body_pose=pose,
        betas=truth.smpl.betas,
        transl=transl,
        joints3d=joints,
        joints2d=project(joints, truth.camera.focal_length, truth.camera.principal_point),
    )
