"""The estimators `blazepose` and `starter`: what they say depends on the person alone, and they can be trained."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from attrs import evolve

from posesyn_blazepose.looks import Looks
from posesyn_blazepose.network import SIZES, LandmarkNetwork
from posesyn_blazepose.starter_network import StarterNetwork
from posesyn_blazepose.units import plain_weights
from posesyn_blazepose.weights import checksum, load_starter, usual_looks
from posesyn_core.body.model import load_body
from posesyn_core.components import Kind, TrainableEstimator
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.joints import frame_in, labelled_frame
from posesyn_core.inference.predict import predict
from posesyn_core.registry import Registry
from posesyn_core.seeds import rng
from posesyn_core.training.evaluate import evaluate
from posesyn_core.values import PoseEstimate, Sample
from tests.tiny import people

NAMES = ["blazepose", "starter"]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def make(registry: Registry, name: str, **options: Any) -> TrainableEstimator:
    return registry.create(Kind.ESTIMATOR, name, options, "test")


def estimates(estimator: TrainableEstimator, samples: list[Sample], batch: int = 4) -> list[PoseEstimate]:
    batches = [samples[at : at + batch] for at in range(0, len(samples), batch)]
    return [one for results in predict(estimator, batches) for one in results]  # type: ignore[misc]


def batch_of(estimator: TrainableEstimator, count: int) -> dict[str, torch.Tensor]:
    joint_set = getattr(estimator, "joint_set", "smpl24")
    frames = [frame_in(labelled_frame(sample), joint_set) for sample in people(count)]
    items = [estimator.training_inputs(frame, rng(0, frame.id, "augment")) for frame in frames]
    return {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in items[0]}


def step(estimator: TrainableEstimator, batch: dict[str, torch.Tensor], optimiser: torch.optim.Optimizer) -> float:
    """The loss before."""
    loss = estimator.training_loss(batch)["loss"]
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


@pytest.mark.parametrize("name", NAMES)
def test_estimates_lie_on_the_person_whatever_the_batch(registry: Registry, name: str) -> None:
    estimator, samples = make(registry, name), list(people(4, "lab"))
    together, alone = estimates(estimator, samples), estimates(estimator, samples, 1)
    for one, other, sample in zip(together, alone, samples, strict=True):
        np.testing.assert_allclose(one.joints3d, other.joints3d, atol=1e-4)
        size = (sample.box[2:] - sample.box[:2]).max()
        low, high = sample.box[:2] - 0.25 * size, sample.box[2:] + 0.25 * size
        assert ((one.joints2d > low) & (one.joints2d < high)).all()


def test_the_starter_knows_ordinary_poses(registry: Registry) -> None:
    found = evaluate(make(registry, "starter"), list(people(8, "lab")), batch_size=8, workers=1).summary()
    assert found["mpjpe"] < 130 and found["pa_mpjpe"] < 80


def test_the_starters_joints_are_seen_by_its_camera(registry: Registry) -> None:
    (found,) = estimates(make(registry, "starter"), list(people(1)))
    assert found.smpl is not None
    shift = found.joints2d[0] - found.camera.principal_point
    assert np.abs(shift).max() < found.camera.focal_length[0] / 3
    depth = float(found.smpl.transl[2])
    pelvis = np.array([*shift / found.camera.focal_length * depth, depth])
    seen = project((found.joints3d + pelvis)[None], found.camera.focal_length[None], found.camera.principal_point[None])
    assert np.abs(seen[0] - found.joints2d).max() < 0.1 * np.ptp(found.joints2d, axis=0).max()


def test_somebody_upside_down_is_seen_upright_by_the_second_look(registry: Registry) -> None:
    (sample,) = people(1, "lab")
    image = load_image(sample.image)
    turned = evolve(
        sample,
        image=encode_png(cv2.rotate(image, cv2.ROTATE_180)),
        box=127 - sample.box[[2, 3, 0, 1]],
    )
    estimator = make(registry, "starter")
    upright, fallen = estimates(estimator, [sample, turned])
    np.testing.assert_allclose(fallen.joints3d[15, 1], -upright.joints3d[15, 1], atol=0.2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("box", [(500, 500, 600, 600), (9, 9, 9, 9), (0, 0, np.nan, 9)])
def test_a_bad_box_is_a_bad_sample(registry: Registry, name: str, box: tuple[float, ...]) -> None:
    with pytest.raises(SampleError, match="box"):
        make(registry, name, weights="random").preprocess(evolve(people(1)[0], box=np.array(box, np.float32)))


@pytest.mark.parametrize(("name", "options"), [("blazepose", {}), ("starter", {}), ("starter", {"train_eyes": True})])
def test_a_few_small_steps_lower_the_loss_and_the_weights_load_again(
    registry: Registry, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    estimator = make(registry, name, **options)
    batch, optimiser = batch_of(estimator, 4), torch.optim.Adam(list(estimator.parameters()), lr=3e-4)
    losses = [step(estimator, batch, optimiser) for _ in range(6)]
    assert losses[-1] < losses[0]
    estimator.save(tmp_path / "w.safetensors")
    again = make(registry, name, weights=str(tmp_path / "w.safetensors"))
    (expected,), (found,) = (estimates(one, list(people(1))) for one in (estimator, again))
    np.testing.assert_allclose(found.joints3d, expected.joints3d, atol=1e-3)


@pytest.mark.parametrize("train_eyes", [False, True])
def test_training_moves_the_starters_eyes_only_if_told(registry: Registry, train_eyes: bool) -> None:
    estimator = make(registry, "starter", train_eyes=train_eyes)
    assert isinstance(estimator.network, StarterNetwork)
    trained = {id(parameter) for parameter in estimator.parameters()}
    assert any(id(parameter) in trained for parameter in estimator.network.eyes.parameters()) is train_eyes
    before = checksum(load_starter("starter").eyes)
    step(estimator, batch_of(estimator, 1), torch.optim.Adam(list(estimator.parameters()), lr=3e-2))
    after = StarterNetwork(load_body()).eyes
    after.load_state_dict(plain_weights(estimator.network.eyes))
    assert (checksum(after) != before) is train_eyes


def test_a_person_is_looked_at_as_often_as_told(registry: Registry) -> None:
    """After the first, each at a square of its own; heavy looks three times unless told otherwise."""
    for looks in (2, 3):
        estimator, squares = make(registry, "blazepose", looks=looks), list[torch.Tensor]()
        network = estimator.network
        assert isinstance(network, Looks)
        network.cropper.register_forward_hook(lambda _m, given, _said, kept=squares: kept.append(given[1]))
        estimates(estimator, list(people(1)))
        assert len({tuple(square[0].tolist()) for square in squares}) == looks - 1
    assert usual_looks(LandmarkNetwork(SIZES["heavy"])) == 3 and usual_looks(LandmarkNetwork(SIZES["full"])) == 2


def test_a_single_look_is_refused(registry: Registry) -> None:
    with pytest.raises(UserError, match="'looks' must be 0, or 2 to 4"):
        make(registry, "blazepose", looks=1)


def test_bfloat16_is_refused_in_a_sentence(registry: Registry) -> None:
    network = make(registry, "blazepose", weights="random").network.to(torch.bfloat16)
    with pytest.raises(UserError, match="bf16"):
        network(torch.zeros(1, 3, 392, 392), torch.zeros(1, 3, 336, 336))
