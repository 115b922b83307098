"""Metrics: their definitions, invariances, and the numbers of the official code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posesyn_core.method import metrics

seeds = st.integers(0, 2**32 - 1)


def poses(seed: int, count: int = 2, people: int = 4, joints: int = 14, dimensions: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 200, (count, people, joints, dimensions))


def test_mpjpe_by_hand() -> None:
    target = np.zeros((2, 2, 3))
    pred = np.array([[[3, 4, 0], [0, 0, 15]], [[1, 1, 1], [1, 1, 1]]])
    assert metrics.mpjpe(pred, target).tolist() == [10, pytest.approx(3**0.5)]
    assert metrics.mpjpe(pred, target, root=0)[1] == 0
    assert metrics.mpjpe(pred[..., :2], target[..., :2], valid=[[True, False], [True, True]])[0] == 5


@given(seed=seeds, root=st.sampled_from([None, 3, (1, 2)]))
def test_mpjpe_is_a_metric(seed: int, root: metrics.Root) -> None:
    a, b, c = poses(seed, count=3)
    ab, bc, ac = (metrics.mpjpe(x, y, root) for x, y in ((a, b), (b, c), (a, c)))
    assert (ac <= ab + bc + 1e-9).all()
    np.testing.assert_allclose(metrics.mpjpe(b, a, root), ab)
    np.testing.assert_array_equal(metrics.mpjpe(a, a, root), 0)


@given(seed=seeds, root=st.sampled_from([0, (1, 2)]))
def test_rooted_metrics_ignore_translation(seed: int, root: metrics.Root) -> None:
    pred, target = poses(seed)
    shift = np.array([5, 6, 7])
    for metric in (metrics.mpjpe, metrics.n_mpjpe, metrics.pck, metrics.auc):
        np.testing.assert_allclose(metric(pred + shift, target - 8, root=root), metric(pred, target, root=root))


@given(seed=seeds)
def test_pa_mpjpe_ignores_similarities_of_the_prediction(seed: int) -> None:
    pred, target = poses(seed)
    rng = np.random.default_rng(seed)
    moved = rng.uniform(0.1, 9) * pred @ Rotation.random(rng=rng).as_matrix() + rng.normal(0, 500, 3)
    np.testing.assert_allclose(metrics.pa_mpjpe(moved, target), metrics.pa_mpjpe(pred, target))


@given(seed=seeds)
def test_n_mpjpe_ignores_the_scale_of_the_prediction(seed: int) -> None:
    pred, target = poses(seed)
    np.testing.assert_allclose(metrics.n_mpjpe(0.3 * pred, target, root=0), metrics.n_mpjpe(pred, target, root=0))
    np.testing.assert_allclose(metrics.n_mpjpe(7 * target, target), 0, atol=1e-9)


def test_each_freedom_lowers_the_error_of_plausible_predictions() -> None:
    """PA <= N <= MPJPE on average: no theorem for single samples, as the fits are least squares."""
    rng = np.random.default_rng(0)
    target = poses(1, count=1, people=500)[0]
    turned = target @ Rotation.from_rotvec(rng.normal(0, 0.3, (500, 3))).as_matrix()
    pred = rng.uniform(0.7, 0.9, (500, 1, 1)) * turned + rng.normal(0, 20, target.shape)
    normal, scaled, aligned = (
        metrics.mpjpe(pred, target, 0),
        metrics.n_mpjpe(pred, target, 0),
        metrics.pa_mpjpe(pred, target),
    )
    assert aligned.mean() < scaled.mean() < normal.mean()
    assert (aligned < scaled).all()


@given(seed=seeds)
def test_n_mpjpe_scales_by_least_squares(seed: int) -> None:
    pred, target = poses(seed, people=1)
    factor = np.linalg.lstsq(pred.reshape(-1, 1), target.reshape(-1), rcond=None)[0]
    np.testing.assert_allclose(metrics.n_mpjpe(pred, target), metrics.mpjpe(factor * pred, target))


def test_pck_auc_and_pckh_by_hand() -> None:
    target = np.zeros((1, 4, 3))
    pred = np.array([[[0, 0, 0], [149.9, 0, 0], [150, 0, 0], [0, 62, 0]]])
    assert metrics.pck(pred, target).tolist() == [75]  # 150 is not below 150
    # 30, 0, 0 and 18 of the 31 thresholds 0, 5, ..., 150 lie above: a joint at 0 misses the threshold 0
    above = 30 + 1 + 0 + 18
    np.testing.assert_allclose(metrics.auc(pred, target), 100 * above / (4 * 31))
    flat = pred[..., :2]
    assert metrics.pckh(flat, target[..., :2], np.array([300.0])).tolist() == [100]
    assert metrics.pckh(flat, target[..., :2], np.array([290.0])).tolist() == [50]
    assert metrics.pckh(flat, target[..., :2], np.array([250.0]), alpha=0.6).tolist() == [100]


@given(seed=seeds)
def test_auc_is_the_mean_of_pck(seed: int) -> None:
    pred, target = poses(seed) / 2
    curve = [metrics.pck(pred, target, limit, root=0) for limit in metrics.AUC_THRESHOLDS]
    np.testing.assert_allclose(metrics.auc(pred, target, root=0), np.mean(curve, axis=0))


def test_pve_subtracts_each_root() -> None:
    pred, target = poses(2, joints=100)
    roots = pred[:, 0], target[:, 0]
    np.testing.assert_allclose(metrics.pve(pred, target), np.linalg.norm(pred - target, axis=-1).mean(1))
    np.testing.assert_allclose(metrics.pve(pred, target, *roots), metrics.mpjpe(pred, target, root=0))


HEADS = np.array([900.0, 600, 500, 700])
METRICS: list[tuple[str, Callable[..., Any]]] = [
    ("mpjpe", lambda pred, target, valid: metrics.mpjpe(pred, target, 0, valid)),
    ("pa_mpjpe", metrics.pa_mpjpe),
    ("n_mpjpe", lambda pred, target, valid: metrics.n_mpjpe(pred, target, (0, 1), valid)),
    ("pck", lambda pred, target, valid: metrics.pck(pred, target, 200, 0, valid)),
    ("auc", lambda pred, target, valid: metrics.auc(pred, target, root=0, valid=valid)),
    ("pckh", lambda pred, target, valid: metrics.pckh(pred, target, _like(HEADS, pred), valid=valid)),
]


def _like(values: np.ndarray, other: Any) -> Any:
    return torch.from_numpy(values) if isinstance(other, torch.Tensor) else values


@pytest.mark.parametrize(("name", "metric"), METRICS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_mask_counts_like_slicing_and_torch_like_numpy(
    name: str, metric: Callable[..., Any], dimensions: int
) -> None:
    pred, target = poses(3, dimensions=dimensions)
    valid = np.ones((4, 14), bool)
    valid[:, [5, 9]] = False
    expected = metric(np.delete(pred, [5, 9], 1), np.delete(target, [5, 9], 1), None)
    target[:, 5], pred[:, 9] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        masked = metric(pred, target, valid)
    np.testing.assert_allclose(masked, expected)
    assert masked.shape == (4,) and (masked > 0).any()
    tensors = metric(torch.from_numpy(pred), torch.from_numpy(target), torch.from_numpy(valid))
    assert isinstance(tensors, torch.Tensor)
    np.testing.assert_allclose(tensors.numpy(), expected)


@pytest.mark.parametrize(("name", "metric"), METRICS)
def test_what_cannot_be_measured_is_nan(name: str, metric: Callable[..., Any]) -> None:
    pred, target = poses(4)
    valid = np.ones((4, 14), bool)
    valid[1] = False
    pred[2, 3] = np.nan
    assert np.isnan(metric(pred, target, valid)).tolist() == [False, True, True, False]


def test_a_sample_without_its_root_is_nan() -> None:
    pred, target = poses(5)
    valid = np.ones((4, 14), bool)
    valid[2, 0] = False
    assert np.isnan(metrics.mpjpe(pred, target, 0, valid)).tolist() == [False, False, True, False]


def test_a_collapsed_prediction_has_a_finite_error() -> None:
    target = poses(6)[0]
    zero = np.zeros_like(target)
    np.testing.assert_allclose(metrics.n_mpjpe(zero, target, 0), metrics.mpjpe(zero, target, 0))
    np.testing.assert_allclose(metrics.pa_mpjpe(zero, target), metrics.mpjpe(target.mean(1, keepdims=True), target))


def test_official_numbers(shared: Path) -> None:
    """PoseAug's code (metres there, pose 3 mirrored), 4D-Humans' and SPIN's."""
    poseaug = np.load(shared / "parity/poseaug/metrics/io.npz")
    pred, target = (poseaug[name].astype(np.float64) * 1000 for name in ("predicted", "target"))
    for ours, name, unit in (
        (metrics.mpjpe(pred, target), "mpjpe_f64", 1000),
        (metrics.n_mpjpe(pred, target), "n_mpjpe_f64", 1000),
        (metrics.pck(pred, target), "pck150_f64", 1),
        (metrics.auc(pred, target), "auc_f64", 1),
    ):
        np.testing.assert_allclose(ours.mean(), poseaug[name] * unit, rtol=1e-9)
    np.testing.assert_allclose(metrics.pa_mpjpe(pred, target), poseaug["p_mpjpe_each_f64"] * 1000, rtol=1e-9)

    hmr2 = np.load(shared / "parity/hmr2/io_geometry.npz")
    first, second = (hmr2[name].astype(np.float64) * 1000 for name in ("sim_S1", "sim_S2"))
    np.testing.assert_allclose(metrics.mpjpe(first, second), hmr2["sim_mpjpe_mm_f64"], rtol=1e-9)
    np.testing.assert_allclose(metrics.pa_mpjpe(first, second), hmr2["sim_pa_mpjpe_mm_f64"], rtol=1e-9)
