"""Steps that are read back once in a while."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

from posesyn_core.engines.waits import Waits
from posesyn_core.errors import UserError
from posesyn_core.training.finetune import Validation, finetune
from posesyn_core.training.loader import Mixture, batches
from posesyn_core.training.trainer import READ_EVERY, Schedule, Trainer
from posesyn_core.values import LabelledFrame
from posesyn_spin.estimator import Spin


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read every third step back, as if the CPU were a GPU."""
    monkeypatch.setitem(READ_EVERY, "cpu", 3)


def train(estimator: Spin, frames: list[LabelledFrame], folder: Path, **changed: Any) -> Any:
    arguments = {"steps": 8, "batch_size": 4, "ratio": 0.5, "learning_rate": 1e-3, "seed": 5, "workers": 2}
    return finetune(estimator, frames[:6], frames[6:], folder, **{**arguments, **changed})  # type: ignore[arg-type]


def states(estimator: Spin) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in estimator.network.state_dict().items()}


def test_steps_do_not_wait_for_the_device(estimator: Spin, frames: list[LabelledFrame]) -> None:
    trainer = Trainer(estimator, Schedule(steps=8, learning_rate=1e-4, mode="train"), seed=0)
    ready = list(batches(estimator, Mixture(frames, [], 4, 0.0, 0), 0, 4, workers=1))
    with Waits() as stepping:
        for batch in ready:
            trainer.step([batch])
    with Waits() as reading:
        metrics = trainer.read()
    assert stepping.calls == {}
    assert reading.calls == {"tolist": 1}
    assert [line["step"] for line in metrics] == [0, 1, 2, 3]
    assert trainer.read() == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_reading_rarely_changes_nothing(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    start, told = states(estimator), []
    each = train(estimator, frames, tmp_path / "each", precision=precision)
    expected = states(estimator)
    estimator.network.load_state_dict(start)
    monkeypatch.setitem(READ_EVERY, "cpu", 3)
    seldom = train(estimator, frames, tmp_path / "seldom", precision=precision, tell=told.append)
    assert seldom.metrics == each.metrics == told
    for name, tensor in states(estimator).items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


@pytest.mark.usefixtures("rarely")
def test_a_validation_is_of_the_step_that_it_follows(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    values = iter([3.0, 2.0, 1.0, 0.5])
    result = train(estimator, frames, tmp_path, validation=Validation(values.__next__, every=2))
    assert [line["step"] for line in result.metrics if "validation" in line] == [1, 3, 5, 7]


@pytest.mark.usefixtures("rarely")
def test_what_is_no_number_changes_no_weight_before_it_is_told(
    estimator: Spin, frames: list[LabelledFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [evolve(f, joints2d=f.joints2d * torch.nan) if f.id == "frame/3" else f for f in frames]
    trainer = Trainer(estimator, Schedule(steps=8, learning_rate=1e-3), seed=0)
    ready = list(batches(estimator, Mixture(bad, [], 1, 0.0, 0), 0, 12, workers=1))
    at = next(number for number, batch in enumerate(ready) if batch.ids == ("frame/3",))
    for batch in ready[:at]:
        trainer.step([batch])
    before = states(estimator)
    for batch in ready[at:]:
        trainer.step([batch])
    for name, tensor in states(estimator).items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    with pytest.raises(UserError, match=f"at step {at}: the input 'keypoints2d' of the training frame 'frame/3'"):
        trainer.read()


@pytest.mark.usefixtures("rarely")
def test_a_gradient_that_is_none_is_told_with_its_step(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, seen = Spin.training_loss, []

    def steep(self: Spin, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        terms = loss(self, batch)
        seen.append(terms)
        return {**terms, "loss": terms["loss"] + (terms["loss"] * 0).sqrt() * 0} if len(seen) == 2 else terms

    monkeypatch.setattr(Spin, "training_loss", steep)
    with pytest.raises(UserError, match=r"the gradient is no number at step 1; lower finetune\.learning_rate"):
        train(estimator, frames, tmp_path)
    assert len(seen) == 3  # and was told at the next reading
    assert all(torch.isfinite(weight).all() for weight in estimator.parameters())
