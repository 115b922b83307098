"""Training data: which frames a step sees, and their augmented, collated tensors made ahead of time.

What a step sees depends on the seed and the step's number alone, so that a resumed training goes on as it would have.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from torch import Tensor

from posesyn_core.components import TrainableEstimator
from posesyn_core.contracts.results import calling, expect_one, name_of
from posesyn_core.engines.transfer import Collated, collate, pinned_for
from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry.joints import frame_in
from posesyn_core.inference.neighbours import hidden
from posesyn_core.parallel.processes import ordered_in_processes
from posesyn_core.parallel.threads import ordered_map
from posesyn_core.seeds import rng
from posesyn_core.training.sources import Weighted
from posesyn_core.values import Inputs, LabelledFrame

T = TypeVar("T")

CPU = torch.device("cpu")

TRIES = 10
"""A frame that can't be read is replaced by another; so many failures in a row are no accident."""


@frozen
class Mixture:
    """Batches of real and synthesised frames, ``round(ratio * batch_size)`` of the latter in each.

    A set is gone through in a new random order again and again; real data sets with weights are drawn from by those.
    Real items may be of the estimator's own kind. Drawing a batch takes as long from a million items as from a few.
    """

    real: Sequence[Any] | Weighted
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
            if count and not len(frames):
                raise UserError(f"there is no {name} frame to train on, but the ratio {ratio} asks for some")

    @property
    def _synthesised(self) -> int:
        return round(self.ratio * self.batch_size)

    @property
    def _real(self) -> int:
        return self.batch_size - self._synthesised

    def batch(self, step: int) -> list[Any]:
        """The frames of one step."""
        return [*self._take_real(step), *self._take(self.synthesised, self._synthesised, step, "synthesised")]

    def _take_real(self, step: int) -> Iterable[Any]:
        if isinstance(self.real, Weighted):
            return self.real.draw(self._real, step, self.seed)
        return self._take(self.real, self._real, step, "real")

    def _take(self, frames: Sequence[T], count: int, step: int, name: str) -> Iterator[T]:
        """Places step * count ... of the endless sequence of shuffled rounds through ``frames``."""
        for place in range(step * count, (step + 1) * count):
            turn, at = divmod(place, len(frames))
            yield frames[int(_order(self.seed, name, turn, len(frames))[at])]


@lru_cache(maxsize=4)
def _order(seed: int, name: str, turn: int, count: int) -> NDArray[np.int64]:
    """The order of one round; kept, as all batches of the round need it."""
    return rng(seed, f"{name}/{turn}", "shuffle").permutation(count)


@frozen
class Batch:
    """The inputs of one step, (id, reason) of frames that were replaced by others, and whose inputs they are.

    ``ids`` are the frames' in the order of the tensors' rows; empty where an augmenter made the batch.
    """

    step: int
    inputs: Collated
    replaced: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The inputs by name, on the CPU; for a GPU pictures are bytes here (see ``engines.transfer``)."""
        return self.inputs.tensors


def batches(
    estimator: TrainableEstimator,
    mixture: Mixture,
    first: int,
    last: int,
    *,
    workers: int,
    processes: int = 0,
    every: int = 1,
    device: torch.device = CPU,
) -> Iterator[Batch]:
    """The batches of steps ``first``, ``first`` + ``every``, ... below ``last`` for ``device``, prepared ahead.

    ``processes`` of their own make them, or if that is 0 ``workers`` threads of this one. The batches are the same.
    UserError if frame after frame of a batch can't be read.
    """

    def made(step: int) -> Batch:
        return _collate(estimator, mixture, step, device)

    steps = range(first, last, every)
    if processes:
        for batch in ordered_in_processes(lambda step: _as_arrays(made(step)), steps, processes):
            yield _ready(_as_tensors(batch), device)
    else:
        yield from ordered_map(lambda step: _ready(made(step), device), steps, workers)


def _ready(batch: Batch, device: torch.device) -> Batch:
    return evolve(batch, inputs=pinned_for(device, batch.inputs))


def _as_arrays(batch: Batch) -> tuple[Any, ...]:
    """A batch as a process hands it over."""
    given = ({name: tensor.numpy() for name, tensor in p.items()} for p in (batch.inputs.tensors, batch.inputs.levels))
    return batch.step, *given, batch.replaced, batch.ids


def _as_tensors(given: tuple[Any, ...]) -> Batch:
    step, tensors, levels, replaced, ids = given
    parts = ({name: torch.from_numpy(array) for name, array in part.items()} for part in (tensors, levels))
    return Batch(step, Collated(*parts), replaced, ids)


def _collate(estimator: TrainableEstimator, mixture: Mixture, step: int, device: torch.device) -> Batch:
    frames = mixture.batch(step)
    items, replaced, ids = [], list[tuple[str, str]](), list[str]()
    for slot, frame in enumerate(frames):
        random = rng(mixture.seed, f"{step}/{slot}", "augment")
        item, name, reasons = _inputs(estimator, frame, frames, random)
        items.append(item)
        ids.append(name)
        replaced += reasons
    try:
        inputs = collate(items, device)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{name_of(estimator.training_inputs)} made inputs of two frames that can't lie in one batch: {error}"
        ) from error
    return Batch(step, inputs, tuple(replaced), tuple(ids))


def _inputs(
    estimator: TrainableEstimator, frame: Any, others: Sequence[Any], random: np.random.Generator
) -> tuple[Inputs, str, list[tuple[str, str]]]:
    """The inputs of ``frame``, or where it can't be read of another one of the batch, with its id and the reasons.

    The estimator gets the labels of our frames in its own joint set, and items of its own kind as they are.
    """
    joints = getattr(estimator, "joint_set", "smpl24")
    reasons: list[tuple[str, str]] = []
    while len(reasons) < TRIES:
        try:
            given = hidden(frame_in(frame, joints)) if isinstance(frame, LabelledFrame) else frame
            with calling(estimator.training_inputs):
                made = expect_one(estimator.training_inputs(given, random), dict, estimator.training_inputs)
            return made, str(getattr(frame, "id", "?")), reasons
        except SampleError as error:
            reasons.append((str(frame.id), str(error)))
            frame = others[int(random.integers(len(others)))]
    raise UserError(f"{TRIES} training frames in a row can't be read; the last one is {': '.join(reasons[-1])}")
