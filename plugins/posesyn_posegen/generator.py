"""The motion generator ``posegen``: single poses, with their rotations, for as many pictures as a run asks for."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posesyn_core.body.model import load_body
from posesyn_core.errors import UserError
from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from posesyn_core.method.orientation import camera_to_y_up
from posesyn_core.values import FloatArray, Motion, MotionRequest
from posesyn_posegen.config import PoseGenConfig
from posesyn_posegen.model import Generator, draw_noise
from posesyn_posegen.training import WEIGHTS, Line, Training, train
from posesyn_posegen.weights import load_generator

MOTION_JOINTS = 22


class PoseGenMotions:
    """A MotionGenerator whose motions are single poses; captions and initial poses are left aside.

    So there need be no EEM (``score.method = "random"``) and no captioner (``captioner = "none"``), and how large the
    data set is (the paper's Fig. 6: 1000 to 9000) follows from ``score.hard`` times ``synthesize.motions_per_sample``.
    With ``camera`` a motion has an orientation of its own, else it takes the reference's.
    """

    single_poses = True

    def __init__(self, config: PoseGenConfig) -> None:
        """UserError for weights that are missing or broken; those that are to be trained are not made yet."""
        self.config = config
        self.body = load_body(Path(config.body).expanduser() if config.body else None)
        self._generator: Generator | None = None if config.weights == "train" else load_generator(config.weights)

    @property
    def generator(self) -> Generator:
        """The generator, trained first where that is wanted and not done yet."""
        if self._generator is None:
            self.train(self.folder)
            self._generator = load_generator(str(self.folder / WEIGHTS))
        return self._generator

    @property
    def folder(self) -> Path:
        """Where ``weights = "train"`` trains: the folder named, or one of the cache that the options tell apart."""
        if self.config.folder:
            return Path(self.config.folder).expanduser()
        cache = os.environ.get("POSESYN_CACHE")
        key = json.dumps(self._training().arguments(), sort_keys=True).encode()
        base = Path(cache) if cache else Path.home() / ".cache" / "posesyn"
        return base / "posegen" / hashlib.blake2b(key, digest_size=8).hexdigest()

    def train(self, folder: Path) -> list[Line]:
        """Train a generator in ``folder``, or go on; the metrics of every epoch. UserError as ``training.train``."""
        return train(self._training(), folder)

    def _training(self) -> Training:
        return Training.of(self.config, self.body)

    def generate(self, requests: Sequence[MotionRequest]) -> list[Motion]:
        """One pose per request; it depends on the request's seed alone, to the last bit."""
        return [self._motion(request) for request in requests]

    def poses(self, noise: Tensor) -> FloatArray:
        """(N, noise) -> (N, 24, 3) axis-angles, angles within half a turn, the root's in the camera's frame."""
        generator = self.generator
        with torch.no_grad():
            turns = generator(noise)
            turns = matrix_to_axis_angle(axis_angle_to_matrix(turns))
        found: FloatArray = turns.numpy()
        return found

    def _motion(self, request: MotionRequest) -> Motion:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            noise = draw_noise(self.config.prior, 1, self.generator.sizes.noise)
        pose = self.poses(noise)
        if not np.isfinite(pose).all():
            raise UserError("the generator's pose has numbers that are not finite: train it anew, more slowly")
        orient = pose[:, 0] if self.config.camera else np.array([[np.pi, 0, 0]], np.float32)  # upright, to the camera
        rotations = torch.from_numpy(np.concatenate([orient[:, None], pose[:, 1:]], 1).astype(np.float32))
        with torch.no_grad():
            joints = self.body.pose_joints(axis_angle_to_matrix(rotations), torch.zeros(1, 10))
        upright = camera_to_y_up(joints.numpy()[:, :MOTION_JOINTS])
        upright[..., 1] -= upright[..., 1].min()
        return Motion(
            request.id,
            request.sample_id,
            request.caption,
            upright - upright[:, :1] * np.array([1, 0, 1], upright.dtype),
            seed=request.seed,
            provenance=f"posegen {self.config.weights}",
            body_pose=pose[:, 1:],
            global_orient=orient if self.config.camera else None,
        )
