"""Rigid alignment of point sets (Procrustes), batched, by roma; numpy and torch."""

from typing import TYPE_CHECKING, Any

from posesyn_core.geometry.arrays import Array, as_given, to_tensor

if TYPE_CHECKING:
    from torch import Tensor


def fit_similarity(source: Array, target: Array, valid: Any = None) -> tuple[Array, Array, Array]:
    """The similarity (rotation (..., D, D), translation (..., D), scale (...)) taking ``source`` nearest to ``target``.

    Both (..., J, D) with D = 2 or 3; ``valid`` (..., J) leaves points out. Minimises the sum of squared distances
    |scale R source + t - target| (Umeyama, PAMI 1991); R is a proper rotation, never a reflection. A source whose
    points all coincide gets scale 0. A pair without a valid point, or with a valid one that is not finite, gets NaN.
    """
    rotation, translation, scale = _fit(to_tensor(source), to_tensor(target), valid)
    return as_given(rotation, source), as_given(translation, source), as_given(scale, source)


def align(source: Array, target: Array, valid: Any = None) -> Array:
    """``source`` (..., J, D) moved by :func:`fit_similarity`; joints that are not valid are moved along."""
    moved = to_tensor(source)
    rotation, translation, scale = _fit(moved, to_tensor(target), valid)
    return as_given(scale[..., None, None] * (moved @ rotation.mT) + translation[..., None, :], source)


def _fit(source: "Tensor", target: "Tensor", valid: Any) -> "tuple[Tensor, Tensor, Tensor]":
    import roma
    import torch

    weights = torch.ones_like(source[..., 0]) if valid is None else torch.as_tensor(valid).to(source)
    used = weights[..., None] > 0
    finite = (torch.isfinite(source) & torch.isfinite(target) | ~used).all((-1, -2))
    solvable = used.any((-1, -2)) & finite
    used = used & solvable[..., None, None]  # one bad sample must not fail the decomposition of the batch
    weights = torch.where(solvable[..., None], weights, 1)
    x, x_mean = _centred(torch.where(used, source, 0), weights)
    y, y_mean = _centred(torch.where(used, target, 0), weights)
    rotation, scale = roma.rigid_vectors_registration(x, y, weights, compute_scaling=True)
    scale = torch.where((x == 0).all((-1, -2)), 0, scale)
    scale = torch.where(solvable, scale, torch.nan)
    translation = y_mean[..., 0, :] - scale[..., None] * (rotation @ x_mean.mT)[..., 0]
    return rotation, translation, scale


def _centred(points: "Tensor", weights: "Tensor") -> "tuple[Tensor, Tensor]":
    """Points less their weighted mean, 0 where the weight is, and that mean (..., 1, D)."""
    mean = (weights[..., None] * points).sum(-2, keepdim=True) / weights[..., None].sum(-2, keepdim=True)
    return (points - mean) * (weights[..., None] > 0), mean
