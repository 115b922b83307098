"""Small motions and weights that the tests of this plugin share."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_t2mgpt.statistics import Statistics
from posesyn_t2mgpt.transformer import T2MTransformer, TransformerShape
from posesyn_t2mgpt.vqvae import MotionVqVae, VqVaeShape
from posesyn_t2mgpt.weights import save_weights
from tests.plugins.posesyn_t2mgpt.moving import make_motion

CODES = 24


@pytest.fixture
def motion() -> Callable[..., np.ndarray]:
    """Makes (frames, 22, 3) from a seed, a number of frames and the angle turned in all."""
    return make_motion


@pytest.fixture(scope="session")
def motions_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six motions of different length from three recordings, in the format of the training data."""
    lengths = [60, 21, 40, 80, 33, 50]
    path = tmp_path_factory.mktemp("motions") / "motions.npz"
    np.savez(
        path,
        joints=np.concatenate([make_motion(seed, length) for seed, length in enumerate(lengths)]),
        offsets=np.cumsum([0, *lengths]),
        names=np.array([f"clip{k // 2}_s{k % 2:02}" for k in range(6)]),
        clip=np.array([f"clip{k // 2}" for k in range(6)]),
        texts=np.array([json.dumps([f"A person waves the left hand {k} times.", "Someone waves."]) for k in range(6)]),
    )
    return path


@pytest.fixture(scope="session")
def models() -> tuple[Statistics, MotionVqVae, T2MTransformer]:
    """Random networks of small size, with a codebook that spreads over the latents' range."""
    torch.manual_seed(0)
    vqvae = MotionVqVae(VqVaeShape(width=16, codes=CODES, code_dim=8)).eval()
    vqvae.quantizer.codebook.normal_()
    transformer = T2MTransformer(TransformerShape(codes=CODES, dim=16, layers=1, heads=2)).eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) * parameter.requires_grad)
    return Statistics(torch.zeros(263), torch.ones(263)), vqvae, transformer


@pytest.fixture(scope="session")
def weights_file(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Statistics, MotionVqVae, T2MTransformer]
) -> Path:
    """The random networks as one safetensors file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, *models)
    return path
