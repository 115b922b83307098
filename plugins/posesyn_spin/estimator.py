"""SPIN as a target pose estimator: preprocess, network, decode; and its training."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from attrs import evolve
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_core.body.agreement import body_for_checkpoint
from posesyn_core.body.decoding import decode_smpl
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.files.checkpoints import replace_weights
from posesyn_core.files.images import load_image
from posesyn_core.geometry.cameras import crop_translation
from posesyn_core.geometry.crops import square
from posesyn_core.values import FloatArray, Inputs, LabelledFrame, PoseEstimate, Prepared, Sample
from posesyn_spin.config import SpinConfig
from posesyn_spin.crops import CropKind
from posesyn_spin.inputs import MARGIN, Augmentation, Person, crop_person, person_of, training_inputs
from posesyn_spin.losses import CROP, FOCAL_LENGTH, spin_loss
from posesyn_spin.network import SpinNetwork
from posesyn_spin.smplify import MixturePrior, fit
from posesyn_spin.weights import load_network, save_network


class Spin:
    """A TrainableEstimator. The network maps ``images`` (B, 3, S, S) to ``rotmat``, ``shape`` and ``cam``."""

    training_defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        learning_rate=5e-5, batch_size=64, epochs=50, decay="constant"
    )
    """SPIN's published training; PoseSyn's paper fine-tunes no SPIN. Frozen, with warm-up and
    clipping, as this core fine-tunes where nothing else is published."""
    scratch_defaults: ClassVar[TrainingDefaults] = evolve(
        training_defaults, warm_up=0.0, max_gradient=0.0, mode="train"
    )
    """SPIN's published training as it is."""
    keep_fp32: ClassVar[tuple[str, ...]] = (
        *("fc1", "fc2", "decpose", "decshape", "deccam", "init_pose", "init_shape", "init_cam", "rotations"),
    )
    """The whole regressor: in half precision a rotation near 1 is off by a third of a degree at every joint."""

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
        prior = Path(config.pose_prior).expanduser() if config.pose_prior else None
        self.prior = None if prior is None else MixturePrior(prior).to(config.device)
        self.crop: CropKind = config.crop or self.setting.crop

    def preprocess(self, sample: Sample) -> Prepared:
        """Cut out the person: a square of 1.2 times the box. SampleError for a bad image or box."""
        pixels = crop_person(load_image(sample.image), sample.box, self.setting.image_size, self.crop)
        return Prepared({"images": pixels}, sample.box)

    def decode(self, outputs: Mapping[str, NDArray[np.float32]], contexts: Sequence[FloatArray]) -> list[PoseEstimate]:
        """Pose the body; ``contexts`` are the person boxes.

        The full-image camera has the focal length 5000 / 224 * side of the square crop and its principal point in
        the crop's centre, so that it sees what the crop's camera sees.
        """
        centre, side = square(np.stack(contexts), MARGIN)
        return decode_smpl(
            self.body, outputs["rotmat"], outputs["shape"], outputs["cam"], centre, side,
            focal_length=FOCAL_LENGTH, size=CROP,
        )  # fmt: skip

    def training_inputs(self, frame: LabelledFrame | Person, rng: np.random.Generator) -> Inputs:
        """One augmented crop with its labels (see ``posesyn_spin.inputs``). SampleError for a bad image.

        Besides our frames it takes the people of an official npz (``posesyn_spin.annotations``).
        """
        person = frame if isinstance(frame, Person) else person_of(frame)
        return training_inputs(person, self.setting.image_size, self.augmentation, rng, self.crop)

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """SPIN's loss (see ``posesyn_spin.losses``); a frame adds the terms that it has labels for.

        With a pose prior, frames without a body get one that is fitted to their 2D labels, where that succeeds.
        """
        outputs = self.network(batch["images"])
        if self.prior is not None and not batch["has_smpl"].all():
            batch = {**batch, **self._fitted(outputs, batch, self.prior)}
        joints = self.body.pose_joints(outputs["rotmat"], outputs["shape"])
        return spin_loss(
            outputs,
            joints,
            batch,
            keypoints=self.config.keypoint_loss_weight,
            pose=self.config.pose_loss_weight,
            betas=self.config.beta_loss_weight,
            vertices=self.config.shape_loss_weight,
            meshes=self._meshes(outputs, batch) if self.config.shape_loss_weight else None,
        )

    def _meshes(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The vertices (B, V, 3) of the predicted and of the labelled body."""
        predicted = self.body.pose(outputs["rotmat"], outputs["shape"]).vertices
        return predicted, self.body.pose(batch["rotmat"], batch["betas"]).vertices

    def _fitted(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor], prior: MixturePrior
    ) -> dict[str, Tensor]:
        """``rotmat``, ``betas``, ``has_smpl`` and ``has_shape`` of a batch with fits in the place of missing bodies."""
        lacking = batch["has_smpl"] == 0
        chosen = {name: values[lacking] for name, values in outputs.items()}
        keypoints = batch["keypoints2d"][lacking] * batch["keypoints2d"].new_tensor([CROP / 2, CROP / 2, 1])
        transl = crop_translation(chosen["cam"].detach(), FOCAL_LENGTH, CROP)
        fits = fit(self.body, prior, chosen, transl, keypoints, FOCAL_LENGTH)
        labels = {name: batch[name].clone() for name in ("rotmat", "betas", "has_smpl")}
        labels["rotmat"][lacking], labels["betas"][lacking] = fits.rotmat, fits.betas
        labels["has_smpl"][lacking] = fits.valid.to(labels["has_smpl"])
        labels["has_shape"] = torch.where(lacking, labels["has_smpl"], batch.get("has_shape", batch["has_smpl"]))
        return labels

    def parameters(self) -> Iterable[nn.Parameter]:
        """All weights of the network."""
        return self.network.parameters()

    def reinitialise(self) -> None:
        """Untrained weights; the mean body that the regressor starts from stays."""
        replace_weights(self.network, SpinNetwork(self.network.sizes), kept=["init_*"])

    def save(self, path: Path) -> None:
        """Write the weights: ``.pt`` in SPIN's own layout, else safetensors."""
        save_network(self.network, evolve(self.setting, crop=self.crop, body=self.body.shape_space), path)
