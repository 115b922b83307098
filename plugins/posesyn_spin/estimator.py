"""SPIN as a target pose estimator: preprocess, network, decode; and its training."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from attrs import evolve
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_core.body.model import body_for_checkpoint
from posesyn_core.geometry.cameras import crop_translation, focal_length_in_image, project
from posesyn_core.geometry.crops import square
from posesyn_core.geometry.rotations import matrix_to_axis_angle
from posesyn_core.values import Camera, FloatArray, LabelledFrame, PoseEstimate, Prepared, Sample, SmplParams
from posesyn_spin.crops import CropKind
from posesyn_spin.inputs import MARGIN, Augmentation, Person, crop_person, person_of, training_inputs
from posesyn_spin.losses import CROP, FOCAL_LENGTH, spin_loss
from posesyn_spin.network import SpinNetwork
from posesyn_spin.plugin import SpinConfig
from posesyn_spin.weights import load_network, save_network


class Spin:
    """A TrainableEstimator. The network maps ``images`` (B, 3, S, S) to ``rotmat``, ``shape`` and ``cam``."""

    keep_fp32: ClassVar[tuple[str, ...]] = ("rotations",)
    """Submodules of the network for which half precision is too coarse."""

    def __init__(self, config: SpinConfig) -> None:
        """UserError if the weights or the body can't be loaded."""
        self.config = config
        self.augmentation = Augmentation(
            config.scale_factor, config.rot_factor, config.noise_factor, config.shift_factor, config.occlusion
        )
        network, self.setting = load_network(config.weights, config.dropout)
        channels_last = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.3 x faster on CPUs
        self.network: SpinNetwork = channels_last.to(config.device).eval()
        needs_smpl = self.setting.body == "smpl"
        self.body = body_for_checkpoint(config.body, needs_smpl=needs_smpl).to(config.device)
        self.crop: CropKind = config.crop or self.setting.crop

    def preprocess(self, sample: Sample) -> Prepared:
        """Cut out the person: a square of 1.2 times the box. SampleError for a bad image or box."""
        pixels = crop_person(sample.load_image(), sample.box, self.setting.image_size, self.crop)
        return Prepared({"images": pixels}, sample.box)

    def decode(self, outputs: Mapping[str, NDArray[np.float32]], contexts: Sequence[FloatArray]) -> list[PoseEstimate]:
        """Pose the body; ``contexts`` are the person boxes.

        The full-image camera has the focal length 5000 / 224 * side of the square crop and its principal point in
        the crop's centre, so that it sees what the crop's camera sees.
        """
        centre, side = square(np.stack(contexts), MARGIN)
        focal = np.repeat(focal_length_in_image(FOCAL_LENGTH, CROP, side)[:, None], 2, axis=1)
        transl = crop_translation(outputs["cam"], FOCAL_LENGTH, CROP)
        joints, axis_angle = self._pose(outputs["rotmat"], outputs["shape"])
        joints2d = project(joints + transl[:, None], focal, centre)
        return [
            PoseEstimate(
                joints3d=joints[at] - joints[at, :1],
                joints2d=joints2d[at],
                camera=Camera(focal[at], centre[at]),
                smpl=SmplParams(axis_angle[at, 0], axis_angle[at, 1:], outputs["shape"][at], transl[at]),
            )
            for at in range(len(contexts))
        ]

    def _pose(self, rotmat: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Joints (B, 24, 3) before translation, and axis-angles (B, 24, 3)."""
        device = self.config.device
        with torch.inference_mode():
            rotations, betas = torch.from_numpy(rotmat).to(device), torch.from_numpy(shape).to(device)
            joints = self.body.pose_joints(rotations, betas)
            return joints.cpu().numpy(), matrix_to_axis_angle(rotations).cpu().numpy()

    def training_inputs(
        self, frame: LabelledFrame | Person, rng: np.random.Generator
    ) -> dict[str, NDArray[np.float32]]:
        """One augmented crop with its labels (see ``posesyn_spin.inputs``). SampleError for a bad image.

        Besides our frames it takes the people of an official npz (``posesyn_spin.annotations``).
        """
        person = frame if isinstance(frame, Person) else person_of(frame)
        return training_inputs(person, self.setting.image_size, self.augmentation, rng, self.crop)

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """SPIN's loss (see ``posesyn_spin.losses``); a frame adds the terms that it has labels for."""
        outputs = self.network(batch["images"])
        joints = self.body.pose_joints(outputs["rotmat"], outputs["shape"])
        return spin_loss(
            outputs,
            joints,
            batch,
            keypoints=self.config.keypoint_loss_weight,
            pose=self.config.pose_loss_weight,
            betas=self.config.beta_loss_weight,
        )

    def parameters(self) -> Iterable[nn.Parameter]:
        """All weights of the network."""
        return self.network.parameters()

    def save(self, path: Path) -> None:
        """Write the weights: ``.pt`` in SPIN's own layout, else safetensors."""
        save_network(self.network, evolve(self.setting, crop=self.crop, body=self.body.shape_space), path)
