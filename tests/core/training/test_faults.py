"""A training that can't go on says which of data, estimator and settings is at fault."""

import random
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_core.errors import UserError
from posesyn_core.training.finetune import CHECKPOINT, METRICS, Validation, finetune, read_training
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


class Changed:
    """An estimator with some methods replaced, as a plugin's author may get them wrong."""

    def __init__(self, estimator: Spin, **methods: object) -> None:
        self.inner = estimator
        vars(self).update(methods)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def raising(*_: object) -> None:
    raise KeyError("boom")


@pytest.mark.parametrize(
    ("method", "made", "complaint"),
    [
        ("training_inputs", raising, r"raising fails: KeyError: 'boom'"),
        ("training_inputs", lambda frame, rng: None, "returned None where a dict is needed"),
        ("training_inputs", lambda frame, rng: {"a": np.zeros(int(rng.integers(1, 99)))}, "can't lie in one batch"),
        ("training_loss", raising, "raising fails: KeyError: 'boom'"),
        ("training_loss", lambda batch: {"loss": torch.zeros(())}, "does not depend on what parameters"),
        ("training_loss", lambda batch: 3.0, "a dict of tensors with the key 'loss' is needed"),
        ("parameters", lambda: [], "returned no parameter that requires a gradient"),
        ("parameters", lambda: [torch.nn.Parameter(torch.zeros(1), requires_grad=False)], "returned no parameter"),
        ("parameters", lambda: [3], "returned an int where parameters are needed"),
        ("parameters", lambda: None, "fails: TypeError"),
        ("save", raising, "raising fails: KeyError: 'boom'"),
        ("save", lambda path: None, "wrote no file"),
        ("save", lambda path: torch.save({"a": torch.zeros(1)}, path), "but no safetensors: use"),
    ],
)  # fmt: skip
def test_a_method_that_does_something_else_is_named(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, method: str, made: object, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        train(Changed(estimator, **{method: made}), frames, tmp_path, steps=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("epoch", [raising, lambda *_: None, lambda *_: iter([3]), lambda *_: iter([{"a": 1}])])
def test_an_augmenter_that_yields_something_else_is_named(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, epoch: object
) -> None:
    augmenter = SimpleNamespace(epoch=epoch, state_dict=dict, load_state_dict=dict)
    with pytest.raises(UserError, match=r"test_faults\..*(fails: (KeyError|TypeError)|yielded)"):
        train(estimator, frames, tmp_path, augmenter=augmenter)


def test_every_damage_to_an_unfinished_training_is_told(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    """Bit by bit, and as a whole: a training never goes on from what was not written."""
    train(estimator, frames, tmp_path)
    chance, unnoticed = random.Random(0), 0
    for name in (CHECKPOINT, METRICS):
        path, whole = tmp_path / name, (tmp_path / name).read_bytes()
        damages = [b"", b"null", whole[: len(whole) // 2], random.Random(1).randbytes(300)]
        for _ in range(20):
            flipped = bytearray(whole)
            flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            damages.append(bytes(flipped))
        for number, damaged in enumerate(damages):
            path.write_bytes(damaged)
            try:
                state, _ = read_training(tmp_path, torch.device("cpu"))
            except UserError as error:
                assert "is damaged" in str(error)
            else:  # a bit of the archive that means nothing: the tensors are what they were
                assert number >= 4
                path.write_bytes(whole)
                sound, _ = read_training(tmp_path, torch.device("cpu"))
                for key, tensor in sound["network"].items():
                    assert torch.equal(tensor, state["network"][key])
                unnoticed += 1
        path.write_bytes(whole)
    assert unnoticed <= 4
