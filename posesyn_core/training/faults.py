"""Why a training can't go on: a loss, a gradient or a validation that is no number, and what is to be done about it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from posesyn_core.components import TrainableEstimator
from posesyn_core.contracts.results import a_value, calling, name_of
from posesyn_core.errors import PoseSynError, UserError
from posesyn_core.files.checkpoints import are_safetensors
from posesyn_core.training.loader import Batch


def checked_terms(estimator: TrainableEstimator, terms: object) -> dict[str, Tensor]:
    """The loss terms that an estimator returned; UserError naming the method if they are none."""
    where = name_of(estimator.training_loss)
    if not isinstance(terms, Mapping) or not isinstance(terms.get("loss"), Tensor):
        raise UserError(f"{where} returned {a_value(terms)} where a dict of tensors with the key 'loss' is needed")
    if terms["loss"].ndim:
        raise UserError(f"{where} returned a loss of shape {tuple(terms['loss'].shape)} where one number is needed")
    if not terms["loss"].requires_grad:
        raise UserError(f"{where} returned a loss that does not depend on what parameters() gives: nothing would learn")
    if wrong := [name for name, term in terms.items() if not isinstance(term, Tensor) or term.ndim]:
        raise UserError(f"{where} returned a term {wrong[0]!r} that is no tensor of one number")
    return dict(terms)


def trained_parameters(estimator: TrainableEstimator) -> list[nn.Parameter]:
    """What the optimiser trains; UserError naming the method if that is nothing, or something else."""
    with calling(estimator.parameters):
        given = list(estimator.parameters())
        if wrong := [one for one in given if not isinstance(one, Tensor)]:
            raise UserError(f"{name_of(estimator.parameters)} returned {a_value(wrong[0])} where parameters are needed")
    found = [one for one in given if one.requires_grad]
    if not found:
        raise UserError(f"{name_of(estimator.parameters)} returned no parameter that requires a gradient")
    return found


def saved(estimator: TrainableEstimator, path: Path) -> None:
    """Have an estimator write its weights; UserError naming its method if they are not there then as safetensors."""
    with calling(estimator.save):
        estimator.save(path)
    if not path.is_file():
        raise UserError(f"{name_of(estimator.save)} wrote no file {str(path)!r}")
    if not are_safetensors(path):
        raise UserError(
            f"{name_of(estimator.save)} wrote {path.name!r}, but no safetensors: use "
            "posesyn_core.files.checkpoints.write_state_dict"
        )


def loss_fault(
    estimator: TrainableEstimator, batch: Batch, parameters: Sequence[nn.Parameter], precision: str
) -> UserError:
    """The sentence for a loss that is no number: the data, the estimator, or the learning rate is at fault."""
    told = f"the training loss is no number at step {batch.step}"
    for name, tensor in batch.tensors.items():
        broken = _rows_not_finite(tensor)
        if broken:
            whose = _frames(batch, broken)
            return UserError(f"{told}: the input {name!r} of {whose} is not finite; mend it or leave it out")
    if not all(bool(torch.isfinite(weight).all()) for weight in parameters):
        return UserError(f"{told}: the network's weights are no longer finite; lower finetune.learning_rate")
    alone = _rows_at_fault(estimator, batch, parameters[0].device)
    if alone and len(alone) < len(batch.inputs):
        return UserError(f"{told}: {_frames(batch, alone)} has such a loss by itself; mend it or leave it out")
    if precision != "fp32":
        return UserError(f"{told}: set finetune.precision = 'fp32', or lower finetune.learning_rate")
    if batch.step == 0:
        return UserError(f"{told}, before any weight was changed: mend {name_of(estimator.training_loss)}")
    return UserError(f"{told}; lower finetune.learning_rate")


def check_gradient(norm: float, step: int, precision: str) -> None:
    """UserError for a gradient whose ``norm`` is no number: a step along it would destroy every weight.

    In fp16 such steps are left out by the scaler, which looks for a scale that fits.
    """
    if precision != "fp16" and not math.isfinite(norm):
        raise UserError(f"the gradient is no number at step {step}; lower finetune.learning_rate")


def _rows_not_finite(tensor: Tensor) -> list[int]:
    if not tensor.is_floating_point() or tensor.ndim == 0:
        return []
    sound = torch.isfinite(tensor).reshape(len(tensor), -1).all(1)
    rows: list[int] = torch.nonzero(~sound).flatten().tolist()
    return rows


def _rows_at_fault(estimator: TrainableEstimator, batch: Batch, device: torch.device) -> list[int]:
    """The frames of a batch whose loss is no number when they are alone; none if they can't be alone."""
    found, given = [], batch.inputs.on(device)
    for row in range(len(batch.inputs)):
        single = {name: tensor[row : row + 1] for name, tensor in given.items()}
        try:
            with torch.no_grad():
                loss = estimator.training_loss(single)["loss"]
        except PoseSynError:
            raise
        except Exception:  # a loss that takes whole batches alone
            return []
        if not bool(torch.isfinite(loss)):
            found.append(row)
    return found


def _frames(batch: Batch, rows: Sequence[int]) -> str:
    """The frame in the first of these rows, by its id where it is known."""
    if len(batch.ids) > rows[0]:
        return f"the training frame {batch.ids[rows[0]]!r}"
    return f"frame {rows[0]} of the augmenter's batch"
