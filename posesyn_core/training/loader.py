"""Training data: which frames a step sees, and their augmented, collated tensors made ahead of time.

What a step sees depends on the seed and the step's number alone, so that a resumed training goes on as it would have.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from posesyn_core.components import TrainableEstimator
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.joints import frame_in
from posesyn_core.inference.neighbours import hidden
from posesyn_core.parallel.threads import ordered_map
from posesyn_core.seeds import rng
from posesyn_core.values import LabelledFrame

TRIES = 10
"""A frame that can't be read is replaced by another; so many failures in a row are no accident."""


@frozen
class Mixture:
    """Batches of real and synthesised frames, ``round(ratio * batch_size)`` of the latter in each.

    Each of the two sets is gone through in a new random order again and again.
    """

    real: Sequence[LabelledFrame]
    synthesised: Sequence[LabelledFrame]
    batch_size: int
    ratio: float = field()
    seed: int

    @ratio.validator
    def _has_frames(self, _attribute: object, ratio: float) -> None:
        for name, frames, count in (
            ("real", self.real, self._real),
            ("synthesised", self.synthesised, self._synthesised),
        ):
            if count and not frames:
                raise UserError(f"there is no {name} frame to train on, but the ratio {ratio} asks for some")

    @property
    def _synthesised(self) -> int:
        return round(self.ratio * self.batch_size)

    @property
    def _real(self) -> int:
        return self.batch_size - self._synthesised

    def batch(self, step: int) -> list[LabelledFrame]:
        """The frames of one step."""
        return [
            *self._take(self.real, self._real, step, "real"),
            *self._take(self.synthesised, self._synthesised, step, "synthesised"),
        ]

    def _take(self, frames: Sequence[LabelledFrame], count: int, step: int, name: str) -> Iterator[LabelledFrame]:
        """Places step * count ... of the endless sequence of shuffled rounds through ``frames``."""
        orders: dict[int, np.ndarray] = {}
        for place in range(step * count, (step + 1) * count):
            turn, at = divmod(place, len(frames))
            if turn not in orders:
                orders[turn] = rng(self.seed, f"{name}/{turn}", "shuffle").permutation(len(frames))
            yield frames[orders[turn][at]]


@frozen
class Batch:
    """The collated inputs of one step, and the reasons why frames were replaced by others."""

    step: int
    tensors: Mapping[str, Tensor]
    replaced: tuple[str, ...]


def batches(
    estimator: TrainableEstimator, mixture: Mixture, first: int, last: int, *, workers: int, every: int = 1
) -> Iterator[Batch]:
    """The batches of steps ``first``, ``first`` + ``every``, ... below ``last``, prepared ahead by ``workers`` threads.

    UserError if frame after frame of a batch can't be read.
    """
    yield from ordered_map(lambda step: _collate(estimator, mixture, step), range(first, last, every), workers)


def _collate(estimator: TrainableEstimator, mixture: Mixture, step: int) -> Batch:
    frames = mixture.batch(step)
    items, replaced = [], []
    for slot, frame in enumerate(frames):
        random = rng(mixture.seed, f"{step}/{slot}", "augment")
        item, reasons = _inputs(estimator, frame, frames, random)
        items.append(item)
        replaced += reasons
    tensors = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}
    return Batch(step, tensors, tuple(replaced))


def _inputs(
    estimator: TrainableEstimator, frame: LabelledFrame, others: Sequence[LabelledFrame], random: np.random.Generator
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The inputs of ``frame``, or where it can't be read of another one of the batch, with the reasons.

    The estimator gets its labels in its own joint set.
    """
    joints = getattr(estimator, "joint_set", "smpl24")
    reasons: list[str] = []
    while len(reasons) < TRIES:
        try:
            return estimator.training_inputs(hidden(frame_in(frame, joints)), random), reasons
        except SampleError as error:
            reasons.append(f"{frame.id}: {error}")
            frame = others[int(random.integers(len(others)))]
    raise UserError(f"{TRIES} training frames in a row can't be read; the last one is {reasons[-1]}")
