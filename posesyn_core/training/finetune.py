"""Training of an estimator on real and synthesised frames: exact to resume, everything in one folder.

The folder gets ``checkpoint.pt`` (network, optimiser, step: what a resumed training needs), ``metrics.jsonl`` (one
line of loss terms per step) and in the end ``weights.safetensors`` in the estimator's own format.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from attrs import asdict, frozen
from torch import Tensor

from posesyn_core.components import TrainableEstimator
from posesyn_core.errors import UserError
from posesyn_core.files import atomic_path, write_atomic
from posesyn_core.progress import progress
from posesyn_core.seeds import seed_of
from posesyn_core.training.loader import Batch, Mixture, batches
from posesyn_core.values import LabelledFrame

WARM_UP = 0.05
"""The learning rate rises linearly over this share of the steps."""


@frozen
class Schedule:
    """How the weights are updated: AdamW with a warm-up, then ``decay`` of the learning rate.

    ``update_statistics`` trains in the network's training mode: BatchNorm normalises by the batch and goes on
    averaging, dropout drops. Else the network stays as it is at inference, which suits a short fine-tuning on a
    mixture of two kinds of pictures.
    """

    steps: int
    learning_rate: float
    decay: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.0
    max_gradient: float = 10.0
    update_statistics: bool = False

    def rate(self, step: int) -> float:
        """The learning rate of one step; a function of the step alone."""
        warm_up = min(1.0, (step + 1) / max(1.0, WARM_UP * self.steps))
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.decay == "cosine" else 1.0
        return self.learning_rate * warm_up * fall


@frozen
class FinetuneResult:
    """Where the weights are, and the metrics of every step (loss terms by name, learning rate)."""

    weights: Path
    metrics: Sequence[Mapping[str, float]]


def finetune(
    estimator: TrainableEstimator,
    real: Sequence[LabelledFrame],
    synthesised: Sequence[LabelledFrame],
    folder: Path,
    *,
    steps: int,
    batch_size: int,
    ratio: float,
    learning_rate: float,
    seed: int,
    workers: int,
    label: str = "finetune",
    save_every: int = 100,
    **schedule: Any,
) -> FinetuneResult:
    """Train ``estimator`` in place; go on where an earlier call with the same arguments was interrupted.

    ``ratio`` is the share of synthesised frames in a batch, 0 = real ones only. ``schedule`` holds the further fields
    of :class:`Schedule`. On one machine a resumed training gives bit for bit the weights of an undisturbed one.
    UserError if the folder holds a training with other arguments, if there is nothing to train on, or if the loss is
    no longer a number.
    """
    plan = Schedule(steps=steps, learning_rate=learning_rate, **schedule)
    mixture = Mixture(real, synthesised, batch_size, ratio, seed)
    arguments = {**asdict(plan), "batch_size": batch_size, "ratio": ratio, "seed": seed}
    arguments |= {"real": len(real), "synthesised": len(synthesised)}
    training = _Training(estimator, plan, seed)
    metrics = _resume(folder, training, arguments)

    def save() -> None:
        write_atomic(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics))
        with atomic_path(folder / "checkpoint.pt") as temporary:
            torch.save({"arguments": arguments, "step": len(metrics), **training.state()}, temporary)

    with progress(label, steps) as shown:
        shown.advance(len(metrics))
        for batch in batches(estimator, mixture, len(metrics), steps, workers=workers):
            metrics.append(training.step(batch))
            shown.advance()
            if len(metrics) % save_every == 0 or len(metrics) == steps:
                save()
    estimator.network.eval()
    weights = folder / "weights.safetensors"
    estimator.save(weights)
    return FinetuneResult(weights, metrics)


class _Training:
    """The estimator with its optimiser."""

    def __init__(self, estimator: TrainableEstimator, schedule: Schedule, seed: int) -> None:
        self.estimator, self.schedule, self.seed = estimator, schedule, seed
        self.parameters = [parameter for parameter in estimator.parameters() if parameter.requires_grad]
        self.device = self.parameters[0].device
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
        )
        estimator.network.train(schedule.update_statistics)

    def step(self, batch: Batch) -> dict[str, float]:
        """One update; returns its metrics."""
        rate = self.schedule.rate(batch.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        tensors = {name: tensor.to(self.device) for name, tensor in batch.tensors.items()}
        with torch.random.fork_rng(devices=[]):  # dropout's draws depend on the step alone
            torch.manual_seed(seed_of(self.seed, str(batch.step), "finetune"))
            terms = self.estimator.training_loss(tensors)
        self._update(terms["loss"], batch.step)
        metrics = {name: float(term.detach()) for name, term in terms.items()}
        return {"step": batch.step, "learning_rate": rate, "replaced": len(batch.replaced), **metrics}

    def _update(self, loss: Tensor, step: int) -> None:
        if not torch.isfinite(loss):
            raise UserError(f"the training loss is no number at step {step}; lower finetune.learning_rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.schedule.max_gradient)
        self.optimiser.step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"network": self.estimator.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.estimator.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


def _resume(folder: Path, training: _Training, arguments: Mapping[str, Any]) -> list[dict[str, float]]:
    """Take up the folder's checkpoint if there is one; return the metrics of the steps that are done."""
    checkpoint = folder / "checkpoint.pt"
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
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[: state["step"]]]
