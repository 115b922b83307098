"""Errors of pose estimates, as the field reports them: one number per sample, averaged by the caller.

``pred`` and ``target`` are (N, J, 3) in mm or (N, J, 2) in pixels, numpy or torch; results (N,) are of their kind.
``root`` is the index of the joint that is subtracted from both first, or those of several joints whose mean is; with
None they count as aligned already. ``valid`` (N, J) leaves joints out; a sample without any (or without its root) gets
NaN. Which joints count is the protocol's: slice them before. Shares are in percent.
"""

from collections.abc import Sequence
from typing import Any

from posesyn_core.geometry.alignment import align
from posesyn_core.geometry.arrays import Array, like, namespace

Root = int | Sequence[int] | None

AUC_THRESHOLDS = tuple(range(0, 151, 5))
"""Thresholds in mm of MPI-INF-3DHP's area under the PCK curve: 0, 5, ..., 150."""


def mpjpe(pred: Array, target: Array, root: Root = None, valid: Any = None) -> Array:
    """Mean per-joint position error (Human3.6M, protocol 1): the mean distance over the joints."""
    return _mean(_distances(_relative(pred, root, valid), _relative(target, root, valid)), valid)


def pa_mpjpe(pred: Array, target: Array, valid: Any = None) -> Array:
    """MPJPE after the similarity (rotation, translation, scale) that fits ``pred`` best to ``target`` (protocol 2).

    A similarity is fitted to each sample; it never mirrors.
    """
    return _mean(_distances(align(pred, target, valid), target), valid)


def n_mpjpe(pred: Array, target: Array, root: Root = None, valid: Any = None) -> Array:
    """MPJPE after scaling ``pred`` about the root by the factor that fits best (Rhodin et al., CVPR 2018).

    The factor is sum_j <target_j, pred_j> / sum_j |pred_j|^2 for each sample; with ``root=None`` it scales about the
    origin.
    """
    moved, fixed = _relative(pred, root, valid), _relative(target, root, valid)
    overlap, size = _mean((moved * fixed).sum(-1), valid), _mean((moved**2).sum(-1), valid)
    xp = namespace(size)
    scale = overlap / xp.where(size == 0, xp.ones_like(size), size)
    return _mean(_distances(scale[:, None, None] * moved, fixed), valid)


def pve(pred: Array, target: Array, pred_root: Array | None = None, target_root: Array | None = None) -> Array:
    """Per-vertex error (PVE, MPVPE): the mean distance of vertices (N, V, 3) in mm.

    ``pred_root`` and ``target_root`` (N, 3) are subtracted first, as 3DPW's evaluations subtract the pelvis.
    """
    moved = pred if pred_root is None else pred - pred_root[:, None]
    fixed = target if target_root is None else target - target_root[:, None]
    return _mean(_distances(moved, fixed), None)


def velocity_error(pred: Array, target: Array) -> Any:
    """Mean per-joint velocity error (MPJVE) of one recording, (T, J, 3): the mean distance of the steps from frame to
    frame (VideoPose3D); per frame, so divide by the time of one."""
    return _distances(pred[1:] - pred[:-1], target[1:] - target[:-1]).mean()


def pck(pred: Array, target: Array, threshold: float = 150.0, root: Root = None, valid: Any = None) -> Array:
    """Percentage of correct keypoints: the joints nearer than ``threshold`` (MPI-INF-3DHP: 150 mm, strictly less)."""
    distances = _distances(_relative(pred, root, valid), _relative(target, root, valid))
    return _share(distances < threshold, distances, valid)


def auc(
    pred: Array,
    target: Array,
    thresholds: Sequence[float] = AUC_THRESHOLDS,
    root: Root = None,
    valid: Any = None,
) -> Array:
    """Area under the PCK curve, in percent: the mean of :func:`pck` over the thresholds (MPI-INF-3DHP's by default)."""
    distances = _distances(_relative(pred, root, valid), _relative(target, root, valid))
    below = (distances[..., None] < like(thresholds, distances)).sum(-1) / len(thresholds)
    return _share(below, distances, valid)


def pckh(pred: Array, target: Array, head_size: Array, alpha: float = 0.5, valid: Any = None) -> Array:
    """PCKh: the percentage of joints within ``alpha`` head sizes (N,) of the label (0.5 at MPII, 0.6 in the paper).

    MPII's head size is 0.6 times the diagonal of the head rectangle; where a set has none (LSP, JHMDB), take the
    distance from neck to head top. A distance equal to the limit counts as correct, as in MPII's evaluation.
    """
    distances = _distances(pred, target)
    return _share(distances <= alpha * head_size[:, None], distances, valid)


def _relative(points: Array, root: Root, valid: Any) -> Array:
    """Points less their root; NaN where the root is not valid."""
    if root is None:
        return points
    roots = [root] if isinstance(root, int) else list(root)
    origin: Any = points[:, roots].mean(1)
    if valid is not None:
        known = like(valid, origin)[:, roots].all(1)
        origin = namespace(points).where(known[:, None], origin, float("nan"))
    return points - origin[:, None]


def _distances(pred: Any, target: Any) -> Any:
    """(N, J) Euclidean distances."""
    return ((pred - target) ** 2).sum(-1) ** 0.5


def _mean(values: Any, valid: Any) -> Any:
    """(N,) mean of (N, J) over the valid joints; NaN where there are none."""
    if valid is None:
        return values.mean(-1)
    xp = namespace(values)
    weight = like(valid, values)
    count = weight.sum(-1)
    mean = xp.where(weight > 0, values, 0).sum(-1) / xp.where(count > 0, count, 1)
    return xp.where(count > 0, mean, xp.nan)


def _share(hits: Any, distances: Any, valid: Any) -> Any:
    """(N,) mean of the hits in percent; a joint whose distance is not a number makes its sample NaN."""
    xp = namespace(distances)
    return 100 * _mean(xp.where(xp.isnan(distances), xp.nan, like(hits, distances)), valid)
