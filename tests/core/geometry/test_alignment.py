"""Procrustes alignment: what it undoes, and what it may not do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_core.geometry.alignment import align, fit_similarity

seeds = st.integers(0, 2**32 - 1)


def random_similarity(rng: np.random.Generator, dimensions: int) -> tuple[np.ndarray, np.ndarray, float]:
    rotation = Rotation.random(rng=rng).as_matrix()
    if dimensions == 2:
        angle = rng.uniform(0, 2 * np.pi)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return rotation, rng.normal(size=dimensions), rng.uniform(0.1, 10)


@given(seed=seeds, dimensions=st.sampled_from([2, 3]))
def test_recovers_a_similarity(seed: int, dimensions: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(3, 8, dimensions))
    rotation, translation, scale = random_similarity(rng, dimensions)
    target = scale * source @ rotation.T + translation
    found_rotation, found_translation, found_scale = fit_similarity(source, target)
    np.testing.assert_allclose(found_rotation, np.broadcast_to(rotation, found_rotation.shape), atol=1e-7)
    np.testing.assert_allclose(found_translation, np.broadcast_to(translation, found_translation.shape), atol=1e-7)
    np.testing.assert_allclose(found_scale, np.full(3, scale))
    np.testing.assert_allclose(align(source, target), target, atol=1e-7)


@given(seed=seeds)
def test_no_similarity_nearby_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, 6, 3))
    valid = np.arange(6) < 5

    def cost(moved: np.ndarray) -> float:
        return float(((moved - target)[valid] ** 2).sum())

    aligned = align(source[None], target[None], valid[None])[0]
    small = Rotation.from_rotvec(rng.normal(scale=0.01, size=3)).as_matrix()
    assert cost(aligned) <= cost(aligned @ small.T * rng.normal(1, 0.01) + rng.normal(scale=0.01, size=3)) + 1e-12
    assert cost(aligned) <= cost(source) + 1e-12


@given(seed=seeds)
def test_joints_that_are_not_valid_have_no_say_but_move_along(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(1, 8, 3))
    rotation, translation, scale = random_similarity(rng, 3)
    target = scale * source @ rotation.T + translation
    spoilt, valid = target.copy(), np.arange(8)[None] > 2
    spoilt[~valid] = np.nan
    np.testing.assert_allclose(align(source, spoilt, valid), target, atol=1e-7)


def test_never_mirrors() -> None:
    source = np.random.default_rng(0).normal(size=(4, 10, 3))
    rotation, _, _ = fit_similarity(source, source * [-1, 1, 1])
    np.testing.assert_allclose(np.linalg.det(rotation), 1)
    assert (np.abs(align(source, source * [-1, 1, 1]) - source * [-1, 1, 1]).max((1, 2)) > 0.1).all()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_bad_sample_leaves_the_others_alone(dimensions: int) -> None:
    source, target = np.random.default_rng(1).normal(size=(2, 4, 6, dimensions))
    source[1, 2] = np.nan
    target[2] = np.inf
    valid = np.ones((4, 6), bool)
    valid[3] = False
    aligned = align(source, target, valid)
    assert np.isnan(aligned[1:]).all()
    np.testing.assert_allclose(aligned[:1], align(source[:1], target[:1]))


def test_a_collapsed_source_lands_on_the_centre() -> None:
    target = np.random.default_rng(2).normal(size=(1, 6, 3))
    aligned = align(np.ones((1, 6, 3)), target)
    np.testing.assert_allclose(aligned[0], np.tile(target[0].mean(0), (6, 1)), atol=1e-12)


def test_kind_and_precision_are_kept() -> None:
    source, target = np.random.default_rng(3).normal(size=(2, 2, 6, 3)).astype(np.float32)
    aligned = align(source, target)
    assert isinstance(aligned, np.ndarray) and aligned.dtype == np.float32
    tensor = align(torch.from_numpy(source), torch.from_numpy(target))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), aligned)
    source.setflags(write=False)
    align(source, target)


def test_official_numbers(shared: Path) -> None:
    """4D-Humans' alignment (with a mirrored sample), and the one of PoseAug's procrustes that never reflects."""
    hmr2 = np.load(shared / "parity/hmr2/io_geometry.npz")
    aligned = align(hmr2["sim_S1"].astype(np.float64), hmr2["sim_S2"].astype(np.float64))
    np.testing.assert_allclose(aligned, hmr2["sim_aligned_f64"], atol=1e-6)
    poseaug = np.load(shared / "parity/poseaug/metrics/io.npz")
    aligned = align(poseaug["predicted"].astype(np.float64), poseaug["target"].astype(np.float64))
    np.testing.assert_allclose(aligned, poseaug["procrustes_noreflect_Z_f64"], atol=1e-6)
