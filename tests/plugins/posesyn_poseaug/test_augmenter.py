"""PoseAug as the augmenter of a fine-tuning."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from posesyn_core.components import Kind, TrainableEstimator
from posesyn_core.contracts.products import product_fault
from posesyn_core.errors import UserError
from posesyn_core.registry import Registry
from posesyn_core.training.finetune import finetune
from posesyn_core.values import LabelledFrame
from posesyn_poseaug.augmenter import PoseAugmenter, camera_numbers, pose_set
from posesyn_poseaug.camera import project
from tests.plugins.posesyn_poseaug.people import CAMERA, SIZE, frames, poses
from tests.plugins.posesyn_poseaug.test_estimator import make

OPTIONS = {"batch_size": 8, "epochs": 4, "warm_up": 1, "pool": 16}


def augmenter(**options: Any) -> PoseAugmenter:
    made: PoseAugmenter = Registry.discover().create(Kind.AUGMENTER, "poseaug", {**OPTIONS, **options}, "test")
    return made


class Interrupted(KeyboardInterrupt):
    pass


class Breaking(PoseAugmenter):
    """Is interrupted in the middle of its third epoch."""

    def epoch(
        self, number: int, frames: Sequence[LabelledFrame], estimator: TrainableEstimator, seed: int
    ) -> Iterator[Mapping[str, Tensor]]:
        for at, batch in enumerate(super().epoch(number, frames, estimator, seed)):
            if number == 2 and at == 1:
                raise Interrupted
            yield batch


def train(folder: Path, made: PoseAugmenter) -> dict[str, Tensor]:
    torch.manual_seed(3)
    lifter = make("simplebaseline")
    finetune(
        lifter, frames(24), [], folder, steps=16, batch_size=8, ratio=0.0, learning_rate=1e-3, seed=0, workers=1,
        augmenter=made, mode="train",
    )  # fmt: skip
    return {name: value.clone() for name, value in lifter.network.state_dict().items()}


def test_an_interrupted_training_goes_on_bit_by_bit(tmp_path: Path) -> None:
    """Lifter, generator, discriminators, their optimisers and pools."""
    whole = train(tmp_path / "whole", augmenter())
    with pytest.raises(Interrupted):
        train(tmp_path / "broken", Breaking(augmenter().config))
    again = train(tmp_path / "broken", augmenter())
    for name, value in whole.items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0)
    first, second = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "broken"))
    assert first["online"]["epoch"] == second["online"]["epoch"] > 2
    for name, state in first["online"]["augmenter"]["augmentor"]["networks"].items():
        for key, value in state.items():
            ours = second["online"]["augmenter"]["augmentor"]["networks"][name][key]
            torch.testing.assert_close(ours, value, rtol=0, atol=0)


def test_frames_become_poses_before_their_cameras() -> None:
    found, truth = pose_set(frames(6), "h36m16"), poses(6)
    np.testing.assert_allclose(found.poses, truth, atol=2e-3)
    numbers = camera_numbers(CAMERA.focal_length, CAMERA.principal_point, (SIZE, SIZE))
    np.testing.assert_allclose(project(truth, np.stack([numbers] * 6)), found.keypoints, atol=1e-4)


def test_frames_without_3d_are_no_use() -> None:
    flat = [evolve(frame, joints3d=None) for frame in frames(3)]
    with pytest.raises(UserError, match="no training frame can be augmented; people/train/0000: PoseAug needs all"):
        pose_set(flat, "h36m16")


def test_another_estimator_is_told(tmp_path: Path) -> None:
    spin = Registry.discover().create(Kind.ESTIMATOR, "spin", {"weights": "random"}, "test")
    with pytest.raises(UserError, match="take one of this plugin's lifters"):
        next(iter(augmenter().epoch(0, frames(2), spin, 0)))


@pytest.mark.parametrize(
    "options",
    [
        *({"bone_angles": False}, {"bone_lengths": False}, {"rigid": False}, {"feedback": "none"}),
        *({"feedback": "exponential"}, {"discriminators": "2d"}, {"discriminators": "3d"}, {"discriminators": "none"}),
        *({"kcs": "whole"}, {"regulariser": "mean"}, {"swap_lengths": False}),
        {"bone_angles": False, "bone_lengths": False, "rigid": False, "discriminators": "none"},
    ],
)
def test_every_switch(options: dict[str, Any]) -> None:
    made, lifter = augmenter(**options), make("simplebaseline")
    for number in range(3):
        batches = list(made.epoch(number, frames(16), lifter, number))
        assert len(batches) >= 2
        for batch in batches:
            assert all(torch.isfinite(value).all() for value in batch.values())
            assert torch.isfinite(lifter.training_loss(batch)["loss"])


def test_the_example_of_ones_own_augmenter_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixup of skeletons, in thirty lines."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "examples" / "custom_augmenter"))
    from my_augmenter import plugin

    made = plugin.Mixup(plugin.Config(batch_size=8))
    assert product_fault(made, Kind.AUGMENTER) is None
    lifter = make("simplebaseline", dropout=0.0)
    done = finetune(
        lifter, frames(24), [], tmp_path, steps=40, batch_size=8, ratio=0.0, learning_rate=3e-3, seed=0, workers=1,
        augmenter=made, mode="train",
    )  # fmt: skip
    losses = [line["loss"] for line in done.metrics]
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_an_augmenter_that_makes_too_little_is_told(tmp_path: Path) -> None:
    class Nothing:
        def epoch(self, *_: object) -> Iterator[Mapping[str, Tensor]]:
            yield from ()

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    with pytest.raises(UserError, match="made fewer than 1 batches of 4 frames in an epoch"):
        finetune(
            make("semgcn"), frames(4), [], tmp_path, steps=2, batch_size=8, ratio=0.0, learning_rate=1e-3, seed=0,
            workers=1, augmenter=Nothing(),
        )  # fmt: skip
