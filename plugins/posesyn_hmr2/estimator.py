"""HMR 2.0 as a target pose estimator: preprocess, network, decode; and its training."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from attrs import evolve
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_core.body.decoding import decode_smpl
from posesyn_core.body.model import Body, ShapeSpace
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.files.checkpoints import replace_weights
from posesyn_core.files.images import load_image
from posesyn_core.values import FloatArray, Inputs, LabelledFrame, PoseEstimate, Prepared, Sample
from posesyn_hmr2.annotations import read_mocap
from posesyn_hmr2.config import Hmr2Config
from posesyn_hmr2.crops import crop_person, person_square
from posesyn_hmr2.inputs import Augmentation, person_of, training_inputs
from posesyn_hmr2.joints import joints44
from posesyn_hmr2.losses import FOCAL_LENGTH, Weights, adversarial_terms, hmr2_terms, total
from posesyn_hmr2.network import IMAGE_SIZE, Hmr2Network
from posesyn_hmr2.people import Person
from posesyn_hmr2.regressor import read_regressor
from posesyn_hmr2.rules import believed, load_prior
from posesyn_hmr2.weights import load_network, save_network

MOCAP_PER_PERSON = 2
"""Real bodies that the discriminator sees for each regressed one."""


MIXTURE: Mapping[str, float] = {
    "h36m": 0.1, "mpii": 0.1, "coco14": 0.1, "coco14-vitpose": 0.1, "mpi-inf-3dhp": 0.02, "ava": 0.19, "aic": 0.19,
    "insta": 0.2,
}  # fmt: skip
"""How often 4D-Humans draws from each of its data sets: Human3.6M, MPII, COCO 2014 twice, MPI-INF-3DHP, AVA,
AI-Challenger and InstaVariety."""


class Hmr2:
    """A TrainableEstimator. ``images`` (B, 3, 256, 256) -> ``global_orient``, ``body_pose``, ``betas``, ``cam``."""

    training_defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        learning_rate=1e-5,
        batch_size=32,
        steps=200_000,
        decay="constant",
        weight_decay=1e-4,
        warm_up=0.0,
        max_gradient=0.0,
        mode="train",
    )
    """The paper's fine-tuning of 4DHumans (supplement A), with 4D-Humans' weight decay, without clipping or warm-up."""
    scratch_defaults: ClassVar[TrainingDefaults] = evolve(
        training_defaults, learning_rate=1e-4, batch_size=384, steps=500_000
    )
    """The paper's learning rate of the published checkpoint (supplement A; the official file has 1e-5), the official
    batch of 8 x 48. The million steps of both count generator and discriminator apart: 500,000 are meant."""
    training_kind: ClassVar[type] = Person

    def __init__(self, config: Hmr2Config) -> None:
        """UserError if the weights, the body or another file of the options can't be loaded."""
        self.augmentation = Augmentation(
            scale=config.scale_factor,
            rotation=config.rot_factor,
            rotation_chance=config.rot_aug_rate,
            shift=config.trans_factor,
            colour=config.color_scale,
            flip_chance=config.flip_aug_rate,
            extreme_chance=config.extreme_crop_aug_rate,
            extreme_level=config.extreme_crop_aug_level,
        )
        self.weights = Weights(
            config.keypoints_3d_weight, config.keypoints_2d_weight, config.global_orient_weight,
            config.body_pose_weight, config.betas_weight, config.adversarial_weight,
        )  # fmt: skip
        loaded = load_network(config.weights, config.ief_iters)
        self.network: Hmr2Network = loaded.network.to(config.device).eval()
        parts = self.network.backbone.named_modules(prefix="backbone")
        norms = (name for name, part in parts if isinstance(part, nn.LayerNorm))
        self.keep_fp32 = ("backbone.patch_embed", "backbone.pos_embed", *norms, "smpl_head")
        """The sums that blocks add to, so that what they add is not rounded away 64 times, and, since half precision is
        too coarse for rotations near 1, the head; together 1 % of the network's work."""
        body = loaded.load_body(config.body)
        self.shape_space: ShapeSpace = "smpl" if "smpl" in (loaded.body, body.shape_space) else "free"
        regressor = read_regressor(config.joint_regressor) if config.joint_regressor else loaded.regressor_for(body)
        joints = joints44(body, regressor, update_hips=config.update_hips)
        self._label_joints = copy.deepcopy(joints)  # stays on the CPU, where labels are made
        self.joints = joints.to(config.device)
        self.mocap = read_mocap(Path(config.mocap).expanduser()) if config.mocap else None
        self.prior = load_prior(Path(config.pose_histogram).expanduser()) if config.pose_histogram else None

    @property
    def body(self) -> Body:
        """The body that it poses."""
        return self.joints.body

    def preprocess(self, sample: Sample) -> Prepared:
        """Cut out the person as published (see ``posesyn_hmr2.crops``). SampleError for a bad image or box."""
        return Prepared({"images": crop_person(load_image(sample.image), sample.box)}, sample.box)

    def decode(self, outputs: Mapping[str, NDArray[np.float32]], contexts: Sequence[FloatArray]) -> list[PoseEstimate]:
        """Pose the body; ``contexts`` are the person boxes.

        The full-image camera has the focal length 5000 / 256 * side of the square crop and its principal point in
        the crop's centre (Table 6), so that it sees what the crop's camera sees. The official demo's camera is
        ``posesyn_core.geometry.cameras.image_translation`` with 5000 / 256 * the image's longer side.
        """
        centre, side = person_square(np.stack(contexts))
        rotations = np.concatenate([outputs["global_orient"], outputs["body_pose"]], axis=1)
        return decode_smpl(
            self.joints.body, rotations, outputs["betas"], outputs["cam"], centre, side,
            focal_length=FOCAL_LENGTH, size=IMAGE_SIZE,
        )  # fmt: skip

    def training_inputs(self, frame: LabelledFrame | Person, rng: np.random.Generator) -> Inputs:
        """One augmented crop with its labels (see ``posesyn_hmr2.inputs``), and real bodies for the discriminator.

        Besides our frames it takes the people of official files (``posesyn_hmr2.annotations``). SampleError for a bad
        image, or for labels that the official loader would leave out.
        """
        person = believed(frame if isinstance(frame, Person) else person_of(frame, self._label_joints), self.prior)
        item = training_inputs(person, load_image(person.image), self.augmentation.draw(rng), IMAGE_SIZE)
        if self.mocap is not None:
            pose, betas = self.mocap
            drawn = rng.integers(len(pose), size=MOCAP_PER_PERSON)
            item |= {"mocap_pose": pose[drawn], "mocap_betas": betas[drawn]}
        return item

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The published losses (see ``posesyn_hmr2.losses``), in single precision whatever the network's is.

        With the option ``mocap``, network and discriminator are trained against each other by one optimiser.
        """
        found = self.network(batch["images"])
        with torch.autocast(batch["images"].device.type, enabled=False):
            outputs = {name: tensor.float() for name, tensor in found.items()}
            rotations = torch.cat([outputs["global_orient"], outputs["body_pose"]], dim=1)
            joints = self.joints(rotations, outputs["betas"])
            terms = hmr2_terms(outputs, joints, self._known(batch))
            if self.mocap is not None:
                terms |= adversarial_terms(self.network.discriminator, outputs, batch)
            return {"loss": total(terms, self.weights), **terms}

    def _known(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The batch without confidence in joints that our body does not have."""
        seen = {name: batch[name].clone() for name in ("keypoints_2d", "keypoints_3d")}
        for labels in seen.values():
            labels[..., -1] *= self.joints.known
        return {**batch, **seen}

    def mixture(self, sizes: Mapping[str, int]) -> Mapping[str, float] | None:
        """The published weights of the data sets (4D-Humans, "data mix 2.0b"), by label."""
        known = {label: MIXTURE.get(label.lower()) for label in sizes}
        return None if None in known.values() else {label: weight for label, weight in known.items() if weight}

    @property
    def training_notes(self) -> tuple[str, ...]:
        """Whether the adversarial term is on."""
        if self.mocap is None:
            return ("HMR 2.0's adversarial term was off: no motion capture was given (option mocap)",)
        return ()

    def parameters(self) -> Iterable[nn.Parameter]:
        """All weights of the network; those of the discriminator only if there is motion capture to train it on."""
        if self.mocap is not None:
            return self.network.parameters()
        return [*self.network.backbone.parameters(), *self.network.smpl_head.parameters()]

    def reinitialise(self) -> None:
        """Untrained weights; the mean body that the head starts from stays."""
        replace_weights(self.network, Hmr2Network(self.network.sizes), kept=["smpl_head.init_*"])

    def save(self, path: Path) -> None:
        """Write the weights: ``.ckpt`` in the official layout, else safetensors."""
        save_network(self.network, self.shape_space, path)
