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
from typing import TYPE_CHECKING, Any, Literal

import torch
from attrs import asdict, field, frozen

from posesyn_core.components import TrainableEstimator, TrainingAugmenter
from posesyn_core.contracts.training import UpdateRule
from posesyn_core.errors import UserError
from posesyn_core.files.paths import atomic_path, write_atomic
from posesyn_core.parallel.processes import process_place
from posesyn_core.progress import progress
from posesyn_core.seeds import seed_of
from posesyn_core.training.faults import check_gradient, checked_terms, loss_fault
from posesyn_core.training.loader import Batch, Mixture, batches
from posesyn_core.training.online import Online
from posesyn_core.training.sources import Weighted
from posesyn_core.values import LabelledFrame

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "weights.safetensors"


@frozen(kw_only=True)
class Schedule(UpdateRule):
    """One training: AdamW with a warm-up, then ``decay`` of the learning rate, over ``steps``.

    A step sees ``accumulate`` batches, whose gradients are averaged; several processes share them. ``precision`` other
    than "fp32" computes the loss in mixed precision. In ``mode`` "train" BatchNorm normalises by the batch and goes on
    averaging; several processes average what it holds. "frozen" suits a short fine-tuning on a mixture of two kinds of
    pictures.
    """

    steps: int
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def rate(self, step: int) -> float:
        """The learning rate of one step; a function of the step alone."""
        warm_up = min(1.0, (step + 1) / max(1.0, self.warm_up * self.steps))
        return self.learning_rate * warm_up * self._fallen(step)

    def _fallen(self, step: int) -> float:
        """The share of the learning rate that the decay leaves."""
        if self.decay == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return 0.1 ** sum(step >= share * self.steps for share in self.milestones) if self.decay == "steps" else 1.0


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

    ``unread`` are frames, by their ids, that could not be read since the training was last gone on with, and why.
    """

    weights: Path
    metrics: Sequence[Mapping[str, float]]
    unread: Mapping[str, str] = field(factory=dict)


Metrics = dict[str, float]


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
    validation: Validation | None = None,
    augmenter: TrainingAugmenter | None = None,
    tell: Callable[[Metrics], None] = lambda metrics: None,
    label: str = "finetune",
    save_every: int = 100,
    **schedule: Any,
) -> FinetuneResult:
    """Train ``estimator`` in place; go on where an earlier call with the same arguments was interrupted.

    ``real`` holds frames or items of the estimator's own kind, in one pool or in data sets with weights. ``ratio`` is
    the share of synthesised frames in a batch, 0 = real ones only. ``schedule`` holds the further fields of
    :class:`Schedule`. ``tell`` gets the metrics of every new step. An ``augmenter`` makes the batches of all frames in
    place of the mixture; an interrupted epoch is begun again. On one machine a resumed training gives bit for bit the
    weights of an undisturbed one. UserError if the folder holds a training with other arguments, if there is
    nothing to train on, if the device lacks the precision, if the batches of a step can't be shared evenly among the
    processes, or if the loss is no longer a number.
    """
    plan = Schedule(steps=steps, learning_rate=learning_rate, **schedule)
    online = None if augmenter is None else Online(augmenter, _all_frames(real, synthesised, ratio), seed)
    mixture = Mixture(real, synthesised, batch_size, ratio, seed) if online is None else online
    arguments = {**asdict(plan), "batch_size": batch_size, "ratio": ratio, "seed": seed}
    arguments |= {"real": len(real), "synthesised": len(synthesised)}
    arguments |= {"weights": real.weights} if isinstance(real, Weighted) else {}
    arguments |= {} if validation is None else {"validate_every": validation.every, "patience": validation.patience}
    arguments |= {} if augmenter is None else {"online": True}
    training = Trainer(estimator, plan, seed)
    metrics = _resume(folder, training, arguments, online)

    def save() -> None:
        if not training.writes:
            return
        write_atomic(folder / METRICS, "".join(json.dumps(line) + "\n" for line in metrics))
        epochs = {} if online is None else {"online": online.state()}
        content = {"arguments": arguments, "step": len(metrics), **training.state(), **epochs}
        with atomic_path(folder / CHECKPOINT) as temporary, temporary.open("wb") as file:  # a path's name gets into it
            torch.save(_anew(content), file)

    with progress(label, steps) as shown:
        shown.advance(len(metrics))
        for group in _steps(training, mixture, len(metrics), workers, save):
            if validation is not None and validation.exhausted(_validated(metrics)):
                break
            metrics.append(training.step(group))
            if validation is not None and validation.due(len(metrics), steps):
                metrics[-1]["validation"] = _validate(training, validation, _validated(metrics), folder / WEIGHTS)
            if training.writes:
                tell(metrics[-1])
            shown.advance()
            if len(metrics) % save_every == 0 and online is None:
                save()
    save()
    estimator.network.eval()
    if validation is None and training.writes:
        estimator.save(folder / WEIGHTS)
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
    training: "Trainer", mixture: Mixture | Online, first: int, workers: int, save: Callable[[], None]
) -> Iterator[list[Batch]]:
    """This process's batches of each step from ``first`` on: every n-th one of n processes.

    Between the epochs of online batches, ``save`` is called.
    """
    plan, (rank, processes) = training.schedule, training.place
    if isinstance(mixture, Online):
        if processes > 1:
            raise UserError("an augmenter follows one estimator: start finetune in just one process")
        yield from mixture.groups(training.estimator, first, plan.steps, plan.accumulate, save)
        return
    start, end = first * plan.accumulate + rank, plan.steps * plan.accumulate
    group: list[Batch] = []
    for batch in batches(training.estimator, mixture, start, end, workers=workers, every=processes):
        group.append(batch)
        if len(group) == plan.accumulate // processes:
            yield group
            group = []


def _validated(metrics: Sequence[Mapping[str, float]]) -> list[float]:
    return [line["validation"] for line in metrics if "validation" in line]


def _validate(training: "Trainer", validation: Validation, before: Sequence[float], weights: Path) -> float:
    """Measure the estimator as it is at inference; keep its weights if none were better."""
    training.estimator.network.eval()
    value = training.of_the_first(validation.measure() if training.writes else 0.0)
    if not math.isfinite(value):
        raise UserError(f"the validation's error is {value}: look at the samples of [validation], or lower the rate")
    if training.writes and (not before or value < min(before)):
        training.estimator.save(weights)
    training.to_training_mode()
    return value


def join_processes(device: str) -> None:
    """Wait for the other processes, if there are any; from then on "cuda" is this one's own GPU."""
    if process_place()[1] > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu")


class Trainer:
    """An estimator with its optimiser, on its device and in the precision that ``accelerate`` provides."""

    def __init__(self, estimator: TrainableEstimator, schedule: Schedule, seed: int) -> None:
        self.estimator, self.schedule, self.seed = estimator, schedule, seed
        self.unread: dict[str, str] = {}
        self.parameters = [parameter for parameter in estimator.parameters() if parameter.requires_grad]
        self.device = self.parameters[0].device
        self.accelerator = _accelerator(self.device, schedule.precision)
        self.place = self.accelerator.process_index, self.accelerator.num_processes
        self.writes = self.accelerator.is_main_process
        self._check_share()
        adamw = torch.optim.AdamW(
            self.parameters,
            lr=schedule.learning_rate,
            betas=schedule.betas,
            weight_decay=schedule.weight_decay,
            fused=True,
        )
        self.optimiser = self.accelerator.prepare(adamw)
        self.to_training_mode()

    def _check_share(self) -> None:
        """UserError unless the processes, if there are several, can share the batches of a step."""
        count = self.place[1]
        if self.schedule.accumulate % count:
            raise UserError(
                f"{count} processes can't share the batches of a step evenly: set finetune.accumulate to a multiple of "
                f"{count} (and finetune.batch_size to what one process takes at a time)"
            )

    def to_training_mode(self) -> None:
        """Put the network into the mode that it is trained in."""
        self.estimator.network.train(self.schedule.mode == "train")

    def step(self, group: Sequence[Batch]) -> Metrics:
        """One update; returns its metrics, averaged over the step's batches."""
        step = group[0].step // self.schedule.accumulate
        rate = self.schedule.rate(step)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        lines = [self._accumulate(batch) for batch in group]
        self._share_gradients()
        check_gradient(self._clip_gradients(), step, self.schedule.precision)
        self.optimiser.step()
        self._share_statistics()
        for batch in group:
            self.unread |= dict(batch.replaced)
        sums = [sum(line[name] for line in lines) for name in lines[0]]
        replaced, *sums = self._total([sum(len(batch.replaced) for batch in group), *sums])
        means = {name: total / self.schedule.accumulate for name, total in zip(lines[0], sums, strict=True)}
        return {"step": step, "learning_rate": rate, "replaced": int(replaced), **means}

    def _clip_gradients(self) -> torch.Tensor:
        """To the norm that the schedule allows; returns the norm that all had together."""
        most = self.schedule.max_gradient or math.inf
        if self.schedule.clip == "all":
            return self.accelerator.clip_grad_norm_(self.parameters, most)
        self.accelerator.unscale_gradients()
        norms = [torch.nn.utils.clip_grad_norm_([parameter], most) for parameter in self.parameters]
        return torch.stack(norms).norm()

    def _share_statistics(self) -> None:
        """Average what normalisation layers hold of their batches over the processes, which see different ones."""
        if self.place[1] == 1 or self.schedule.mode == "frozen":
            return
        for held in self.estimator.network.buffers():
            if held.is_floating_point():
                held.copy_(self.accelerator.reduce(held, reduction="mean"))

    def _share_gradients(self) -> None:
        """Sum each gradient over the processes; they are shares of the mean already. None stays where all have none."""
        if self.place[1] == 1:
            return
        present = self._total([float(parameter.grad is not None) for parameter in self.parameters])
        for parameter, count in zip(self.parameters, present, strict=True):
            if count:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self.accelerator.reduce(gradient, reduction="sum")

    def _total(self, values: Sequence[float]) -> list[float]:
        """The sums of ``values`` over the processes."""
        if self.place[1] == 1:
            return list(values)
        given = torch.tensor(values, dtype=torch.float64, device=self.device)
        return self.accelerator.reduce(given, reduction="sum").tolist()

    def of_the_first(self, value: float) -> float:
        """The value that the first process has, in all of them."""
        return self._total([value if self.writes else 0.0])[0]

    def _accumulate(self, batch: Batch) -> Metrics:
        """Add the gradient of one batch; returns its loss terms."""
        tensors = {name: tensor.to(self.device) for name, tensor in batch.tensors.items()}
        with torch.random.fork_rng(devices=[]), self.accelerator.autocast():  # dropout depends on the batch alone
            torch.manual_seed(seed_of(self.seed, str(batch.step), "finetune"))
            terms = checked_terms(self.estimator, self.estimator.training_loss(tensors))
        if not torch.isfinite(terms["loss"]):
            raise loss_fault(self.estimator, batch, self.parameters, self.schedule.precision)
        self.accelerator.backward(terms["loss"] / self.schedule.accumulate)
        return {name: float(term.detach()) for name, term in terms.items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        scaler = self.accelerator.scaler
        return {
            "network": self.estimator.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.estimator.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])


def _accelerator(device: torch.device, precision: str) -> "Accelerator":
    """An Accelerator for this training alone: the library keeps the first one's settings for the whole process."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    mixed = "no" if precision == "fp32" else precision
    try:
        return Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
    except (ValueError, ImportError) as error:
        raise UserError(f"finetune.precision = {precision!r} does not run on {device}: {error}") from error


def _resume(
    folder: Path, training: Trainer, arguments: Mapping[str, Any], online: Online | None
) -> list[dict[str, float]]:
    """Take up the folder's checkpoint if there is one; return the metrics of the steps that are done."""
    checkpoint = folder / CHECKPOINT
    if not checkpoint.exists():
        return []
    state = torch.load(checkpoint, map_location=training.device, weights_only=True)
    changed = [name for name, value in arguments.items() if state["arguments"].get(name) != value]
    if changed:
        raise UserError(
            f"{str(folder)!r} holds a training with another {changed[0]} "
            f"({state['arguments'].get(changed[0])!r}, now {arguments[changed[0]]!r}); delete it or use another folder"
        )
    training.load(state)
    if online is not None:
        online.load(state["online"])
    lines = (folder / METRICS).read_text().splitlines()
    return [json.loads(line) for line in lines[: state["step"]]]
