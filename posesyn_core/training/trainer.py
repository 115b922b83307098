"""The steps of a training: one update after the other on the estimator's device, read back once in a while.

A GPU that is asked for a number must first finish what it was given. So nothing is asked of it between two readings:
whether loss and gradient are numbers is seen to on the device, where from the first one on that is none no update
changes a weight; the reading tells whose fault it was.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from attrs import frozen
from torch import Tensor

from posesyn_core.components import TrainableEstimator
from posesyn_core.contracts.results import calling, name_of
from posesyn_core.contracts.training import UpdateRule
from posesyn_core.engines.transfer import Lane
from posesyn_core.errors import UserError
from posesyn_core.seeds import seed_of
from posesyn_core.training import sharding
from posesyn_core.training.faults import check_gradient, checked_terms, loss_fault, trained_parameters
from posesyn_core.training.loader import Batch

if TYPE_CHECKING:
    from accelerate import Accelerator

Metrics = dict[str, float]

READ_EVERY: dict[str, int] = {"cpu": 1}
"""Steps between readings by the kind of device; on others than these ``STEPS_UNREAD``."""
STEPS_UNREAD = 10
"""So many steps' batches are kept, to name the one at fault."""


@frozen(kw_only=True)
class Schedule(UpdateRule):
    """One training: AdamW with a warm-up, then ``decay`` of the learning rate, over ``steps``.

    A step sees ``accumulate`` batches, whose gradients are averaged; several processes share them. ``precision`` other
    than "fp32" computes the loss in mixed precision. In ``mode`` "train" BatchNorm normalises by the batch and goes on
    averaging; several processes average what it holds. "frozen" suits a short fine-tuning on a mixture of two kinds of
    pictures. ``start_share`` is the share that the weights before the training have in those that it leaves, each of
    which is a mean of the two: so it keeps more of what pictures of another kind had taught (WiSE-FT, Wortsman et al.,
    CVPR 2022). ``sharded`` divides the network between several processes (see ``posesyn_core.training.sharding``).
    """

    steps: int
    accumulate: int = 1
    start_share: float = 0.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    sharded: bool = False

    def rate(self, step: int) -> float:
        """The learning rate of one step; a function of the step alone."""
        warm_up = min(1.0, (step + 1) / max(1.0, self.warm_up * self.steps))
        return self.learning_rate * warm_up * self._fallen(step)

    def _fallen(self, step: int) -> float:
        """The share of the learning rate that the decay leaves."""
        if self.decay == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return 0.1 ** sum(step >= share * self.steps for share in self.milestones) if self.decay == "steps" else 1.0


@frozen(eq=False)
class Unread:
    """A step that has not been read back: ``numbers`` are the loss of each batch of its ``group``, the gradient's norm,
    and the sums of replaced frames and of the terms called ``names``.
    """

    step: int
    rate: float
    group: Sequence[Batch]
    names: tuple[str, ...]
    numbers: Tensor


class Trainer:
    """An estimator with its optimiser, on its device and in the precision that ``accelerate`` provides.

    The estimator's weights are those before the training, also if a checkpoint is then loaded.
    """

    def __init__(self, estimator: TrainableEstimator, schedule: Schedule, seed: int) -> None:
        self.estimator, self.schedule, self.seed = estimator, schedule, seed
        self.unread: dict[str, str] = {}
        self.parameters = trained_parameters(estimator)
        self.device = self.parameters[0].device
        self.lane = Lane(self.device)
        self.read_every = READ_EVERY.get(self.device.type, STEPS_UNREAD)
        self._unread: list[Unread] = []
        self._broken = torch.zeros((), device=self.device)
        self.accelerator = _accelerator(self.device, schedule.precision)
        self.place = self.accelerator.process_index, self.accelerator.num_processes
        self.writes = self.accelerator.is_main_process
        self._check_share()
        self.sharded = schedule.sharded and self.place[1] > 1
        if self.sharded:
            sharding.divide(estimator.network, self.device, self.place[1])
            self.parameters = trained_parameters(estimator)
        adamw = torch.optim.AdamW(
            self.parameters,
            lr=schedule.learning_rate,
            betas=schedule.betas,
            weight_decay=schedule.weight_decay,
            fused=True,
        )
        self.optimiser = self.accelerator.prepare(adamw)
        self._start = [(moved, moved.detach().clone()) for moved in self._moved()] if schedule.start_share else []
        self.to_training_mode()

    def _check_share(self) -> None:
        """UserError unless the processes, if there are several, can share the batches of a step."""
        count = self.place[1]
        if self.schedule.accumulate % count:
            raise UserError(
                f"{count} processes can't share the batches of a step evenly: set finetune.accumulate to a multiple of "
                f"{count} (and finetune.batch_size to what one process takes at a time)"
            )
        if count > 1 and self.schedule.sharded and self.schedule.precision == "fp16":
            raise UserError("finetune.sharded goes with finetune.precision = 'fp32' or 'bf16', not with 'fp16'")

    def to_training_mode(self) -> None:
        """Put the network into the mode that it is trained in."""
        self.estimator.network.train(self.schedule.mode == "train")

    def step(self, group: Sequence[Batch]) -> None:
        """One update, which waits to be read; none from the first loss or gradient on that is no number."""
        step = group[0].step // self.schedule.accumulate
        rate = self.schedule.rate(step)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        terms = [self._accumulate(batch) for batch in group]
        self._share_gradients()
        losses, norm = torch.stack([each["loss"] for each in terms]), self._clip_gradients().to(self._precise)
        self._hold_back(torch.cat([losses, norm[None]]))
        self.optimiser.step()
        self._share_statistics()
        for batch in group:
            self.unread |= dict(batch.replaced)
        replaced = torch.full((), sum(len(batch.replaced) for batch in group), dtype=self._precise)
        sums = [replaced.to(self.device), *(self._sum([each[name] for each in terms]) for name in terms[0])]
        numbers = torch.cat([losses, norm[None], self._shared(torch.stack(sums))])
        self._unread.append(Unread(step, rate, group, tuple(terms[0]), numbers))

    def read(self) -> list[Metrics]:
        """The metrics of all steps since the last reading, each averaged over its step's batches.

        UserError if the loss or the gradient of one was no number.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return []
        numbers = torch.cat([each.numbers for each in unread]).tolist()
        metrics = []
        for each in unread:
            own, numbers = numbers[: len(each.numbers)], numbers[len(each.numbers) :]
            metrics.append(self._told(each, own))
        return metrics

    def _told(self, unread: "Unread", numbers: Sequence[float]) -> Metrics:
        losses, (norm, replaced, *sums) = numbers[: len(unread.group)], numbers[len(unread.group) :]
        for batch, loss in zip(unread.group, losses, strict=True):
            if not math.isfinite(loss) and self.sharded:  # to look into it would take all processes
                raise UserError(
                    f"the training loss is no number at step {batch.step}; without finetune.sharded, or in one "
                    "process, it is told which frame is at fault"
                )
            if not math.isfinite(loss):
                raise loss_fault(self.estimator, batch, self.parameters, self.schedule.precision)
        check_gradient(norm, unread.step, self.schedule.precision)
        means = {name: total / self.schedule.accumulate for name, total in zip(unread.names, sums, strict=True)}
        return {"step": unread.step, "learning_rate": unread.rate, "replaced": int(replaced), **means}

    def _hold_back(self, numbers: Tensor) -> None:
        """Have the optimiser leave the weights alone if one of ``numbers`` is none, now and ever after.

        In fp16 the scaler does so, for one step.
        """
        if self.accelerator.scaler is None:
            self._broken = torch.maximum(self._broken, (~torch.isfinite(numbers)).any().float())
            self.optimiser.optimizer.found_inf = self._broken

    @property
    def _precise(self) -> torch.dtype:
        """In which metrics are summed up; Apple's GPUs have no float64."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    @staticmethod
    def _sum(values: Sequence[Tensor]) -> Tensor:
        """One after the other, as anyone would."""
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total

    def _shared(self, values: Tensor) -> Tensor:
        """The sums of ``values`` over the processes."""
        return values if self.place[1] == 1 else self.accelerator.reduce(values, reduction="sum")

    def _clip_gradients(self) -> torch.Tensor:
        """To the norm that the schedule allows; returns the norm that all had together."""
        most = self.schedule.max_gradient or math.inf
        if self.schedule.clip == "all":
            return sharding.undivided(self.accelerator.clip_grad_norm_(self.parameters, most))
        self.accelerator.unscale_gradients()
        norms = [torch.nn.utils.clip_grad_norm_([parameter], most) for parameter in self.parameters]
        return torch.stack([sharding.undivided(norm) for norm in norms]).norm()

    def _share_statistics(self) -> None:
        """Average what normalisation layers hold of their batches over the processes, which see different ones."""
        if self.place[1] == 1 or self.schedule.mode == "frozen":
            return
        for held in self.estimator.network.buffers():
            if held.is_floating_point():
                held.copy_(self.accelerator.reduce(held, reduction="mean"))

    def _share_gradients(self) -> None:
        """Sum each gradient over the processes; they are shares of the mean already. None stays where all have none."""
        if self.place[1] == 1 or self.sharded:
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
        totals: list[float] = self._shared(torch.tensor(values, dtype=torch.float64, device=self.device)).tolist()
        return totals

    def of_the_first(self, value: float) -> float:
        """The value that the first process has, in all of them."""
        return self._total([value if self.writes else 0.0])[0]

    def _accumulate(self, batch: Batch) -> dict[str, Tensor]:
        """Add the gradient of one batch; returns its loss terms, on the device."""
        tensors = self.lane.send(batch.inputs)
        with torch.random.fork_rng(devices=[]), self.accelerator.autocast():  # dropout depends on the batch alone
            torch.manual_seed(seed_of(self.seed, str(batch.step), "finetune"))
            with calling(self.estimator.training_loss):
                terms = checked_terms(self.estimator, self._terms(tensors))
        self.accelerator.backward(terms["loss"] / self.schedule.accumulate)
        return {name: term.detach().to(self.device, self._precise) for name, term in terms.items()}

    def _terms(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        try:
            return self.estimator.training_loss(tensors)
        except RuntimeError as error:
            sharding.refuse_parts(error, name_of(self.estimator.training_loss))
            raise

    def _moved(self) -> list[Tensor]:
        """What training changes: the parameters, and what norms hold if they go on averaging."""
        held = self.estimator.network.buffers() if self.schedule.mode == "train" else ()
        return [*self.parameters, *(each for each in held if each.is_floating_point())]

    @torch.no_grad()
    def mix_in_start(self) -> None:
        """Leave the weights that the schedule's ``start_share`` asks for; the training is over."""
        for moved, before in self._start:
            moved.add_(before - moved, alpha=self.schedule.start_share)
        self._start = []

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The network as training would leave it now, as it is in one process, to be measured or saved; all processes
        enter, and leave, together."""
        start, trained = self._start, [moved.detach().clone() for moved, _ in self._start]
        self.mix_in_start()
        with sharding.whole(self.estimator.network) if self.sharded else nullcontext():
            yield
        with torch.no_grad():
            for (moved, _), value in zip(start, trained, strict=True):
                moved.copy_(value)
        self._start = start

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds, the same for a divided network; all processes ask for it."""
        scaler, network, optimiser = self.accelerator.scaler, self.estimator.network, self.optimiser.state_dict()
        return {
            "network": sharding.weights(network) if self.sharded else network.state_dict(),
            "optimiser": sharding.optimiser_state(optimiser) if self.sharded else optimiser,
            "scaler": {} if scaler is None else scaler.state_dict(),
            "unread": self.unread,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        if self.sharded:
            sharding.set_weights(self.estimator.network, state["network"])
            self.optimiser.load_state_dict(sharding.divided_state(state["optimiser"], self.parameters))
        else:
            self.estimator.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
        self.unread = dict(state.get("unread", {}))
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
