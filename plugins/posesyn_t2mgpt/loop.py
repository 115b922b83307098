"""The loop that both trainings share: schedule, mixed precision, resuming, progress and curves.

Beside the weights' file ``NAME.safetensors`` stand ``NAME.checkpoint`` (what an interrupted training goes on from) and
``NAME.metrics.jsonl`` (the curves: one line per validation). Every draw of a step is seeded from (seed, number of the
step), so on one machine an interrupted training ends bit for bit as an undisturbed one.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from posesyn_core.errors import UserError
from posesyn_core.files.paths import atomic_path, write_atomic
from posesyn_core.progress import progress
from posesyn_core.seeds import seed_of
from posesyn_t2mgpt.config import TrainingOptions

LATE_RATE, LATE_FROM = 0.05, 2 / 3
"""Of the published schedule: the rate falls to a twentieth after two thirds of the steps."""

Measures = Mapping[str, float]
Log = Callable[[str], None]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: Callable[[int], Tensor],
    validate: Callable[[], Measures],
    target: Path,
    options: TrainingOptions,
    log: Log,
) -> None:
    """Run ``options.steps`` of ``step`` (its number -> loss), going on from the checkpoint beside ``target``.

    Every ``validate_every`` steps ``validate`` measures, ``log`` gets the measures as a line, and the checkpoint and
    the curves are written. Leaves ``model`` in evaluation mode. Raises UserError for an unknown schedule or precision,
    and for a checkpoint of other options.
    """
    check(options)
    checkpoint = target.with_suffix(".checkpoint")
    done, curves = _resume(checkpoint, model, optimizer, options)
    losses: list[float] = []
    with progress(target.stem, options.steps - done) as bar:
        for number in range(done, options.steps):
            losses.append(_one_step(model, optimizer, step, number, options))
            bar.advance()
            if (number + 1) % options.validate_every == 0 or number + 1 == options.steps:
                model.eval()
                measures = {"training_loss": float(np.mean(losses)), **validate()}
                losses.clear()
                log(f"step {number + 1}: " + ", ".join(f"{name} {value:.4g}" for name, value in measures.items()))
                curves.append({"step": number + 1, "rate": rate_at(number, options), **measures})
                _save(checkpoint, model, optimizer, options, curves)
                write_atomic(target.with_suffix(".metrics.jsonl"), "".join(json.dumps(row) + "\n" for row in curves))
    model.eval()


def check(options: TrainingOptions) -> None:
    """Raise UserError for options that no training can follow."""
    if options.schedule not in _FALLS:
        raise UserError(f"schedule {options.schedule!r} is none of {', '.join(_FALLS)}")
    if options.precision not in ("float32", "bfloat16"):
        raise UserError(f"precision {options.precision!r} is neither 'float32' nor 'bfloat16'")


def _one_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: Callable[[int], Tensor],
    number: int,
    options: TrainingOptions,
) -> float:
    torch.manual_seed(seed_of(options.seed, str(number), "torch"))
    for group in optimizer.param_groups:
        group["lr"] = rate_at(number, options)
    model.train()
    optimizer.zero_grad(set_to_none=True)
    mixed = options.precision == "bfloat16"
    with torch.autocast(torch.device(options.device).type, torch.bfloat16, enabled=mixed):
        loss = step(number)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise UserError(f"the training loss is {value} at step {number}; lower --rate" + _AT_ONCE * (number == 0))
    loss.backward()
    optimizer.step()
    return value


_AT_ONCE = ", or look for values far off in the motions: no weight had been changed yet"


def _published_fall(done: float) -> float:
    return LATE_RATE if done >= LATE_FROM else 1.0


def _cosine_fall(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))


_FALLS = {"step": _published_fall, "cosine": _cosine_fall}


def rate_at(step: int, options: TrainingOptions) -> float:
    """Learning rate of a step: linear warm-up, then by ``options.schedule``."""
    fall = _FALLS[options.schedule](step / options.steps)
    return options.rate * fall * min(1.0, (step + 1) / max(options.warmup, 1))


def _save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    options: TrainingOptions,
    curves: list[dict[str, float]],
) -> None:
    """Write everything that resuming needs, also the buffers that official checkpoints leave out."""
    content = {
        "options": repr(options),
        "tensors": {name: tensor.detach() for name, tensor in _tensors(model).items()},
        "optimizer": optimizer.state_dict(),
        "curves": curves,
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def _resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, options: TrainingOptions
) -> tuple[int, list[dict[str, float]]]:
    """Take up the checkpoint at ``path``, if there is one; return the number of steps done and the curves."""
    if not path.exists():
        return 0, []
    content = torch.load(path, map_location=options.device, weights_only=True)
    if content["options"] != repr(options):
        raise UserError(
            f"{str(path)!r} was written with other options; use them again, or delete the file to start anew"
        )
    with torch.no_grad():
        for name, tensor in _tensors(model).items():
            tensor.copy_(content["tensors"][name])
    optimizer.load_state_dict(content["optimizer"])
    return int(content["curves"][-1]["step"]), content["curves"]


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
