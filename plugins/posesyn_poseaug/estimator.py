"""Lifters as target pose estimators: 2D joints in, 3D joints out, and never a look at the picture itself."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from attrs import evolve
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.checkpoints import read_metadata, replace_weights
from posesyn_core.geometry.cameras import project
from posesyn_core.values import LabelledFrame, PoseEstimate, Prepared, Sample
from posesyn_poseaug.config import LifterConfig
from posesyn_poseaug.measure import flipped
from posesyn_poseaug.screen import Seen, place, see
from posesyn_poseaug.skeleton import rooted
from posesyn_poseaug.weights import LIFTERS, load_network, save_network, weights_file


class LifterNetwork(nn.Module):
    """A lifter as engines see it: ``keypoints`` (B, 16, 2) -> ``joints3d`` (B, 16, 3) relative to joint 0, metres."""

    def __init__(self, lifter: nn.Module, flip: bool) -> None:
        super().__init__()
        self.lifter, self.flip = lifter, flip

    def forward(self, keypoints: Tensor) -> dict[str, Tensor]:
        pose = self.lifter(keypoints)
        if self.flip and not self.training:
            pose = (pose + flipped(self.lifter(flipped(keypoints)))) / 2
        return {"joints3d": rooted(pose)}


class Lifter:
    """A TrainableEstimator in 16 joints of its own.

    Its 2D is the sample's: annotated, detected, or the data set's truth. ``preprocess`` reads of a picture the size in
    its header; of a sample without one (``image`` is b""), twice the camera's principal point.
    """

    needs_picture: ClassVar[bool] = False

    training_defaults: TrainingDefaults
    """PoseAug's training of the lifter, its rate falling by a cosine rather than linearly, and its norms and dropout as
    at inference: the few frames of a fine-tuning would move the norms' statistics away from what they were trained on.
    """
    scratch_defaults: TrainingDefaults
    """The baselines' own training, whose rate hardly falls (0.96 in 100,000 steps)."""
    keep_fp32: tuple[str, ...]
    """The 2D joints, the first layer and the last."""
    lifter: nn.Module
    """The network without what surrounds it: (N, 16, 2) -> (N, 16, 3)."""

    def __init__(self, name: str, config: LifterConfig) -> None:
        """UserError if the weights can't be loaded, or were trained in other joints than the options say."""
        self.name, self.config, self.kind = name, config, LIFTERS[name]
        self.joint_set: str = joint_set_of(name, config)
        self.lifter = load_network(name, config.weights, config.dropout, config.width)
        self.keep_fp32 = ("keypoints", *(f"lifter.{name}" for name in self.kind.ends))
        self.network: nn.Module = LifterNetwork(self.lifter, config.flip).to(config.device).eval()
        self.training_defaults = TrainingDefaults(
            learning_rate=self.kind.augmented_rate,
            batch_size=1024,
            epochs=self.kind.epochs,
            warm_up=0.0,
            max_gradient=1.0,
            mode="frozen",
        )
        self.scratch_defaults = evolve(self.training_defaults, learning_rate=self.kind.rate, decay="constant")

    def preprocess(self, sample: Sample) -> Prepared:
        """The sample's 2D joints on the normalised screen. SampleError if one is missing or outside the picture."""
        seen = see(
            sample.keypoints2d, sample.confidence > 0, sample.joint_set, self.joint_set, sample.image, sample.camera
        )
        return Prepared({"keypoints": seen.screen}, seen)

    def decode(self, outputs: Mapping[str, NDArray[np.float32]], contexts: Sequence[Seen]) -> list[PoseEstimate]:
        """Estimates whose 2D joints are the lifted pose, placed where it fits the 2D that it was lifted from best."""
        return [self._estimate(*each) for each in zip(outputs["joints3d"], contexts, strict=True)]

    def _estimate(self, joints: NDArray[np.float32], seen: Seen) -> PoseEstimate:
        flat = np.full((len(joints), 2), np.nan, np.float32)
        with suppress(SampleError):  # a pose that can't be placed stays without 2D, and its sample is rejected
            placed = (joints + place(joints, seen.pixels, seen.camera)).astype(np.float32)
            flat = project(placed, seen.camera.focal_length, seen.camera.principal_point)
        return PoseEstimate(joints, flat, seen.camera, joint_set=self.joint_set)

    def given_labels(self, sample: Sample) -> bool:
        """Its input are the sample's 2D joints, whoever found them."""
        return True

    def training_inputs(self, frame: LabelledFrame, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """``keypoints`` (16, 2), ``joints3d`` (16, 3) relative to the root, and which of those are ``known`` (16,).

        SampleError if a joint is missing in 2D, or all are in 3D.
        """
        seen = see(frame.joints2d, frame.confidence > 0, frame.joint_set, self.joint_set, frame.image, frame.camera)
        labels = frame.labels3d()
        if not labels[:, 3].any():
            raise SampleError("a lifter can't learn from 2D labels alone")
        return {"keypoints": seen.screen, "joints3d": labels[:, :3], "known": labels[:, 3]}

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Eq. 8: the mean squared error over the known joints' coordinates, the root's among them."""
        squares = (self.lifter(batch["keypoints"]) - batch["joints3d"]) ** 2
        known = batch["known"][..., None].expand_as(squares)
        return {"loss": (known * squares).sum() / known.sum()}

    def parameters(self) -> Iterable[nn.Parameter]:
        """All weights."""
        return self.network.parameters()

    def reinitialise(self) -> None:
        """The published random weights."""
        device = next(self.lifter.parameters()).device
        replace_weights(self.lifter, type(self.lifter)(self.lifter.sizes).to(device))

    def save(self, path: Path) -> None:
        """Write the weights: ``.tar`` in PoseAug's layout, else safetensors that say which joints they are of."""
        save_network(self.lifter, path, self.joint_set)


def joint_set_of(name: str, config: LifterConfig) -> str:
    """The options' joints, else those that the weight file names, else Human3.6M's.

    UserError if the two differ.
    """
    named = config.weights not in ("random", "random-full")
    written = read_metadata(weights_file(name, config.weights)).get("joint_set", "") if named else ""
    if config.joints and written and config.joints != written:
        raise UserError(f"weights {config.weights!r} are of the joints {written}: remove joints = {config.joints!r}")
    return config.joints or written or "h36m16"
