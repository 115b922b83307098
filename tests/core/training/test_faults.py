"""A training that can't go on says which of data, estimator and settings is at fault."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.training.finetune import Validation, finetune
from posesyn_core.values import LabelledFrame
from posesyn_spin.estimator import Spin

Terms = dict[str, torch.Tensor]


def train(estimator: Spin, frames: list[LabelledFrame], folder: Path, **changed: object) -> None:
    arguments = {"steps": 4, "batch_size": 4, "ratio": 0.5, "learning_rate": 1e-3, "seed": 5, "workers": 1}
    finetune(estimator, frames[:6], frames[6:], folder, **{**arguments, **changed})  # type: ignore[arg-type]


def with_loss(estimator: Spin, monkeypatch: pytest.MonkeyPatch, change: object) -> None:
    """Let ``training_loss`` return what ``change`` makes of its terms and its batch."""
    loss = type(estimator).training_loss

    def changed(self: Spin, batch: Mapping[str, torch.Tensor]) -> object:
        return change(loss(self, batch), batch)  # type: ignore[operator]

    changed.__name__ = "training_loss"
    monkeypatch.setattr(Spin, "training_loss", changed)


def test_a_frame_whose_labels_are_no_numbers_is_named(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    bad = [evolve(f, joints2d=f.joints2d * np.nan) if f.id == "frame/3" else f for f in frames]
    with pytest.raises(UserError, match="the input 'keypoints2d' of the training frame 'frame/3' is not finite"):
        train(estimator, bad, tmp_path)


def test_a_frame_with_a_loss_of_its_own_that_is_no_number_is_named(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = estimator.training_inputs(frames[2], np.random.default_rng(0))
    betas = torch.from_numpy(np.array(inputs["betas"]))

    def poisoned(terms: Terms, batch: Mapping[str, torch.Tensor]) -> Terms:
        hit = (batch["betas"] - betas).abs().amax(1) < 1e-6
        return {**terms, "loss": terms["loss"] + torch.where(hit, torch.nan, 0.0).sum()}

    with_loss(estimator, monkeypatch, poisoned)
    with pytest.raises(UserError, match="the training frame 'frame/2' has such a loss by itself"):
        train(estimator, frames, tmp_path)


def test_a_loss_that_is_no_number_from_the_start_is_the_estimators(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_loss(estimator, monkeypatch, lambda terms, batch: {**terms, "loss": terms["loss"] * torch.nan})
    with pytest.raises(UserError, match=r"before any weight was changed: mend posesyn_spin.*Spin\.training_loss"):
        train(estimator, frames, tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda terms, batch: terms["loss"], r"training_loss returned a Tensor where a dict of tensors"),
        (lambda terms, batch: {"sum": terms["loss"]}, r"with the key 'loss' is needed"),
        (lambda terms, batch: {"loss": terms["loss"].repeat(3)}, r"a loss of shape \(3,\) where one number is needed"),
    ],
)
def test_terms_that_are_none(
    estimator: Spin,
    frames: list[LabelledFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: object,
    complaint: str,
) -> None:
    with_loss(estimator, monkeypatch, change)
    with pytest.raises(UserError, match=complaint):
        train(estimator, frames, tmp_path)


def test_a_rate_that_is_too_high_is_told_before_the_weights_are_lost(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is a number, but its gradient is none: the step is not made."""

    def steep(terms: Terms, batch: Mapping[str, torch.Tensor]) -> Terms:
        zero = (terms["loss"] * 0).sqrt() * 0  # the gradient of a root at 0 is infinite, times 0 no number
        return {**terms, "loss": terms["loss"] + zero}

    with_loss(estimator, monkeypatch, steep)
    with pytest.raises(UserError, match=r"the gradient is no number at step 0; lower finetune\.learning_rate"):
        train(estimator, frames, tmp_path)
    assert all(torch.isfinite(weight).all() for weight in estimator.parameters())


def test_a_validation_that_is_no_number_stops_the_training(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="the validation's error is nan"):
        train(estimator, frames, tmp_path, validation=Validation(lambda: float("nan"), every=1))
