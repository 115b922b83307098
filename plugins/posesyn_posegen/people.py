"""What a training is given: real poses, reference people to draw, and 2D joints of target data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from scipy.spatial.transform import Rotation
from torch import Tensor

from posesyn_core.body.model import Body
from posesyn_core.body.planning import reference_fault
from posesyn_core.components import DatasetReader
from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file
from posesyn_core.files.reading import read_npz
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.skeletons import SMPL24, convert
from posesyn_core.pipeline.people import Reference
from posesyn_core.values import PoseEstimate, Sample
from posesyn_posegen.config import PoseGenConfig
from posesyn_posegen.model import JOINTS, flattened

TO_CAMERA = {"camera": None, "y": Rotation.from_euler("x", np.pi), "z": Rotation.from_euler("x", np.pi / 2)}
"""Turns of frames in which y or z goes up into the camera's (y down, z away); who faced +z, or -y, faces the camera."""


@frozen(eq=False)
class Data:
    """``poses`` (N, 24, 3) axis-angles with the root in the camera's frame; ``people`` to be drawn; ``flat`` (M, 24, 2)
    2D joints of the target data as :func:`posesyn_posegen.model.flattened` has them, or None."""

    poses: Tensor
    people: tuple[Reference, ...] = ()
    flat: Tensor | None = None


def read_data(config: PoseGenConfig, body: Body) -> Data:
    """All that the config names. UserError naming the option that is missing, or that gives too little."""
    if config.real is None and not config.poses:
        raise UserError(
            "training PoseGen needs real poses: name people with SMPL's parameters in 'real' "
            "(real.name=world takes the rendered world's), or a file in 'poses'"
        )
    samples = [] if config.real is None else [it for it in config.real.samples() if isinstance(it, Sample)]
    poses = _read_poses(config) if config.poses else _poses_of(samples)
    poses = poses[:: config.every]
    if len(poses) < config.batch_size:
        raise UserError(
            f"there are {len(poses)} real poses, fewer than a batch of {config.batch_size}: "
            "name more of them, or lower 'batch_size' (or 'every')"
        )
    return Data(torch.from_numpy(poses), tuple(_people(samples, body, config.people)), _flat(config.targets))


def _poses_of(samples: list[Sample]) -> np.ndarray:
    known = [sample.smpl for sample in samples if sample.smpl is not None]
    if not known:
        raise UserError(
            f"none of the {len(samples)} people of 'real' has SMPL's parameters: name a reader that gives them "
            "(world with labels='3d', 3dpw, agora), or a file in 'poses'"
        )
    return np.stack([np.concatenate([smpl.global_orient[None], smpl.body_pose]) for smpl in known]).astype(np.float32)


def _read_poses(config: PoseGenConfig) -> np.ndarray:
    path = existing_file(Path(config.poses).expanduser(), "poses")
    expected = "an npz with 'pose3d' (N, 24, 3), axis-angles of SMPL's joints"
    found: Any = read_npz(path, "poses", expected).get("pose3d")
    if found is None or found.ndim not in (2, 3) or found.size != len(found) * 3 * JOINTS:
        raise UserError(f"poses {str(path)!r} lack 'pose3d' (N, 24, 3): PoseGen needs {expected}")
    poses = np.asarray(found, np.float32).reshape(-1, JOINTS, 3)
    poses = poses[np.isfinite(poses).all((1, 2))]
    turn = TO_CAMERA[config.up]
    if turn is not None and len(poses):
        poses[:, 0] = (turn * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    return poses


def _people(samples: list[Sample], body: Body, most: int) -> Iterator[Reference]:
    """Those whose true body can be drawn, ``most`` of them, evenly from all."""
    able = [person for sample in samples if (person := _person(sample, body)) is not None]
    for at in np.unique(np.linspace(0, len(able) - 1, min(most, len(able))).round().astype(int)) if able else ():
        yield able[at]


def _person(sample: Sample, body: Body) -> Reference | None:
    if sample.smpl is None or sample.camera is None or sample.joints3d is None:
        return None
    smpl, camera = sample.smpl, sample.camera
    parameters = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    joints = body.joints(*(torch.from_numpy(np.array(each))[None] for each in parameters))[0].numpy()
    seen = project(joints, camera.focal_length, camera.principal_point)
    estimate = PoseEstimate(sample.joints3d, seen, camera, smpl)
    return Reference(sample, estimate) if reference_fault(body, estimate, sample) is None else None


def _flat(targets: DatasetReader | None) -> Tensor | None:
    """The whole 2D poses of the target data. UserError if it has none."""
    if targets is None:
        return None
    found = []
    for sample in targets.samples():
        if isinstance(sample, Sample):
            points, known = convert(sample.keypoints2d, sample.confidence > 0, sample.joint_set, SMPL24.name)
            if known.all():
                found.append(points)
    if not found:
        raise UserError("no person of 'targets' has all of SMPL's 24 joints in 2D: the 2D discriminator needs them")
    return flattened(torch.from_numpy(np.stack(found).astype(np.float32)))
