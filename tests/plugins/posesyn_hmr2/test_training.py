"""Training: the terms a frame has labels for, the discriminator's game, official files, and the trainer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from numpy.typing import NDArray

from posesyn_core.body.model import load_body
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.checkpoints import read_state_dict
from posesyn_core.pipeline.finetune import schedule_of
from posesyn_core.recipe import Finetune
from posesyn_core.training.finetune import finetune
from posesyn_core.values import LabelledFrame
from posesyn_hmr2.annotations import read_shard
from posesyn_hmr2.discriminator import Discriminator, discriminator_loss, generator_loss
from posesyn_hmr2.estimator import Hmr2
from posesyn_hmr2.losses import Weights, adversarial_terms, hmr2_terms, total
from posesyn_hmr2.people import Person
from posesyn_hmr2.writers import Hmr2TarWriter, Hmr2TarWriterConfig
from tests.plugins.posesyn_hmr2.conftest import make

Item = dict[str, NDArray]


def batch_of(items: list[Item]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}


def item(estimator: Hmr2, frame: LabelledFrame | Person, seed: int = 0) -> Item:
    return estimator.training_inputs(frame, np.random.default_rng(seed))


def test_a_2d_label_trains_the_2d_term_and_regularises_the_shape(estimator: Hmr2, frame: LabelledFrame) -> None:
    bare = evolve(frame, smpl=None, joints3d=None)
    terms = {
        name: float(term.detach()) for name, term in estimator.training_loss(batch_of([item(estimator, bare)])).items()
    }
    assert terms["keypoints_2d"] > 0
    assert terms["betas"] > 0
    assert [terms[name] for name in ("keypoints_3d", "global_orient", "body_pose")] == [0, 0, 0]
    assert "adversarial" not in terms


def test_losses_are_sums_over_the_batch(estimator: Hmr2, frame: LabelledFrame) -> None:
    items = [item(estimator, frame, seed) for seed in (1, 2)]
    single = [estimator.training_loss(batch_of([one])) for one in items]
    both = estimator.training_loss(batch_of(items))
    for name, term in both.items():
        torch.testing.assert_close(term, single[0][name] + single[1][name], rtol=1e-4, atol=1e-5)


def test_joints_that_the_body_lacks_do_not_count(estimator: Hmr2, frame: LabelledFrame) -> None:
    plain, changed = item(estimator, frame), item(estimator, frame)
    unknown = ~estimator.joints.known.numpy()
    for name in ("keypoints_2d", "keypoints_3d"):
        changed[name][unknown] = 7.0
    losses = [float(estimator.training_loss(batch_of([one]))["loss"].detach()) for one in (plain, changed)]
    assert losses[0] == losses[1]


def test_loss_weights_are_options(estimator: Hmr2, frame: LabelledFrame) -> None:
    batch = batch_of([item(estimator, frame)])
    heavier = make(body_pose_weight=1.001)
    heavier.network.load_state_dict(estimator.network.state_dict())
    light, heavy = estimator.training_loss(batch), heavier.training_loss(batch)
    torch.testing.assert_close(heavy["loss"] - light["loss"], light["body_pose"], rtol=1e-3, atol=1e-3)


def bodies(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    pose = torch.randn(count, 23, 3, 3, generator=random, requires_grad=True)
    return pose, torch.randn(count, 10, generator=random, requires_grad=True)


def test_neither_player_moves_the_other() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        discriminator = Discriminator(16)
    fake, real = bodies(3, 1), bodies(6, 2)
    generator_loss(discriminator, *fake).backward()
    assert all(weight.grad is None for weight in discriminator.parameters())
    assert all(part.grad is not None and part.grad.any() for part in fake)
    for part in fake:
        part.grad = None
    discriminator_loss(discriminator, *fake, *real).backward()
    assert all(part.grad is None for part in fake)
    assert all(weight.grad is not None and weight.grad.any() for weight in discriminator.parameters())


def test_the_discriminator_learns_to_tell_them_apart() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        discriminator = Discriminator(16)
    (fake_pose, fake_betas), (real_pose, real_betas) = bodies(8, 1), bodies(16, 2)
    optimiser = torch.optim.AdamW(discriminator.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = discriminator_loss(discriminator, fake_pose, fake_betas, 0.1 * real_pose, 0.1 * real_betas)
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        fake, real = discriminator(fake_pose, fake_betas), discriminator(0.1 * real_pose, 0.1 * real_betas)
    assert fake.shape == (8, 25)
    assert real.mean() - fake.mean() > 0.5


def test_one_optimiser_makes_the_official_steps_of_two(frame: LabelledFrame, mocap: Path) -> None:
    """First the network's, then with the predictions of before it the discriminator's (see posesyn_hmr2.losses)."""
    ours, theirs = make(mocap=str(mocap)), make(mocap=str(mocap))
    settings = {"lr": 1e-3, "weight_decay": 1e-4}
    one = torch.optim.AdamW(ours.parameters(), **settings)
    network = theirs.network
    first = torch.optim.AdamW([*network.backbone.parameters(), *network.smpl_head.parameters()], **settings)
    second = torch.optim.AdamW(network.discriminator.parameters(), **settings)
    for step in range(3):
        batch = batch_of([item(ours, frame, 2 * step), item(ours, frame, 2 * step + 1)])
        one.zero_grad()
        ours.training_loss(batch)["loss"].backward()
        one.step()
        outputs = network(batch["images"])
        joints = theirs.joints(torch.cat([outputs["global_orient"], outputs["body_pose"]], 1), outputs["betas"])
        generator = hmr2_terms(outputs, joints, theirs._known(batch))
        generator["adversarial"] = adversarial_terms(network.discriminator, outputs, batch)["adversarial"]
        first.zero_grad()
        total(generator, Weights()).backward()
        first.step()
        second.zero_grad()
        game = adversarial_terms(network.discriminator, outputs, batch)
        (Weights().adversarial * game["discriminator"]).backward()
        second.step()
    for (name, found), (_, expected) in zip(ours.network.named_parameters(), network.named_parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=name)


def test_real_bodies_come_with_the_frame_and_depend_on_its_draw(frame: LabelledFrame, mocap: Path) -> None:
    estimator = make(mocap=str(mocap))
    first, same, other = (item(estimator, frame, seed) for seed in (0, 0, 1))
    assert first["mocap_pose"].shape == (2, 23, 3)
    assert first["mocap_betas"].shape == (2, 10)
    np.testing.assert_array_equal(first["mocap_pose"], same["mocap_pose"])
    assert np.abs(first["mocap_pose"] - other["mocap_pose"]).max() > 0


def test_without_real_bodies_the_discriminator_is_not_trained(estimator: Hmr2) -> None:
    trained = {id(parameter) for parameter in estimator.parameters()}
    assert not any(id(parameter) in trained for parameter in estimator.network.discriminator.parameters())


@pytest.mark.parametrize("mixed", ["fp32", "bf16"])
def test_the_trainer_trains_both_players(frame: LabelledFrame, mocap: Path, tmp_path: Path, mixed: str) -> None:
    estimator = make(mocap=str(mocap))
    before = {name: tensor.clone() for name, tensor in estimator.network.state_dict().items()}
    schedule = schedule_of(Finetune(steps=2, batch_size=2), estimator.training_defaults, frames=4)
    result = finetune(
        estimator, [frame] * 2, [frame] * 2, tmp_path / "run", ratio=0.5, seed=0, workers=1, precision=mixed, **schedule
    )
    assert {"adversarial", "discriminator", "keypoints_3d"} <= result.metrics[-1].keys()
    after = read_state_dict(result.weights)
    for name in ("backbone.patch_embed.proj.weight", "smpl_head.decpose.weight", "discriminator.D_conv1.weight"):
        assert (after[name] - before[name]).abs().max() > 0


def test_official_files_train_alike(estimator: Hmr2, frame: LabelledFrame, tmp_path: Path) -> None:
    (path,) = Hmr2TarWriter(Hmr2TarWriterConfig()).write([frame], tmp_path)
    (person,) = read_shard(path)
    assert isinstance(person, Person)
    ours, theirs = item(estimator, frame), item(estimator, person)
    assert {name: (array.shape, array.dtype) for name, array in ours.items()} == {
        name: (array.shape, array.dtype) for name, array in theirs.items()
    }
    for name in ("keypoints_3d", "global_orient", "body_pose", "betas"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6)


def test_a_frame_without_labels_is_a_bad_sample(estimator: Hmr2, frame: LabelledFrame) -> None:
    with pytest.raises(SampleError, match="fewer than 5 keypoints"):
        item(estimator, evolve(frame, smpl=None, joints3d=None, confidence=np.zeros(24)))


@pytest.mark.parametrize("option", ["mocap", "pose_histogram", "joint_regressor", "weights"])
def test_a_missing_file_is_the_users_mistake(option: str) -> None:
    with pytest.raises(UserError, match=r"nowhere\.npz.*does not exist"):
        make(**{option: "nowhere.npz"})


def test_a_regressor_adds_joints(frame: LabelledFrame, tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).random((19, len(load_body().v_template))).astype(np.float32)
    np.save(tmp_path / "J19.npy", matrix / matrix.sum(1, keepdims=True))
    found = item(make(joint_regressor=str(tmp_path / "J19.npy")), frame)
    assert found["keypoints_3d"][25:, 3].all()
    assert found["keypoints_2d"][25:, 2].all()


def test_the_report_is_told_when_the_adversarial_term_is_off(mocap: Path) -> None:
    assert "adversarial term was off" in make().training_notes[0]
    assert make(mocap=str(mocap)).training_notes == ()
