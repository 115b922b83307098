"""HybrIK as a target pose estimator: preprocess, network, decode; and its training."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from attrs import evolve, frozen
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.files.checkpoints import replace_weights
from posesyn_core.files.images import load_image
from posesyn_core.geometry.cameras import focal_length_in_image, project
from posesyn_core.geometry.crops import square
from posesyn_core.geometry.rotations import matrix_to_axis_angle
from posesyn_core.values import Camera, Inputs, LabelledFrame, PoseEstimate, Prepared, Sample, SmplParams
from posesyn_hybrik.camera import CROP, FOCAL_LENGTH, lift
from posesyn_hybrik.config import HybrikConfig
from posesyn_hybrik.inputs import Augmentation, crop_person, training_inputs
from posesyn_hybrik.losses import depths_from_root, hybrik_loss
from posesyn_hybrik.people import MARGIN, Person, joints_and_twists, person_of
from posesyn_hybrik.smpl import body_of_smpl
from posesyn_hybrik.weights import Loaded, load_network, save_network, untrained


@frozen(eq=False)
class Place:
    """Where a sample's crop lies: its square's ``centre`` (2,) and ``side``, and the camera's ``principal_point``."""

    centre: NDArray[np.float64]
    side: float
    principal_point: NDArray[np.float64]


MIXTURE: Mapping[str, float] = {"h36m": 0.4, "coco": 0.5, "3dhp": 0.1}
MIXTURE_3DPW: Mapping[str, float] = {"h36m": 0.3, "coco": 0.4, "3dhp": 0.1, "3dpw": 0.2}
"""HybrIK's data sets mix_smpl_cam and mix2_smpl_cam."""
NAMES: Mapping[str, str] = {
    **{name: name for name in MIXTURE_3DPW},
    **{"human36m": "h36m", "mpi_inf_3dhp": "3dhp", "mpi-inf-3dhp": "3dhp", "pw3d": "3dpw"},
}
"""What labels of data sets mean."""


class Hybrik:
    """A TrainableEstimator. The network maps ``images`` (B, 3, S, S) and ``offset`` (B, 2) to a posed SMPL body."""

    training_kind: ClassVar[type] = Person
    training_defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        learning_rate=1e-4,
        batch_size=64,
        epochs=40,
        decay="constant",
        warm_up=0.0,
        max_gradient=5.0,
        clip="each",
        mode="train",
    )
    """The paper's fine-tuning of HybrIK (supplement A), its gradients clipped tensor by tensor, as officially."""
    scratch_defaults: ClassVar[TrainingDefaults] = evolve(
        training_defaults, learning_rate=1e-3, batch_size=256, epochs=120, decay="steps", milestones=(0.75,)
    )
    """The paper's words on the published checkpoint (1e-3, 120 epochs), with the official batch of 8 x 32 and the tenth
    of the learning rate after epoch 90. The official file goes on to epoch 200, with a hundredth from 120 on."""

    def __init__(self, config: HybrikConfig) -> None:
        """UserError if the weights or the body can't be loaded."""
        self.config = config
        self.augmentation = Augmentation(
            scale=config.scale_factor,
            rotation=config.rot_factor,
            colour=config.noise_factor,
            flip_chance=config.flip_chance,
            occlusion=config.occlusion,
        )
        self.loaded = load_network(config)
        channels_last = self.loaded.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = channels_last.to(config.device).eval()
        self.body = body_of_smpl(self.network.smpl, self.loaded.shape_space).to(config.device)
        self._label_smpl = copy.deepcopy(self.network.smpl).cpu()  # labels are made there
        self.image_size = self.loaded.image_size
        geometry = ("soft_argmax", "smpl", "solver", "offset", "init_shape", "init_cam")
        self.keep_fp32 = (*self.network.regressor, *geometry)
        """What half precision would spoil: all that comes after the heatmaps and the pooled features."""

    def preprocess(self, sample: Sample) -> Prepared:
        """Cut out the person: a square of 1.25 times the box. SampleError for a bad image or box."""
        image = load_image(sample.image)
        pixels = crop_person(image, sample.box, self.image_size)
        centre, side = square(sample.box, MARGIN)
        middle = np.array(image.shape[1::-1]) / 2 if self.config.principal_point == "image" else centre
        offset = ((centre - middle) / side).astype(np.float32)
        return Prepared({"images": pixels, "offset": offset}, Place(centre, float(side), middle))

    def decode(self, outputs: Mapping[str, NDArray[np.float32]], contexts: Sequence[Place]) -> list[PoseEstimate]:
        """The posed body seen by the full image's camera, of focal length 1000 / 256 * side of the crop (Table 6)."""
        side = np.array([place.side for place in contexts])
        focal = np.repeat(focal_length_in_image(FOCAL_LENGTH, CROP, side)[:, None], 2, axis=1)
        middle = np.stack([place.principal_point for place in contexts])
        joints2d = project(outputs["joints"] + outputs["root"][:, None], focal, middle)
        axis_angle = matrix_to_axis_angle(torch.from_numpy(outputs["rotmat"])).numpy()
        return [
            PoseEstimate(
                joints3d=outputs["joints"][at],
                joints2d=joints2d[at],
                camera=Camera(focal[at], middle[at]),
                smpl=SmplParams(axis_angle[at, 0], axis_angle[at, 1:], outputs["shape"][at], outputs["transl"][at]),
            )
            for at in range(len(contexts))
        ]

    def training_inputs(self, frame: LabelledFrame | Person, rng: np.random.Generator) -> Inputs:
        """One augmented crop with its labels (see ``posesyn_hybrik.inputs``). SampleError for a bad image.

        Besides our frames it takes the people of an official file (``posesyn_hybrik.annotations``).
        """
        skin = partial(joints_and_twists, self._label_smpl)
        person = frame if isinstance(frame, Person) else person_of(frame, skin)
        return training_inputs(person, self.image_size, self.augmentation, rng)

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """HybrIK's loss (see ``posesyn_hybrik.losses``); a frame adds the terms that it has labels for.

        Beyond the heads everything is in single precision, whatever the network's is. The rotations are those of naive
        HybrIK about the predicted joints, which get no gradient from them.
        """
        heads = self.network.heads(batch["images"])
        with torch.autocast(batch["images"].device.type, enabled=False):
            return self._loss({name: tensor.float() for name, tensor in heads.items()}, batch)

    def _loss(self, found: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The terms for what the heads ``found``."""
        located = depths_from_root(found["uvd"], batch["uvd_weight"])
        still = torch.zeros_like(found["uvd"][:, 0, :2])
        skeleton, _ = lift(found["uvd"], found["scale"], still, found.get("trans", still))
        rest = self.network.smpl(found["shape"])
        rotmat, _ = self.network.solver.kinematics.naive(skeleton.detach(), rest, found["phi"])
        config = self.config
        weights = {
            "uvd": config.uvd_loss_weight, "betas": config.beta_loss_weight,
            "pose": config.pose_loss_weight, "twist": config.twist_loss_weight,
        }  # fmt: skip
        outputs = {**found, "uvd": located, "rotmat": rotmat}
        return hybrik_loss(outputs, batch, uvd=config.uvd_loss, weights=weights)

    def mixture(self, sizes: Mapping[str, int]) -> Mapping[str, float] | None:
        """How often the published training draws from each data set, with or without 3DPW, by label."""
        names = {label: NAMES.get(label.lower(), "") for label in sizes}
        weights = MIXTURE_3DPW if "3dpw" in names.values() else MIXTURE
        known = set(names.values()) <= weights.keys() and len(set(names.values())) == len(names)
        return {label: weights[name] for label, name in names.items()} if known else None

    def parameters(self) -> Iterable[nn.Parameter]:
        """All weights of the network."""
        return self.network.parameters()

    def reinitialise(self) -> None:
        """Untrained weights; the body and the means that the heads add to stay."""
        replace_weights(self.network, untrained(self.network, self.image_size), kept=["smpl.*", "init_*"])

    def save(self, path: Path) -> None:
        """Write the weights: ``.pth`` in HybrIK's own layout, else safetensors."""
        save_network(Loaded(self.network, self.image_size, self.loaded.shape_space), path)
