"""The starter as a target pose estimator: preprocess, network, decode; and its training."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_blazepose.config import StarterConfig
from posesyn_blazepose.estimator import as_input, wide_crop
from posesyn_blazepose.looks import STARTERS_WIDE
from posesyn_blazepose.network import SIZE
from posesyn_blazepose.rois import Floats, to_picture, turns
from posesyn_blazepose.starter_loss import starter_loss
from posesyn_blazepose.starter_network import FOCAL_LENGTH, StarterNetwork
from posesyn_blazepose.units import learn_in_units
from posesyn_blazepose.views import Augmentation, draw_crop, draw_view, labels
from posesyn_blazepose.weights import SHIPPED, load_starter, save_starter
from posesyn_core.body.agreement import body_for_checkpoint
from posesyn_core.body.decoding import place_smpl
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.files.checkpoints import needs_smpl, replace_weights
from posesyn_core.files.images import load_image
from posesyn_core.values import Inputs, LabelledFrame, PoseEstimate, Prepared, Sample

TAIL_UNIT = 0.1
"""In which share of their size the tail's weights are learnt: at the head's rate, they move a thousandth as far."""
EYES_UNIT = 0.1
"""That of the eyes' weights."""
COARSE = ("groups.2", "groups.3", "groups.4", "expand")
TOLD = ("top", "blocks", "landmarks", "world")
TRAINED_EYES = (
    *(f"backbone.{part}" for part in COARSE),
    "pyramid",
    "heatmaps",
    *(f"regressor.{part}" for part in TOLD),
)
"""What of the eyes is trained on demand: maps of 1/16 and coarser, and what is made of them for the head. Edges and
colours are found as they were, which spares a quarter of the time."""


class Starter:
    """A TrainableEstimator. The network maps wide crops ``images`` and their middles to bodies before a second crop."""

    training_defaults: ClassVar[TrainingDefaults] = TrainingDefaults(learning_rate=1e-4, batch_size=32, steps=300)
    keep_fp32: ClassVar[tuple[str, ...]] = ("middle", "cropper", "aim", "head", "weighed")
    """Places in the picture, and the head's geometry, need more digits than half precision has."""

    def __init__(self, config: StarterConfig) -> None:
        """UserError if the weights or the body can't be loaded."""
        self.config = config
        path = SHIPPED / "starter.safetensors" if config.weights == "starter" else Path(config.weights).expanduser()
        smpl = config.weights != "random" and needs_smpl(path)
        network = load_starter(config.weights).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: StarterNetwork = network.to(config.device).eval()
        self.body = body_for_checkpoint(config.body, needs_smpl=smpl).to(config.device)
        self.augmentation = Augmentation()

    def preprocess(self, sample: Sample) -> Prepared:
        """Cut out the person, with room about them."""
        return wide_crop(sample, STARTERS_WIDE)

    def decode(self, outputs: Mapping[str, NDArray[np.float32]], contexts: Sequence[Floats]) -> list[PoseEstimate]:
        """Pose the body; ``contexts`` are the wide crops' squares.

        The full-image camera is the second crop's turned upright: its focal length is 3 sides of that square, its
        principal point the square's centre.
        """
        wide = np.stack(contexts)
        seen = outputs["square"].astype(np.float64)
        centre = to_picture(seen[:, None, :2], wide, STARTERS_WIDE.side)[:, 0]
        side = seen[:, 2] * wide[:, 2] / STARTERS_WIDE.side
        turn = np.tile(np.eye(3), (len(wide), 1, 1))
        turn[:, :2, :2] = turns(seen)
        rotations = outputs["rotmat"].astype(np.float64)
        rotations[:, 0] = turn @ rotations[:, 0]
        pelvis = (turn @ outputs["transl"].astype(np.float64)[..., None])[..., 0]
        betas = outputs["betas"]
        with torch.inference_mode():
            given = torch.from_numpy(betas).to(self.body.v_template)
            rest = self.body.rest_joints(given)[:, 0].cpu().numpy()
        focal = np.repeat((side * (FOCAL_LENGTH / SIZE))[:, None], 2, axis=1)
        return place_smpl(
            self.body, rotations.astype(np.float32), betas, (pelvis - rest).astype(np.float32), focal, centre
        )  # fmt: skip

    def training_inputs(self, frame: LabelledFrame, rng: np.random.Generator) -> Inputs:
        """One augmented crop, of a first or of a second look, with its labels. SampleError for a bad image."""
        view = draw_view(frame, self.augmentation, rng)
        pixels = draw_crop(load_image(frame.image), view, self.augmentation, rng)
        return {"images": as_input(pixels), **labels(frame, view)}

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See ``posesyn_blazepose.starter_loss``; a frame adds the terms that it has labels for."""
        return starter_loss(self.network.look(batch["images"]), batch, self.config.keypoint_loss_weight)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Tail and head, and on demand the eyes, which stay as they are else. From now on all but the head is learnt in
        units of its own size."""
        network, eyes = self.network, TRAINED_EYES if self.config.train_eyes else ()
        network.eyes.requires_grad_(False)
        parts = [network.eyes.get_submodule(name).requires_grad_(True) for name in eyes]
        for part in parts:
            learn_in_units(part, EYES_UNIT)
        learn_in_units(network.tail, TAIL_UNIT)
        return [parameter for part in (*parts, network.tail, network.head) for parameter in part.parameters()]

    def reinitialise(self) -> None:
        """An untrained tail and head; the eyes stay."""
        fresh = StarterNetwork(self.body).to(self.config.device)
        self.network.tail = fresh.tail.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        replace_weights(self.network.head, fresh.head, kept=["hidden_scale"])

    def save(self, path: Path) -> None:
        """Write safetensors."""
        save_starter(self.network, path, self.body.shape_space)
