"""Batches that an augmenter makes while the estimator is trained, epoch by epoch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field
from torch import Tensor

from posesyn_core.components import TrainableEstimator, TrainingAugmenter
from posesyn_core.contracts.results import a_value, calling, expect_one, name_of
from posesyn_core.engines.transfer import Collated
from posesyn_core.errors import UserError
from posesyn_core.geometry.joints import frame_in
from posesyn_core.seeds import seed_of
from posesyn_core.training.loader import Batch
from posesyn_core.values import LabelledFrame


def _epoch(
    augmenter: TrainingAugmenter, number: int, frames: Sequence[Any], estimator: TrainableEstimator, seed: int
) -> Iterator[dict[str, Tensor]]:
    """The augmenter's batches of an epoch; UserError naming its method if they are none."""
    with calling(augmenter.epoch):
        made = iter(augmenter.epoch(number, frames, estimator, seed))
    while True:
        with calling(augmenter.epoch):
            batch: object = next(made, None)
        if batch is None:
            return
        if not isinstance(batch, Mapping) or not all(isinstance(tensor, Tensor) for tensor in batch.values()):
            raise UserError(f"{name_of(augmenter.epoch)} yielded {a_value(batch)} where a dict of tensors is needed")
        yield dict(batch)


@define
class Online:
    """An augmenter at work on a training's frames and the estimator's own items; ``epoch`` is the next one to begin."""

    augmenter: TrainingAugmenter
    frames: Sequence[Any]
    seed: int
    epoch: int = field(default=0, init=False)

    def _frames_for(self, estimator: TrainableEstimator) -> list[Any]:
        """The frames in the estimator's joint set; items of its own kind as they are."""
        joints = getattr(estimator, "joint_set", "smpl24")
        return [frame_in(frame, joints) if isinstance(frame, LabelledFrame) else frame for frame in self.frames]

    def groups(
        self, estimator: TrainableEstimator, first: int, steps: int, accumulate: int, ended: Callable[[], None]
    ) -> Iterator[list[Batch]]:
        """The batches of steps ``first`` ... ``steps`` - 1, ``accumulate`` for each; ``ended`` is called after every
        epoch, when a checkpoint is due. Batches left over at an epoch's end are left out.

        UserError if an epoch has not enough batches for a step.
        """
        frames, step = self._frames_for(estimator), first
        while step < steps:
            group: list[Batch] = []
            seed, before = seed_of(self.seed, str(self.epoch), "augment"), step
            for tensors in _epoch(self.augmenter, self.epoch, frames, estimator, seed):
                group.append(Batch(step * accumulate + len(group), Collated(tensors)))
                if len(group) == accumulate:
                    yield group
                    step, group = step + 1, []
                if step == steps:
                    return
            if step == before:
                raise UserError(
                    f"the augmenter made fewer than {accumulate} batches of {len(self.frames)} frames in an epoch: "
                    "give it more frames or smaller batches"
                )
            self.epoch += 1
            ended()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        with calling(self.augmenter.state_dict):
            state = expect_one(self.augmenter.state_dict(), dict, self.augmenter.state_dict)
        return {"epoch": self.epoch, "augmenter": state}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.epoch = state["epoch"]
        self.augmenter.load_state_dict(state["augmenter"])
