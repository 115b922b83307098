"""PoseAug as what makes the batches of a fine-tuning online: ``[finetune.augmenter] name = "poseaug"``.

An epoch is PoseAug's: bone lengths are exchanged, the generator and its discriminators pass over all poses, led by the
estimator's error; then the estimator is trained on the augmented pairs, and on the frames as they are. Its learning
rate is the fine-tuning's.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posesyn_core.components import TrainableEstimator
from posesyn_core.errors import SampleError, UserError
from posesyn_core.training.adversarial import linear_rate
from posesyn_core.values import Image, LabelledFrame
from posesyn_poseaug.augmentor import Augmentor, Pairs
from posesyn_poseaug.config import PoseAugConfig
from posesyn_poseaug.epochs import batches_of, exchange_lengths, gan_epoch
from posesyn_poseaug.estimator import Lifter
from posesyn_poseaug.figures import pose_sheet, spread_sheet
from posesyn_poseaug.poses import PoseSet, read_templates, templates_of
from posesyn_poseaug.screen import place, see
from posesyn_poseaug.skeleton import rooted


class PoseAugmenter:
    """A TrainingAugmenter for this plugin's lifters."""

    def __init__(self, config: PoseAugConfig) -> None:
        self.config = config
        self.augmentor: Augmentor | None = None
        self.poses: PoseSet | None = None
        self.exchanged: Tensor | None = None
        self.waiting: Mapping[str, Any] = {}
        self.latest: tuple[Pairs, Pairs] | None = None

    def epoch(
        self, number: int, frames: Sequence[LabelledFrame], estimator: TrainableEstimator, seed: int
    ) -> Iterator[Mapping[str, Tensor]]:
        """The batches of one epoch; during the first ones of the warm-up nothing is augmented for the lifter yet.

        UserError for an estimator that is no lifter, or frames of which none has all its joints in 2D and in 3D.
        """
        if not isinstance(estimator, Lifter):
            raise UserError(
                "the augmenter 'poseaug' changes 2D and 3D joints: take one of this plugin's lifters with it"
            )
        augmentor = self._augmentor(estimator, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            augmented, original = self._made(augmentor, number, frames, estimator)
            parts = [augmented, original] if number >= self.config.warm_up else [original]
            batches = [batch for part in parts for batch in batches_of(part, self.config.batch_size)]
        for pairs in batches:
            yield {
                "keypoints": pairs.keypoints,
                "joints3d": rooted(pairs.poses),
                "known": torch.ones_like(pairs.poses[..., 0]),
            }

    def _made(
        self, augmentor: Augmentor, number: int, frames: Sequence[LabelledFrame], estimator: Lifter
    ) -> tuple[Pairs, Pairs]:
        """The augmented pairs of this epoch, and the original ones."""
        if self.poses is None:
            self.poses = pose_set(frames, estimator.joint_set)
        poses = self.poses
        original = Pairs(poses.poses, poses.keypoints, poses.known_cameras)
        current = poses.poses if self.exchanged is None else self.exchanged
        pairs = Pairs(current, original.keypoints, original.cameras)
        if self.config.swap_lengths:
            pairs = exchange_lengths(pairs, self._templates(poses))
            self.exchanged = pairs.poses
        augmentor.set_rate(linear_rate(min(number + 1, self.config.epochs), self.config.epochs))
        statistics = {name: value.clone() for name, value in estimator.lifter.named_buffers()}
        augmented, _ = gan_epoch(augmentor, estimator.lifter, pairs, number + 1)
        if not estimator.lifter.training:  # its norms stay as they are at inference: undo what augmented poses did
            for name, value in estimator.lifter.named_buffers():
                value.copy_(statistics[name])
        self.latest = original, augmented
        return augmented, original

    def pictures(self) -> dict[str, Image]:
        """Original and augmented poses of the latest epoch, and how both are spread."""
        if self.latest is None:
            return {}
        return {
            "poses before and after, camera in degrees from ahead, in height, and metres": pose_sheet(*self.latest),
            "spread before (blue) and after (orange)": spread_sheet(*self.latest),
        }

    def _augmentor(self, estimator: Lifter, seed: int) -> Augmentor:
        """Made in the first epoch, by its seed; taken up from a checkpoint in a later one."""
        if self.augmentor is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.augmentor = Augmentor(self.config, device=next(estimator.lifter.parameters()).device)
            if self.waiting:
                self.augmentor.load(self.waiting)
        return self.augmentor

    def _templates(self, poses: PoseSet) -> Tensor:
        return (
            read_templates(Path(self.config.templates).expanduser()) if self.config.templates else templates_of(poses)
        )

    def state_dict(self) -> dict[str, Any]:
        """Generator, discriminators, their optimisers and pools, and the poses with their latest bone lengths."""
        made = {} if self.augmentor is None else {"augmentor": self.augmentor.state()}
        return made if self.exchanged is None else {**made, "exchanged": self.exchanged}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self.waiting, self.exchanged = state.get("augmentor", {}), state.get("exchanged")


def pose_set(frames: Sequence[LabelledFrame], joint_set: str) -> PoseSet:
    """The frames that a lifter can learn from as poses before their cameras.

    UserError if there is none, with the reason of the first that is not.
    """
    poses, keypoints, cameras, names, reasons = [], [], [], [], []
    for frame in frames:
        try:
            seen = see(frame.joints2d, frame.confidence > 0, frame.joint_set, joint_set, frame.image, frame.camera)
            solid = frame.labels3d()
            if not solid[:, 3].all():
                raise SampleError("PoseAug needs all joints in 3D")
            poses.append(solid[:, :3] + place(solid[:, :3], seen.pixels, seen.camera))
        except SampleError as error:
            reasons.append(f"{frame.id}: {error}")
            continue
        keypoints.append(seen.screen)
        cameras.append(camera_numbers(seen.camera.focal_length, seen.camera.principal_point, seen.size))
        names.append(frame.id.rpartition("/")[0])
    if not poses:
        raise UserError(f"no training frame can be augmented; {reasons[0] if reasons else 'there is none'}")
    return PoseSet(np.stack(poses), np.stack(keypoints), np.stack(cameras), tuple(names), "the training frames")


def camera_numbers(focal: Any, principal: Any, size: tuple[float, float]) -> Any:
    """(9,) a pinhole camera in pixels as the nine numbers of ``posesyn_poseaug.camera``."""
    width, height = size
    centre = np.asarray(principal) * 2 / width - np.array([1, height / width])
    return np.concatenate([np.asarray(focal) * 2 / width, centre, np.zeros(5)]).astype(np.float32)
