"""Trials of augmenters, on an estimator of one number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from posesyn_core.authoring.estimators import Remake
from posesyn_core.authoring.findings import Failure, Finding, check, demand
from posesyn_core.authoring.people import frames, people_in
from posesyn_core.components import TrainableEstimator, TrainingAugmenter
from posesyn_core.contracts.results import a_value, name_of
from posesyn_core.files.checkpoints import write_state_dict
from posesyn_core.files.images import load_image
from posesyn_core.geometry.joints import frame_in, labelled_frame
from posesyn_core.values import Camera, LabelledFrame, PoseEstimate, Prepared, Sample

Batch = Mapping[str, torch.Tensor]


class Dot:
    """The least TrainableEstimator: a person is a dot, the brighter the picture, the further to the right."""

    def __init__(self) -> None:
        self.network: nn.Module = nn.Linear(1, 1)

    def preprocess(self, sample: Sample) -> Prepared:
        """The picture's mean brightness, 0 ... 1."""
        return Prepared({"input": self._brightness(sample)}, sample.box)

    def decode(self, outputs: Mapping[str, np.ndarray], contexts: Sequence[Any]) -> list[PoseEstimate]:
        """All joints in one place."""
        return [PoseEstimate(np.zeros((24, 3)), np.zeros((24, 2)), Camera([1, 1], [0, 0])) for _ in contexts]  # type: ignore[arg-type]

    def training_inputs(self, frame: LabelledFrame, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The brightness, and the mean of the labelled 3D joints."""
        return {"brightness": self._brightness(frame), "joints3d": frame.labels3d().mean(0, keepdims=True)[:, :1]}

    def training_loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Squared distance."""
        return {"loss": (self.network(batch["brightness"]) - batch["joints3d"][:, 0]).square().mean()}

    def parameters(self) -> Iterable[nn.Parameter]:
        """Both numbers."""
        return self.network.parameters()

    def save(self, path: Path) -> None:
        """As safetensors."""
        write_state_dict(self.network.state_dict(), path)

    def _brightness(self, person: Sample | LabelledFrame) -> np.ndarray:
        return np.array([load_image(person.image).mean() / 255], np.float32)


def try_augmenter(
    made: TrainingAugmenter, remake: Remake, estimator: TrainableEstimator | None = None
) -> Iterator[Finding]:
    """Batches that the estimator can be trained on, the same for the same seed; and its state."""
    trained = Dot() if estimator is None else estimator
    found = check("epoch", lambda: _epoch(made, trained), lambda them: f"{len(them)} batches")
    if not found.passed:
        wish = "; if it needs an estimator of its own kind, name that with --estimator" if estimator is None else ""
        yield Finding("epoch", f"{found.fault}{wish}")
        return
    yield found
    yield check("loss", lambda: _losses(trained, found.value), lambda loss: f"{loss:.4g}")
    yield check("repeats", lambda: _same(_epoch(remake(), trained), _epoch(remake(), trained)))
    yield check("state", lambda: remake().load_state_dict(made.state_dict()))


def _epoch(made: TrainingAugmenter, estimator: TrainableEstimator) -> list[Batch]:
    own = _frames_for(estimator)
    batches = list(made.epoch(0, own, estimator, 0))
    demand(bool(batches), f"an epoch over {len(own)} frames has no batch: is its batch larger than that?")
    for batch in batches:
        if not isinstance(batch, Mapping) or not all(isinstance(value, torch.Tensor) for value in batch.values()):
            raise Failure(f"{name_of(made.epoch)} yielded {a_value(batch)} where a dict of tensors is needed")
    return batches


def _frames_for(estimator: TrainableEstimator) -> list[LabelledFrame]:
    """People in the estimator's joint set; all joints of it where it looks at nothing else."""
    joints = getattr(estimator, "joint_set", "smpl24")
    if getattr(estimator, "needs_picture", True):
        return [frame_in(frame, joints) for frame in frames()]
    return [labelled_frame(person) for person in people_in(joints)]


def _losses(estimator: TrainableEstimator, batches: Sequence[Batch]) -> float:
    losses = [float(estimator.training_loss(batch)["loss"].detach()) for batch in batches]
    demand(np.isfinite(losses).all(), f"the estimator's loss on a batch is {losses}")
    return losses[0]


def _same(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    same = len(first) == len(second) and all(
        one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        for one, other in zip(first, second, strict=True)
    )
    demand(same, "the same seed gives other batches")
