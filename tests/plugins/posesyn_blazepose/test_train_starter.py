"""The training of the starter's weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_blazepose.estimator import as_input
from posesyn_blazepose.starter_loss import starter_loss
from posesyn_blazepose.starter_network import StarterNetwork
from posesyn_blazepose.train_starter import Arrays, train
from posesyn_blazepose.views import Augmentation, draw_crop, draw_view, labels
from posesyn_blazepose.weights import load_starter, save_starter
from posesyn_core.files.images import load_image
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.seeds import rng
from tests.tiny import people


@pytest.fixture(scope="module")
def seen() -> Arrays:
    """What the eyes say of a few rendered people, and the labels."""
    views = []
    for frame in map(labelled_frame, people(6, "lab")):
        random, image = rng(0, frame.id, "test"), load_image(frame.image)
        view = draw_view(frame, Augmentation(), random)
        views.append((as_input(draw_crop(image, view, Augmentation(), random)), labels(frame, view)))
    with torch.inference_mode():
        said = load_starter("starter").see(torch.from_numpy(np.stack([image for image, _ in views])))
    known = {name: np.stack([label[name] for _, label in views]) for name in views[0][1]}
    return {**known, **{name: value.numpy() for name, value in said.items()}}


def loss_of(network: StarterNetwork, seen: Arrays) -> float:
    batch = {name: torch.from_numpy(values).float() for name, values in seen.items()}
    with torch.inference_mode():
        return float(starter_loss(network.understand(batch), batch, keypoints=4.0)["loss"])


def test_it_learns_the_people_that_it_is_shown_and_what_it_learnt_can_be_saved(seen: Arrays, tmp_path: Path) -> None:
    network = load_starter("starter")
    before = loss_of(network, seen)
    train(network, dict.fromkeys(("plain", "mixed", "photos"), seen), tmp_path / "training.pt", 40, 8, 3e-4, 0)
    after = loss_of(network, seen)
    assert after < 0.95 * before
    save_starter(network, tmp_path / "w.safetensors", "free")
    assert loss_of(load_starter(str(tmp_path / "w.safetensors")), seen) == pytest.approx(after, rel=1e-3)
