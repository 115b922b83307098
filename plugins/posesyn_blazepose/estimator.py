"""BlazePose as a target pose estimator: 33 landmarks, all looks inside one network."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_blazepose.config import BlazePoseConfig
from posesyn_blazepose.landmark_training import landmark_loss, landmark_view
from posesyn_blazepose.looks import Looks, Wide
from posesyn_blazepose.network import joined
from posesyn_blazepose.rois import FIRST_MARGIN, Floats, cut, square_of_box
from posesyn_blazepose.units import learn_in_units
from posesyn_blazepose.views import Augmentation, draw_crop
from posesyn_blazepose.weights import load_landmarks, save_network, usual_looks
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.errors import UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.skeletons import BLAZEPOSE33
from posesyn_core.values import Camera, Inputs, LabelledFrame, Pixels, PoseEstimate, Prepared, Sample

FOCAL_LENGTH = 3.0
"""Of the camera that an estimate names, in sides of the first look's square: BlazePose's landmarks need none."""
HIPS = [23, 24]


def wide_crop(sample: Sample, wide: Wide) -> Prepared:
    """What the networks of several looks take of a sample, bytes of RGB: ``images`` (3, side, side) and their middle,
    ``inner`` (3, first, first); the context is the square.

    SampleError for a bad image or box.
    """
    image = load_image(sample.image)
    check_box(sample.box, image.shape[1], image.shape[0])
    square = square_of_box(sample.box, FIRST_MARGIN * wide.room)
    planes = cut(image, square, wide.side)
    return Prepared({"images": planes, "inner": planes[:, wide.middle, wide.middle]}, square)


def as_input(pixels: NDArray[np.uint8]) -> Pixels:
    """uint8 RGB (S, S, 3) -> float32 (3, S, S) in 0..1."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    return Pixels(pixels, np.broadcast_to(levels, (3, 256)))


class BlazePose:
    """A TrainableEstimator in the joint set ``blazepose33``."""

    joint_set: ClassVar[str] = BLAZEPOSE33.name
    training_defaults: ClassVar[TrainingDefaults] = TrainingDefaults(learning_rate=1e-4, batch_size=32, steps=600)
    """Steps of 1e-4 of each tensor's size: ten times as much wrecks what Google learnt."""
    keep_fp32: ClassVar[tuple[str, ...]] = ("middle", "cropper", "aim", "told")
    """Places in the picture need more digits than half precision has."""

    def __init__(self, config: BlazePoseConfig) -> None:
        """UserError if the weights can't be loaded."""
        self.config = config
        if config.first_look not in ("lite", "same"):
            raise UserError(f"first_look must be 'lite' or 'same', not {config.first_look!r}")
        second = load_landmarks(config.weights)
        lite = config.first_look == "lite" and config.weights != "random"
        first = joined(load_landmarks("lite")) if lite else second
        looks = config.looks or usual_looks(second)
        network = Looks(first, second, looks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: Looks = network.to(config.device).eval()
        self.augmentation = Augmentation()

    def preprocess(self, sample: Sample) -> Prepared:
        """Cut out the person, with room about them."""
        return wide_crop(sample, self.network.wide)

    def decode(self, outputs: Mapping[str, NDArray[np.float32]], contexts: Sequence[Floats]) -> list[PoseEstimate]:
        """Landmarks to the picture; ``contexts`` are the wide crops' squares."""
        squares = np.stack(contexts)
        points = outputs["points"] * squares[:, None, 2:3] + squares[:, None, :2]
        world = outputs["world"] - outputs["world"][:, HIPS].mean(1, keepdims=True)
        focal = (squares[:, 2:3] * (FOCAL_LENGTH / self.network.wide.room)).repeat(2, axis=1).astype(np.float32)
        centre = squares[:, :2].astype(np.float32)
        return [
            PoseEstimate(
                joints3d=world[at],
                joints2d=points[at],
                camera=Camera(focal[at], centre[at]),
                joint_set=self.joint_set,
                confidence=outputs["confidence"][at],
            )
            for at in range(len(squares))
        ]

    def training_inputs(self, frame: LabelledFrame, rng: np.random.Generator) -> Inputs:
        """One augmented crop with its labels. SampleError for a bad image."""
        view, labels = landmark_view(frame, self.augmentation, rng)
        return {"images": as_input(draw_crop(load_image(frame.image), view, self.augmentation, rng)), **labels}

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Distances of landmarks and of world landmarks, over the joints that are labelled."""
        return landmark_loss(self.network.second(batch["images"]), batch, self.config.keypoint_loss_weight)

    def parameters(self) -> Iterable[nn.Parameter]:
        """The second look's weights but the mask's, from now on learnt in units of their own size."""
        trained = [part for name, part in self.network.second.named_children() if name != "mask"]
        for part in trained:
            learn_in_units(part)
        return [parameter for part in trained for parameter in part.parameters()]

    def reinitialise(self) -> None:
        """Untrained weights."""
        fresh = type(self.network.second)(self.network.second.sizes).to(self.config.device).eval()
        self.network.second = fresh.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def save(self, path: Path) -> None:
        """Write safetensors."""
        save_network(self.network.second, path)
