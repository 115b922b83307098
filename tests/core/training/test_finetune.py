"""Training: it learns, it resumes exactly, it refuses what makes no sense."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from safetensors.torch import load_file

from posesyn_core.errors import UserError
from posesyn_core.training.finetune import FinetuneResult, Validation, finetune
from posesyn_core.training.loader import Mixture, batches
from posesyn_core.training.trainer import Schedule, Trainer
from posesyn_core.values import LabelledFrame
from posesyn_spin.config import SpinConfig
from posesyn_spin.estimator import Spin
from tests.core.training.shared_training import SHARE, untrained
from tests.core.training.shared_training import train as train_shared


def train(estimator: Spin, frames: list[LabelledFrame], folder: Path, **changed: object) -> FinetuneResult:
    arguments = {"steps": 6, "batch_size": 4, "ratio": 0.5, "learning_rate": 1e-3, "seed": 5, "workers": 2}
    return finetune(estimator, frames[:6], frames[6:], folder, save_every=2, **{**arguments, **changed})  # type: ignore[arg-type]


def test_the_loss_falls_and_the_weights_load(estimator: Spin, frames: list[LabelledFrame], tmp_path: Path) -> None:
    # the same frames without augmentation would be memorised at once; 20 steps on 12 augmented ones must show a fall
    result = train(estimator, frames, tmp_path, steps=20, batch_size=8)
    losses = [line["loss"] for line in result.metrics]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    again = Spin(SpinConfig(weights=str(result.weights)))
    for name, tensor in again.network.state_dict().items():
        torch.testing.assert_close(tensor, estimator.network.state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["frozen", "train"])
def test_an_interrupted_training_ends_with_the_same_bits(
    estimator: Spin,
    frames: list[LabelledFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    start = {name: tensor.clone() for name, tensor in estimator.network.state_dict().items()}
    whole = train(estimator, frames, tmp_path / "whole", mode=mode)
    expected = {name: tensor.clone() for name, tensor in estimator.network.state_dict().items()}

    estimator.network.load_state_dict(start)
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr("posesyn_core.training.finetune.batches", _interrupted_at(5))
        train(estimator, frames, tmp_path / "parts", mode=mode)
    estimator.network.load_state_dict(start)
    resumed = train(estimator, frames, tmp_path / "parts", mode=mode, workers=1)

    assert resumed.metrics == whole.metrics
    for name, tensor in estimator.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(6))
    for _ in range(2):
        for name in ("checkpoint.pt", "metrics.jsonl", "weights.safetensors"):
            assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
        train(estimator, frames, tmp_path / "parts", mode=mode)  # nothing is left to be done; its files stay


def test_frames_that_could_not_be_read_are_told_after_an_interruption(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [evolve(frames[0], id="broken", image=b"x"), *frames[1:]]
    start = {name: tensor.clone() for name, tensor in estimator.network.state_dict().items()}
    whole = train(estimator, broken, tmp_path / "whole")
    assert list(whole.unread) == ["broken"]
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        estimator.network.load_state_dict(start)
        patch.setattr("posesyn_core.training.finetune.batches", _interrupted_at(5))
        train(estimator, broken, tmp_path / "parts")
    estimator.network.load_state_dict(start)
    assert train(estimator, broken, tmp_path / "parts").unread == whole.unread
    assert train(estimator, broken, tmp_path / "parts").unread == whole.unread  # nothing was left to be done
    for name in ("checkpoint.pt", "metrics.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def _interrupted_at(step: int):  # type: ignore[no-untyped-def]
    def broken(*arguments, **options):  # type: ignore[no-untyped-def]
        for batch in batches(*arguments, **options):
            if batch.step == step:
                raise KeyboardInterrupt
            yield batch

    return broken


def test_statistics_stay_unless_asked_for(estimator: Spin, frames: list[LabelledFrame], tmp_path: Path) -> None:
    before = estimator.network.bn1.running_mean.clone()
    train(estimator, frames, tmp_path / "frozen", steps=2)
    torch.testing.assert_close(estimator.network.bn1.running_mean, before, rtol=0, atol=0)
    train(estimator, frames, tmp_path / "updated", steps=2, mode="train")
    assert not torch.equal(estimator.network.bn1.running_mean, before)


def test_a_finished_training_is_not_done_again(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(estimator, frames, tmp_path, steps=2)
    monkeypatch.setattr(estimator, "training_inputs", None)
    assert train(estimator, frames, tmp_path, steps=2).metrics == first.metrics


def test_other_arguments_in_the_same_folder_are_refused(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    train(estimator, frames, tmp_path, steps=2)
    with pytest.raises(UserError, match=r"another learning_rate \(0\.001, now 0\.01\)"):
        train(estimator, frames, tmp_path, steps=2, learning_rate=1e-2)


def test_a_loss_that_is_no_number_stops_the_training(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    hopeless = [evolve(frame, joints2d=frame.joints2d * float("nan")) for frame in frames]
    with pytest.raises(UserError, match="no number at step 0"):
        train(estimator, hopeless, tmp_path)
    assert not (tmp_path / "weights.safetensors").exists()


def test_cosine_schedule_rises_then_falls_to_nothing() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) > 0.98
    assert rates[-1] < 1e-3
    assert evolve(schedule, decay="constant").rate(99) == 1.0


def test_metrics_name_every_term(estimator: Spin, frames: list[LabelledFrame], tmp_path: Path) -> None:
    (line,) = train(estimator, frames, tmp_path, steps=1).metrics
    assert {"step", "loss", "learning_rate", "keypoints2d", "keypoints3d", "pose", "betas", "camera"} <= line.keys()


def test_accumulated_batches_are_one_greater_batch(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    start = {name: tensor.clone() for name, tensor in estimator.network.state_dict().items()}
    whole = train(estimator, frames, tmp_path / "whole", steps=1, accumulate=4, batch_size=2)
    assert [line["step"] for line in whole.metrics] == [0]
    moved = estimator.network.decpose.weight - start["decpose.weight"]
    assert float(moved.detach().abs().max()) > 0
    estimator.network.load_state_dict(start)
    single = [line["loss"] for line in train(estimator, frames, tmp_path / "one", steps=1, batch_size=2).metrics]
    assert single[0] != whole.metrics[0]["loss"]  # the mean of four batches, of which this is the first


def test_mixed_precision_learns_and_resumes(estimator: Spin, frames: list[LabelledFrame], tmp_path: Path) -> None:
    full = train(estimator, frames, tmp_path / "full", steps=2)
    mixed = train(estimator, frames, tmp_path / "mixed", steps=2, precision="bf16")
    assert mixed.metrics[0]["loss"] == pytest.approx(full.metrics[0]["loss"], rel=1.0)
    assert mixed.metrics[0]["loss"] != full.metrics[0]["loss"]
    assert estimator.network.conv1.weight.dtype == torch.float32


def _validated(values: list[float], patience: int = 0) -> Validation:
    return Validation(iter(values).__next__, every=2, patience=patience)


def test_the_best_weights_are_kept(estimator: Spin, frames: list[LabelledFrame], tmp_path: Path) -> None:
    kept: list[bytes] = []

    def measure() -> float:
        if (tmp_path / "weights.safetensors").exists():
            kept.append((tmp_path / "weights.safetensors").read_bytes())
        return [30.0, 20.0, 25.0][len(kept)]

    result = train(estimator, frames, tmp_path, validation=Validation(measure, every=2))
    assert [line["validation"] for line in result.metrics if "validation" in line] == [30.0, 20.0, 25.0]
    assert kept[0] != kept[1] == result.weights.read_bytes()


@pytest.mark.parametrize("mode", ["frozen", "train"])
def test_weights_before_the_training_have_their_share(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path, mode: str
) -> None:
    network = estimator.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plain = train(estimator, frames, tmp_path / "plain", mode=mode)
    trained = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in range(2):  # the second time, nothing is left to be done
        network.load_state_dict(before)
        mixed = train(estimator, frames, tmp_path / "mixed", mode=mode, start_share=0.25)
        assert mixed.metrics == plain.metrics
        left = Spin(SpinConfig(weights=str(mixed.weights))).network.state_dict()
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(left[name], tensor, rtol=0, atol=0)
            if tensor.is_floating_point():
                torch.testing.assert_close(tensor, 0.25 * before[name] + 0.75 * trained[name], rtol=1e-5, atol=1e-7)
    averages = [name for name in before if "running_mean" in name]
    assert all(torch.equal(before[name], trained[name]) == (mode == "frozen") for name in averages)


def test_what_is_validated_is_what_would_be_left(estimator: Spin, frames: list[LabelledFrame], tmp_path: Path) -> None:
    parameters = list(estimator.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    seen: dict[float, list[list[torch.Tensor]]] = {0.0: [], 0.25: []}
    losses = []
    for share, found in seen.items():

        def measure(found: list[list[torch.Tensor]] = found) -> float:
            found.append([parameter.detach().clone() for parameter in parameters])
            return 10.0 - len(found)

        with torch.no_grad():
            torch._foreach_copy_(parameters, before)
        validation = Validation(measure, every=2)
        result = train(estimator, frames, tmp_path / str(share), validation=validation, start_share=share)
        losses.append([line["loss"] for line in result.metrics])
    assert losses[0] == losses[1]
    for plain, mixed in zip(*seen.values(), strict=True):
        for start, trained, left in zip(before, plain, mixed, strict=True):
            torch.testing.assert_close(left, 0.25 * start + 0.75 * trained, rtol=1e-5, atol=1e-7)


def test_training_stops_when_validation_gets_no_better(
    estimator: Spin, frames: list[LabelledFrame], tmp_path: Path
) -> None:
    stopped = train(estimator, frames, tmp_path, steps=12, validation=_validated([3.0, 2.0, 2.5, 2.1], patience=2))
    assert len(stopped.metrics) == 8
    again = train(estimator, frames, tmp_path, steps=12, validation=_validated([], patience=2))
    assert again.metrics == stopped.metrics


def test_every_step_is_told(estimator: Spin, frames: list[LabelledFrame], tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    result = train(estimator, frames, tmp_path, steps=3, tell=told.append)
    assert told == list(result.metrics)


def launched(
    folder: Path, accumulate: int, mode: str = "frozen", what: str = "spin"
) -> "subprocess.CompletedProcess[str]":
    """Two processes on the CPU that train in ``folder`` together."""
    root = Path(__file__).parents[3]
    script = Path(__file__).with_name("shared_training.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    arguments = [str(folder), str(accumulate), mode, what]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, cwd=root)


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """They share the batches of a step: the sum of two gradients is the same in either order, to the last bit."""
    alone = train_shared(tmp_path / "one", accumulate=2)
    done = launched(tmp_path / "two", accumulate=2)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "two/metrics.jsonl").read_text().splitlines()]
    assert lines == alone.metrics
    for name, tensor in load_file(alone.weights).items():
        torch.testing.assert_close(load_file(tmp_path / "two/weights.safetensors")[name], tensor, rtol=0, atol=0)
    assert train_shared(tmp_path / "two", accumulate=2).metrics == alone.metrics  # and one goes on where two ended


@pytest.mark.slow
def test_two_processes_share_what_normalisation_layers_hold(tmp_path: Path) -> None:
    """Every batch is normalised by itself, so the weights are one process's; the averages over batches nearly are."""
    alone = train_shared(tmp_path / "one", accumulate=2, mode="train")
    done = launched(tmp_path / "two", accumulate=2, mode="train")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "two/metrics.jsonl").read_text().splitlines()]
    assert lines == alone.metrics
    start = Spin(SpinConfig(weights="random")).network.state_dict()
    ours, theirs = load_file(alone.weights), load_file(tmp_path / "two/weights.safetensors")
    assert any("running_mean" in name for name in ours)
    for name, tensor in ours.items():
        if "num_batches_tracked" in name:  # unused where averages have a momentum
            continue
        if "running" not in name:
            torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=0)
        elif name in start and start[name].shape == tensor.shape:
            moved = (tensor - start[name]).norm()
            assert (theirs[name] - tensor).norm() < 0.75 * moved + 1e-6, name


@pytest.mark.slow
def test_a_network_divided_between_processes_is_trained_as_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, start = train_shared(tmp_path / "one", accumulate=2, what="hmr2"), untrained("hmr2").network.state_dict()
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr("posesyn_core.training.finetune.batches", _interrupted_at(3))
        train_shared(tmp_path / "resumed", accumulate=2, what="hmr2")
    for folder in ("two", "resumed"):  # from the beginning, and where one process stopped
        done = launched(tmp_path / folder, accumulate=2, what="hmr2")
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in (tmp_path / folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["loss"] for line in lines] == pytest.approx([line["loss"] for line in alone.metrics], rel=1e-5)
        ours, theirs = (torch.load(tmp_path / one / "checkpoint.pt", weights_only=True) for one in ("one", folder))
        for at, state in ours["optimiser"]["state"].items():  # weights say less: Adam magnifies what rounding is left
            mean = theirs["optimiser"]["state"][at]["exp_avg"]
            assert (mean - state["exp_avg"]).abs().max() <= 1e-3 * state["exp_avg"].abs().max() + 1e-9
        written = load_file(tmp_path / folder / "weights.safetensors")
        assert written.keys() == load_file(alone.weights).keys()
        for name, tensor in written.items():
            trained = theirs["network"][name]
            left = trained.add(start[name] - trained, alpha=SHARE) if trained.is_floating_point() else trained
            torch.testing.assert_close(tensor, left, rtol=0, atol=0)
        assert train_shared(tmp_path / folder, accumulate=2, what="hmr2").metrics == lines  # one process reads it


@pytest.mark.slow
def test_a_loss_that_calls_parts_of_a_divided_network_is_told(tmp_path: Path) -> None:
    done = launched(tmp_path, accumulate=2, what="hybrik")
    assert done.returncode != 0
    assert "set finetune.sharded = false" in done.stderr


@pytest.mark.slow
def test_batches_that_cannot_be_shared_are_told(tmp_path: Path) -> None:
    done = launched(tmp_path, accumulate=3)
    assert done.returncode != 0
    assert "set finetune.accumulate to a multiple of 2" in done.stderr
    assert not (tmp_path / "metrics.jsonl").exists()


def test_the_learning_rate_follows_its_schedule() -> None:
    plain = Schedule(steps=100, learning_rate=1.0, decay="constant", warm_up=0.0)
    assert {plain.rate(step) for step in range(100)} == {1.0}
    warm = evolve(plain, warm_up=0.2)
    assert [warm.rate(step) for step in (0, 9, 19, 20, 99)] == pytest.approx([0.05, 0.5, 1, 1, 1])
    steps = evolve(plain, decay="steps", milestones=(0.45, 0.6))
    assert [steps.rate(step) for step in (0, 44, 45, 59, 60, 99)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = evolve(plain, decay="cosine")
    assert [cosine.rate(step) for step in (0, 50)] == pytest.approx([1, 0.5])


@pytest.mark.parametrize("clip", ["all", "each"])
def test_gradients_are_clipped_together_or_each(
    estimator: Spin, frames: list[LabelledFrame], monkeypatch: pytest.MonkeyPatch, clip: Any
) -> None:
    mixture = Mixture(frames, [], batch_size=4, ratio=0.0, seed=0)
    (batch,) = batches(estimator, mixture, 0, 1, workers=1)
    norms = {}
    for most in (0.0, 1e-3):
        plan = Schedule(steps=10, learning_rate=1e-9, max_gradient=most, clip=clip)
        trainer = Trainer(estimator, plan, seed=0)
        trainer.step([batch])
        norms[most] = [float(each.grad.norm()) for each in trainer.parameters if each.grad is not None]
    assert max(norms[0.0]) > 1e-3
    if clip == "each":
        assert max(norms[1e-3]) <= 1.001e-3 < sum(norm**2 for norm in norms[1e-3]) ** 0.5
    else:
        assert sum(norm**2 for norm in norms[1e-3]) ** 0.5 == pytest.approx(1e-3, rel=1e-3)


def test_betas_are_adams(estimator: Spin) -> None:
    trainer = Trainer(estimator, Schedule(steps=1, learning_rate=1e-3, betas=(0.5, 0.6)), seed=0)
    assert {group["betas"] for group in trainer.optimiser.param_groups} == {(0.5, 0.6)}
