"""Training of an estimator on real and synthesised frames: exact to resume, everything in one folder.

The folder gets ``checkpoint.pt`` (network, optimiser, step: what a resumed training needs), ``metrics.jsonl`` (one
line of loss terms per step) and ``weights.safetensors`` in the estimator's own format: the best ones if the training is
validated, else the last.

Started in several processes (``torchrun --nproc_per_node 2 --no-python posesyn finetune RUN``, each with a GPU of its
own or all on the CPU), these share the batches of each step, average their gradients and end with the same weights; the
first one measures and writes. The number of processes is no part of a training: it may change on resumption.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, field, frozen

from posesyn_core.components import TrainableEstimator, TrainingAugmenter
from posesyn_core.errors import UserError
from posesyn_core.files.paths import atomic_path, existing_file, write_atomic
from posesyn_core.parallel.processes import process_place
from posesyn_core.progress import progress
from posesyn_core.training.checkpoint import checksum, read_checkpoint
from posesyn_core.training.faults import saved
from posesyn_core.training.loader import Batch, Mixture, batches
from posesyn_core.training.online import Online
from posesyn_core.training.sources import Weighted
from posesyn_core.training.trainer import Metrics, Schedule, Trainer
from posesyn_core.values import LabelledFrame

CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "weights.safetensors"


@frozen
class Validation:
    """What tells how good the estimator is while it is trained.

    ``measure`` is called every ``every`` steps and after the last one; its value (an error: lower is better) decides
    which weights are kept. After ``patience`` values in a row without a better one the training stops; 0 = never.
    """

    measure: Callable[[], float]
    every: int
    patience: int = 0

    def due(self, step: int, steps: int) -> bool:
        """Whether to measure after ``step`` steps of ``steps``."""
        return step % self.every == 0 or step == steps

    def exhausted(self, values: Sequence[float]) -> bool:
        """Whether the ``values`` so far say that the training should stop."""
        return self.patience > 0 and bool(values) and len(values) - 1 - values.index(min(values)) >= self.patience


@frozen
class FinetuneResult:
    """Where the weights are, and the metrics of every step (loss terms by name, learning rate, validation).

    ``unread`` are frames, by their ids, that could not be read, and why.
    """

    weights: Path
    metrics: Sequence[Mapping[str, float]]
    unread: Mapping[str, str] = field(factory=dict)


def finetune(
    estimator: TrainableEstimator,
    real: Sequence[Any] | Weighted,
    synthesised: Sequence[LabelledFrame],
    folder: Path,
    *,
    steps: int,
    batch_size: int,
    ratio: float,
    learning_rate: float,
    seed: int,
    workers: int,
    processes: int = 0,
    validation: Validation | None = None,
    augmenter: TrainingAugmenter | None = None,
    tell: Callable[[Metrics], None] = lambda metrics: None,
    label: str = "finetune",
    save_every: int = 100,
    **schedule: Any,
) -> FinetuneResult:
    """Train ``estimator`` in place; go on where an earlier call with the same arguments was interrupted, given the
    estimator as it was before that.

    ``real`` holds frames or items of the estimator's own kind, in one pool or in data sets with weights. ``ratio`` is
    the share of synthesised frames in a batch, 0 = real ones only. ``schedule`` holds the further fields of
    :class:`Schedule`. ``workers`` threads make the batches, or so many ``processes``. ``tell`` gets the metrics of
    every new step. An ``augmenter`` makes the batches of all frames in place of the mixture; an interrupted epoch is
    begun again. On one machine a resumed training gives bit for bit the weights of an undisturbed one. UserError if the
    folder holds a training with other arguments, if there is nothing to train on, if the device lacks the precision,
    if the batches of a step can't be shared evenly among the processes, or if the loss is no longer a number.
    """
    plan = Schedule(steps=steps, learning_rate=learning_rate, **schedule)
    online = None if augmenter is None else Online(augmenter, _all_frames(real, synthesised, ratio), seed)
    mixture = Mixture(real, synthesised, batch_size, ratio, seed) if online is None else online
    arguments = {**asdict(plan), "batch_size": batch_size, "ratio": ratio, "seed": seed}
    del arguments["sharded"], arguments["start_share"]  # checkpoints are the same
    arguments |= {"real": len(real), "synthesised": len(synthesised)}
    arguments |= {"weights": real.weights} if isinstance(real, Weighted) else {}
    arguments |= {} if validation is None else {"validate_every": validation.every, "patience": validation.patience}
    arguments |= {} if augmenter is None else {"online": True}
    training = Trainer(estimator, plan, seed)
    metrics = _resume(folder, training, arguments, online)

    def read(measure: Validation | None = None) -> None:
        lines = training.read()
        metrics.extend(lines)
        if measure is not None:
            metrics[-1]["validation"] = _validate(training, measure, _validated(metrics), folder / WEIGHTS)
        for line in lines if training.writes else ():
            tell(line)

    def save() -> None:
        read()
        state = training.state()
        if not training.writes:
            return
        lines = "".join(json.dumps(line) + "\n" for line in metrics)
        write_atomic(folder / METRICS, lines)
        epochs = {} if online is None else {"online": online.state()}
        content = {"arguments": arguments, "step": len(metrics), "metrics": checksum(lines.encode())}
        content |= {**state, **epochs}
        with atomic_path(folder / CHECKPOINT) as temporary, temporary.open("wb") as file:  # a path's name gets into it
            torch.save(_anew(content), file)

    with progress(label, steps) as shown:
        shown.advance(len(metrics))
        groups = _steps(training, mixture, len(metrics), workers, processes, save)
        for done, group in enumerate(groups, len(metrics) + 1):
            if validation is not None and validation.exhausted(_validated(metrics)):
                break
            training.step(group)
            if validation is not None and validation.due(done, steps):
                read(validation)
            elif done % training.read_every == 0:
                read()
            shown.advance()
            if done % save_every == 0 and online is None:
                save()
    save()
    training.mix_in_start()
    estimator.network.eval()
    if validation is None:
        with training.whole():
            if training.writes:
                saved(estimator, folder / WEIGHTS)
    training.accelerator.wait_for_everyone()  # all may read what the first one wrote
    return FinetuneResult(folder / WEIGHTS, metrics, training.unread)


def _anew(value: Any) -> Any:
    """The same in new containers, equal texts being one: what is pickled tells which objects are the same, and those
    that were read from a checkpoint are others than those of a training that was not interrupted."""
    if isinstance(value, str):
        return sys.intern(value)
    if type(value) is dict:
        return {_anew(key): _anew(item) for key, item in value.items()}
    return type(value)(_anew(item) for item in value) if type(value) in (list, tuple) else value


def _all_frames(real: Iterable[Any], synthesised: Sequence[LabelledFrame], ratio: float) -> list[Any]:
    """What an augmenter gets: all of both sets, but none of the one that the mixture would leave out."""
    return [*(real if ratio < 1 else ()), *(synthesised if ratio > 0 else ())]


def _steps(
    training: Trainer, mixture: Mixture | Online, first: int, workers: int, helpers: int, save: Callable[[], None]
) -> Iterator[list[Batch]]:
    """This process's batches of each step from ``first`` on: every n-th one of n processes.

    They are made by ``workers`` threads, or by as many processes as ``helpers`` says. Between the epochs of online
    batches, ``save`` is called.
    """
    plan, (rank, processes) = training.schedule, training.place
    if isinstance(mixture, Online):
        if processes > 1:
            raise UserError("an augmenter follows one estimator: start finetune in just one process")
        yield from mixture.groups(training.estimator, first, plan.steps, plan.accumulate, save)
        return
    start, end = first * plan.accumulate + rank, plan.steps * plan.accumulate
    group: list[Batch] = []
    made = batches(
        training.estimator, mixture, start, end,
        workers=workers, processes=helpers, every=processes, device=training.device,
    )  # fmt: skip
    for batch in made:
        group.append(batch)
        if len(group) == plan.accumulate // processes:
            yield group
            group = []


def _validated(metrics: Sequence[Mapping[str, float]]) -> list[float]:
    return [line["validation"] for line in metrics if "validation" in line]


def _validate(training: Trainer, validation: Validation, before: Sequence[float], weights: Path) -> float:
    """Measure the estimator as it is at inference; keep its weights if none were better."""
    training.estimator.network.eval()
    with training.whole():
        value = training.of_the_first(validation.measure() if training.writes else 0.0)
        if not math.isfinite(value):
            raise UserError(
                f"the validation's error is {value}: look at the samples of [validation], or lower the rate"
            )
        if training.writes and (not before or value < min(before)):
            saved(training.estimator, weights)
    training.to_training_mode()
    return value


def join_processes(device: str) -> None:
    """Wait for the other processes, if there are any; from then on "cuda" is this one's own GPU."""
    if process_place()[1] > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu")


def _resume(
    folder: Path, training: Trainer, arguments: Mapping[str, Any], online: Online | None
) -> list[dict[str, float]]:
    """Take up the folder's checkpoint if there is one; return the metrics of the steps that are done."""
    checkpoint = folder / CHECKPOINT
    if not checkpoint.exists():
        return []
    state, metrics = read_training(folder, training.device)
    changed = [name for name, value in arguments.items() if state["arguments"].get(name) != value]
    if changed:
        raise UserError(
            f"{str(folder)!r} holds a training with another {changed[0]} "
            f"({state['arguments'].get(changed[0])!r}, now {arguments[changed[0]]!r}); delete it or use another folder"
        )
    training.load(state)
    if online is not None:
        online.load(state["online"])
    return metrics


def read_training(folder: Path, device: torch.device) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """The checkpoint and the metrics of an unfinished training; UserError naming the file that is damaged."""
    state = read_checkpoint(folder / CHECKPOINT, device)
    return state, _read_metrics(folder / METRICS, state["step"], state["metrics"])


def _read_metrics(path: Path, steps: int, digest: str) -> list[dict[str, float]]:
    """The lines of the steps that a checkpoint knows; UserError if they are not those that were written."""
    lines = existing_file(path, "metrics of a training").read_bytes().splitlines(keepends=True)[:steps]
    if checksum(b"".join(lines)) != digest:
        raise UserError(
            f"{str(path)!r} is damaged: `posesyn check` names the command that repairs its run; elsewhere, move its "
            "folder away, and the training is done again"
        )
    return [json.loads(line) for line in lines]
