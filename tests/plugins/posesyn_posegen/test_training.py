"""Training: exact to resume, led by the estimator's error, every switch, and clear about what it lacks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from posesyn_core import PoseEstimate, Sample
from posesyn_core.cli.main import cli
from posesyn_core.errors import SampleError, UserError
from posesyn_core.registry import Registry
from posesyn_posegen.generator import PoseGenMotions
from posesyn_posegen.model import (
    FEEDBACK_JOINTS,
    Discriminator3d,
    Generator,
    PoseGen,
    StepOptions,
    draw_noise,
    feedback_loss,
    flattened,
)
from posesyn_posegen.people import read_data
from posesyn_posegen.training import CHECKPOINT, METRICS, WEIGHTS, Training
from tests.plugins.posesyn_posegen.small import WORLD, made, spin


def same(one: Any, other: Any) -> bool:
    """Whether two states are alike to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_an_interrupted_training_ends_as_an_undisturbed_one(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    lines = made(estimator=spin(weights)).train(whole)
    epoch = Training.epoch

    def killed(self: Training, number: int) -> dict[str, float]:
        terms = epoch(self, number)
        if number == 3:
            raise KeyboardInterrupt
        return terms

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, "epoch", killed)
        made(estimator=spin(weights)).train(parts)
    assert len((parts / METRICS).read_text().splitlines()) == 2
    assert made(estimator=spin(weights)).train(parts) == lines
    for name in (WEIGHTS, METRICS):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    states = [torch.load(folder / CHECKPOINT, weights_only=True) for folder in (whole, parts)]
    assert same(*states)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert "error_mm" not in lines[0] and lines[1]["error_mm"] > 0
    assert made(estimator=spin(weights)).train(whole) == lines  # nothing is left to do


def test_the_error_leads_the_generator(tmp_path: Path, weights: Path) -> None:
    """Maximised it grows, minimised it shrinks, beyond what comes of the discriminator alone."""
    options = {"estimator": spin(weights), "epochs": 8, "learning_rate": 3e-3, "feedback_weight": 10.0}
    grown, shrunk = (
        made(**options, feedback=direction).train(tmp_path / direction) for direction in ("maximise", "minimise")
    )
    assert grown[-1]["error_mm"] > 1.1 * shrunk[-1]["error_mm"]
    assert grown[-1]["error_mm"] > grown[1]["error_mm"] and shrunk[-1]["error_mm"] < shrunk[1]["error_mm"]


@pytest.mark.parametrize(
    "options",
    [
        *({"prior": "uniform"}, {"prior": "spherical"}, {"judge_root": False}, {"camera": False}),
        *({"rate_rule": "published"}, {"feedback": "none", "estimator": None, "animator": None}, {"targets": WORLD}),
        {"estimator": {"name": "simplebaseline", "weights": "random"}, "animator": "none"},  # looks at no picture
        {"animator": {"name": "anerf", "weights": "random", "size": 32, "people": 2}},  # brings its own people
    ],
)
def test_every_switch(tmp_path: Path, weights: Path, options: dict[str, Any]) -> None:
    plain = made(estimator=spin(weights), epochs=2)
    other = made(**{"estimator": spin(weights), "epochs": 2, **options})
    lines = [each.train(tmp_path / str(at)) for at, each in enumerate((plain, other))]
    assert lines[0] != lines[1]
    assert all(np.isfinite(value) for line in lines[1] for value in line.values())
    assert ("d2d" in lines[1][0]) == ("targets" in options)
    assert ("feedback" in lines[1][1]) == (options.get("feedback") != "none")


def test_the_published_rate_undoes_what_was_learnt(weights: Path) -> None:
    rates = []
    for rule in ("linear", "published", "constant"):
        training = made(estimator=spin(weights), feedback="none", rate_rule=rule, epochs=10)._training()
        found = []
        for number in (1, 6, 7, 10):
            training.epoch(number)
            found.append(training.gan.optimisers["model_G"].param_groups[0]["lr"])
        rates.append(found)
    assert rates[0] == pytest.approx([1e-4, 1e-4 * 6 / 11, 1e-4 * 5 / 11, 1e-4 * 2 / 11])
    assert rates[1] == pytest.approx([1e-4, 0, -2e-5, -8e-5])
    assert rates[2] == pytest.approx([1e-4] * 4)


def test_a_discriminator_that_does_not_see_the_root_does_not_judge_it() -> None:
    real = draw_noise("normal", 8, 72).view(8, 24, 3)
    turned = torch.cat([real[:, :1] + 1, real[:, 1:]], 1)
    losses = []
    for judge_root in (True, False):
        for poses in (real, turned):
            torch.manual_seed(0)
            gan = PoseGen(Generator(), Discriminator3d(8, 8), None, StepOptions(judge_root=judge_root))
            losses.append(float(gan.step(draw_noise("normal", 8, 32), poses)["d3d"]))
    assert losses[0] != losses[1] and losses[2] == losses[3]


def test_priors() -> None:
    torch.manual_seed(0)
    uniform, spherical = draw_noise("uniform", 4000, 8), draw_noise("spherical", 4000, 8)
    assert float(uniform.abs().max()) <= 1 and float(uniform.var()) == pytest.approx(1 / 3, abs=0.01)
    torch.testing.assert_close(spherical.norm(dim=1), torch.ones(4000))


def test_unknown_joints_do_not_count_in_the_feedback() -> None:
    torch.manual_seed(0)
    predicted, generated = torch.randn(3, 24, 3), torch.randn(3, 24, 3, requires_grad=True)
    lost = predicted.clone()
    lost[0] = torch.nan
    lost[1, FEEDBACK_JOINTS[0]] = torch.nan
    loss = feedback_loss(lost, generated, "minimise")
    known = [(at, joint) for at in (1, 2) for joint in FEEDBACK_JOINTS if (at, joint) != (1, FEEDBACK_JOINTS[0])]
    own, theirs = (joints - joints[:, :1] for joints in (predicted, generated))
    assert loss.item() == pytest.approx(np.mean([float((own[p] - theirs[p]).norm()) for p in known]), rel=1e-5)
    loss.backward()
    assert generated.grad is not None and torch.isfinite(generated.grad).all() and not generated.grad[0].any()
    assert float(feedback_loss(torch.full((2, 24, 3), torch.nan), generated[:2])) == 1.0


def test_flattened_poses_know_neither_place_nor_size() -> None:
    joints = torch.randn(5, 24, 3)
    torch.testing.assert_close(flattened(3 * joints + torch.tensor([1.0, 2.0, 3.0])), flattened(joints))


def test_real_poses_of_a_file(tmp_path: Path, weights: Path) -> None:
    """As AMASS's: flat rows, z up, every so many; who stands and faces -y there faces the camera."""
    poses = np.zeros((40, 72), np.float32)
    poses[:, 3:] = np.random.default_rng(0).normal(0, 0.3, (40, 69))
    poses[:, 0] = np.pi / 2
    poses[5] = np.nan
    np.savez(tmp_path / "amass.npz", pose3d=poses)
    config = made(poses=str(tmp_path / "amass.npz"), every=2, feedback="none", real=None).config
    found = read_data(config, made(feedback="none").body)
    assert found.poses.shape == (20, 24, 3) and torch.isfinite(found.poses).all()
    turns = found.poses[:, 0].norm(dim=1)
    torch.testing.assert_close(turns, torch.full((20,), torch.pi))
    assert found.people == ()


def test_the_command_trains_and_goes_on(tmp_path: Path, weights: Path) -> None:
    settings = [
        *("epochs=1", "batch_size=8", "feedback=none", "channels=16", "middle=16"),
        *(f"real.{key}={value}" for key, value in WORLD.items()),
    ]
    arguments = ["posegen", "train", "--out", str(tmp_path), *(f"--set={each}" for each in settings)]
    registry = Registry.discover()
    if "posegen" not in cli.commands:
        registry.manager.hook.register_commands(cli=cli)
    outputs = [CliRunner().invoke(cli, arguments, obj=registry, catch_exceptions=False).output for _ in range(2)]
    assert outputs[0].splitlines()[-2:] == outputs[1].splitlines()[-2:]
    assert "epoch 1: adversarial_d3d" in outputs[0] and str(tmp_path / WEIGHTS) in outputs[0]


class Flat:
    """An estimator of 2D joints alone."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def predict(self, samples: list[Sample]) -> list[PoseEstimate]:
        if self.answer == "nothing":
            raise SampleError("nobody is seen")
        return [
            PoseEstimate(np.full((24, 3), np.nan), sample.keypoints2d, sample.camera)  # type: ignore[arg-type]
            for sample in samples
        ]


@pytest.mark.parametrize("answer", ["2d", "nothing"])
def test_an_estimator_without_3d_output_is_refused(tmp_path: Path, weights: Path, answer: str) -> None:
    generator = made(estimator=spin(weights))
    object.__setattr__(generator.config, "estimator", Flat(answer))
    with pytest.raises(UserError, match="says nothing in 3D of 4 generated poses"):
        generator.train(tmp_path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"real": None}, "needs real poses: name people"),
        ({"estimator": None}, "PoseGen's feedback needs 'estimator'"),
        ({"animator": None}, "PoseGen's feedback needs 'animator'"),
        ({"animator": "none"}, "the animator draws no person"),
        ({"batch_size": 64}, "there are 16 real poses, fewer than a batch of 64"),
        ({"every": 4}, "fewer than a batch"),
        ({"real": {**WORLD, "labels": "2d"}}, "none of the 16 people of 'real' has SMPL's parameters"),
        ({"poses": "none.npz"}, r"none\.npz"),
        ({"feedback": "maximize"}, "feedback"),
        ({"batch_size": 1}, "must be at least 2 and at most 1,000,000, not 1"),
    ],
)
def test_what_is_lacking_is_said(tmp_path: Path, weights: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        made(**{"estimator": spin(weights), **options}).train(tmp_path)


def test_nobody_to_draw_is_said(tmp_path: Path, weights: Path) -> None:
    np.savez(tmp_path / "poses.npz", pose3d=np.ones((16, 24, 3)))
    with pytest.raises(UserError, match="has nobody to draw"):
        made(estimator=spin(weights), real=None, poses=str(tmp_path / "poses.npz")).train(tmp_path / "out")


def test_broken_files_of_poses_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    np.savez(tmp_path / "other.npz", poses=np.ones((16, 24, 3)))
    np.savez(tmp_path / "joints.npz", pose3d=np.ones((16, 22, 3)))
    for name in ("broken", "other", "joints"):
        with pytest.raises(UserError, match=name):
            made(feedback="none", poses=str(tmp_path / f"{name}.npz")).train(tmp_path)


def test_a_folder_of_another_training_is_refused(tmp_path: Path, weights: Path) -> None:
    made(feedback="none", epochs=1).train(tmp_path)
    with pytest.raises(UserError, match="another prior"):
        made(feedback="none", epochs=1, prior="uniform").train(tmp_path)
    with pytest.raises(UserError, match="another feedback"):
        made(estimator=spin(weights), epochs=1).train(tmp_path)
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:2000])
    with pytest.raises(UserError, match=r"checkpoint\.pt"):
        made(feedback="none", epochs=1).train(tmp_path)
    torch.save({"epoch": 3}, tmp_path / CHECKPOINT)
    with pytest.raises(UserError, match="no checkpoint of PoseGen's training"):
        made(feedback="none", epochs=1).train(tmp_path)


def test_trained_on_first_use_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path))
    options = {"feedback": "none", "epochs": 1}
    first: PoseGenMotions = made(**options)
    assert not (tmp_path / "posegen").exists()
    noise = draw_noise("normal", 2, 32)
    poses = first.poses(noise)
    (folder,) = (tmp_path / "posegen").iterdir()
    before = (folder / CHECKPOINT).stat().st_mtime_ns
    np.testing.assert_array_equal(made(**options).poses(noise), poses)
    assert (folder / CHECKPOINT).stat().st_mtime_ns == before
    assert made(**options, seed=1).folder != folder
