"""Errors of an estimator on samples with truth, by the protocol of their data set.

Samples are measured part by part, and of a part nothing stays but the numbers and the worst cases.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, tee
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.body.model import Body
from posesyn_core.components import PoseEstimator, SplitEstimator
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import atomic_path
from posesyn_core.files.reading import read_npy
from posesyn_core.geometry.joints import estimated, places_of
from posesyn_core.inference.predict import predict
from posesyn_core.method import metrics
from posesyn_core.progress import progress
from posesyn_core.training.protocols import METRICS, MM, compared_3d, compared_regressed, pckh, predicts_regressed
from posesyn_core.values import EvaluationProtocol, PoseEstimate, Sample, SmplParams

PERCENT = ("pck", "auc", "pckh")
"""Metrics of which more is better; all others are errors in mm."""
CHUNK = 64
"""Meshes that are posed at a time."""
PART = 1024
"""Samples that are measured together."""
WORST = 64
"""Worst cases that are kept: more than are shown, as pictures may be unreadable by then."""

Found = Sequence[tuple[Sample, PoseEstimate]]
RANKING: Mapping[str, tuple[float, float]] = {"mpjpe": (0.0, 1.0), "pve": (0.0, 1.0), "pckh": (100.0, -1.0)}
"""What tells the worst cases, the first one that there is: the error is the first number and the second times that."""
Ranked = tuple[float, Sample, PoseEstimate]


@frozen(eq=False)
class Evaluation:
    """What was measured: per metric (N,) values of the samples ``ids``, NaN where one can't be had.

    ``rejected`` are the reasons for the samples that have none, ``worst`` the samples with the largest errors (in
    MPJPE, else PVE, else PCKh), the worst first: each error, the sample, and the estimate.
    """

    ids: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    rejected: Mapping[str, str]
    worst: tuple[Ranked, ...] = ()

    def summary(self) -> dict[str, float | int]:
        """Means over the samples (errors in mm, shares in percent) and their number; unknown metrics are left out."""
        figures: dict[str, float | int] = {"samples": len(self.ids), "rejected": len(self.rejected)}
        for name, values in self.values.items():
            known = values[np.isfinite(values)]
            if len(known):
                figures[name] = round(float(known.mean()), 3)
        return figures

    def write(self, path: Path) -> None:
        """Write one Parquet row per sample, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with atomic_path(path) as temporary:
            pq.write_table(pa.table({"id": list(self.ids), **self.values}), temporary)


def evaluate(
    estimator: PoseEstimator | SplitEstimator,
    samples: Sequence[Sample],
    *,
    batch_size: int,
    workers: int,
    network: LoadedNetwork | None = None,
    body: Body | None = None,
    truth_bodies: Mapping[str, Body] | None = None,
    regressor: NDArray[np.float32] | None = None,
    protocol: EvaluationProtocol | None = None,
    label: str = "evaluate",
) -> Evaluation:
    """Predict ``samples`` and measure by ``protocol`` (None: the default one).

    The 3D metrics need ``joints3d`` or ``keypoints3d``, PCKh a ``head_size``. With a ``body`` the per-vertex error
    (PVE, relative to the pelvis) is measured too where the truth and the estimate both have SMPL parameters; it must
    be the body that the truth's parameters belong to. Truth in the shape space of a gender (3DPW, EMDB) is posed by
    that of ``truth_bodies``, by gender; without it, it has no PVE. ``regressor`` (17, V) takes Human3.6M's joints from
    the vertices, for protocols that compare those (see :func:`load_regressor`).
    """
    rejected: dict[str, str] = {}
    protocol = protocol or EvaluationProtocol()
    bodies = {} if body is None else {"neutral": body, **(truth_bodies or {})}
    given, paired = tee(samples[at : at + batch_size] for at in range(0, len(samples), batch_size))

    def estimated_ones() -> Iterator[tuple[Sample, PoseEstimate]]:
        with progress(label, len(samples)) as shown:
            results = predict(estimator, given, network=network, workers=workers)
            for batch, found in zip(paired, results, strict=True):
                for sample, result in zip(batch, found, strict=True):
                    if isinstance(result, SampleError):
                        rejected[sample.id] = str(result)
                    else:
                        yield sample, result
                shown.advance(len(batch))

    ids: list[str] = []
    values: dict[str, NDArray[np.float64]] = {}
    worst: dict[str, list[Ranked]] = {}
    pairs = estimated_ones()
    while part := list(islice(pairs, PART)):
        measured = _measure(part, protocol, bodies, regressor)
        _keep_worst(worst, part, measured)
        values = _joined(values, len(ids), measured, len(part))
        ids += [sample.id for sample, _ in part]
    if "nmje" in protocol.metrics and "mpjpe" in values:
        recall = len(ids) / len(samples)
        values["nmje"] = values["mpjpe"] * (1 + recall) / (2 * recall)
    cases = next((worst[name] for name in RANKING if worst.get(name)), [])
    return Evaluation(tuple(ids), values, rejected, tuple(cases))


def _keep_worst(worst: dict[str, list[Ranked]], part: Found, values: Mapping[str, NDArray[np.float64]]) -> None:
    """Add a part's worst cases to those so far, by each metric that ranks."""
    for name in RANKING.keys() & values.keys():
        offset, sign = RANKING[name]
        errors = offset + sign * values[name]
        largest = np.argsort(-np.nan_to_num(errors, nan=-np.inf), kind="stable")[:WORST]
        cases = [(float(errors[at]), *part[at]) for at in largest.tolist() if np.isfinite(errors[at])]
        worst[name] = sorted([*worst.get(name, []), *cases], key=lambda case: -case[0])[:WORST]


def _joined(
    before: Mapping[str, NDArray[np.float64]], count: int, part: Mapping[str, NDArray[np.float64]], size: int
) -> dict[str, NDArray[np.float64]]:
    """The values of ``count`` samples and those of a part of ``size``, by metric; NaN where one could not be had."""
    names = dict.fromkeys([*before, *part])
    unknown, new = np.full(count, np.nan), np.full(size, np.nan)
    return {name: np.concatenate([before.get(name, unknown), part.get(name, new)]) for name in names}


def load_regressor(path: Path, body: Body) -> NDArray[np.float32]:
    """Human3.6M's joint regressor (17, V) from ``J_regressor_h36m.npy``; UserError if it does not fit the body."""
    matrix = read_npy(path, "joint regressor", "J_regressor_h36m.npy, a plain array (17, 6890)")
    if matrix.shape != (17, len(body.v_template)):
        raise UserError(
            f"joint regressor {str(path)!r} has shape {matrix.shape}, the body {len(body.v_template)} vertices: "
            "it belongs to SMPL's mesh, so set body to your SMPL file"
        )
    return matrix.astype(np.float32)


def _measure(
    found: Found,
    protocol: EvaluationProtocol,
    bodies: Mapping[str, Body],
    regressor: NDArray[np.float32] | None,
) -> dict[str, NDArray[np.float64]]:
    """Every metric of the protocol that some sample has the truth for."""
    values: dict[str, NDArray[np.float64]] = {}
    meshes = _meshes(found, bodies, regressor) if bodies else None
    in_3d = [name for name in protocol.metrics if name in METRICS]
    for places in _alike(found):
        chosen = [found[at] for at in places]
        estimates = [estimate for _, estimate in chosen]
        joints = meshes.joints[:, places] if protocol.regressed and meshes and meshes.joints is not None else None
        if joints is not None and predicts_regressed(estimates[0].joint_set, protocol):
            predicted, known = estimated(estimates, "h36m17", 3, np.float64)
            compared = compared_regressed(MM * predicted, joints[1], protocol, known)
        elif joints is not None and estimates[0].smpl is not None:
            compared = compared_regressed(joints[0], joints[1], protocol)
        else:
            compared = compared_3d([sample for sample, _ in chosen], estimates, protocol)
        for name in in_3d:
            values.setdefault(name, np.full(len(found), np.nan))[places] = METRICS[name](compared)
    if meshes is not None and "pve" in protocol.metrics and np.isfinite(meshes.pve).any():
        values["pve"] = meshes.pve
    if any(sample.head_size is not None for sample, _ in found):
        values["pckh"] = pckh([s for s, _ in found], [e for _, e in found], protocol.pckh)
    return values


def _alike(found: Found) -> list[list[int]]:
    """The places of the samples with 3D truth, those of one joint set, in truth and estimate, together.

    So are estimates with a body, and those without.
    """
    groups = places_of(
        None if truth is None else (truth, estimate.joint_set, estimate.smpl is None)
        for truth, estimate in ((_set_of_truth(sample), estimate) for sample, estimate in found)
    )
    return [places for key, places in groups.items() if key is not None]


def _set_of_truth(sample: Sample) -> str | None:
    """What the 3D truth of a sample is in; None if it has none."""
    if sample.joints3d is not None:
        return "true body"
    return None if sample.keypoints3d is None else sample.joint_set


@frozen(eq=False)
class _Meshes:
    """What follows from the meshes of estimates and truth: PVE (N,) and (estimate/truth, N, 17, 3) regressed joints."""

    pve: NDArray[np.float64]
    joints: NDArray[np.float64] | None


def _meshes(found: Found, bodies: Mapping[str, Body], regressor: NDArray[np.float32] | None) -> _Meshes | None:
    """In mm, NaN where a side has no SMPL parameters, or the truth's gender no body; None if there is nothing at all.

    Estimates are neutral.
    """
    pairs = [(estimate.smpl, sample.smpl) for sample, estimate in found]
    errors = np.full(len(found), np.nan)
    joints = None if regressor is None else np.full((2, len(found), 17, 3), np.nan)
    for gender, body in bodies.items():
        places = [at for at, (_, true) in enumerate(pairs) if true is not None and true.gender == gender]
        for chunk in (places[at : at + CHUNK] for at in range(0, len(places), CHUNK)):
            posed = [at for at in chunk if pairs[at][0] is not None]
            truth = _surface(body, [pairs[at][1] for at in chunk])
            guess = _surface(bodies["neutral"], [pairs[at][0] for at in posed]) if posed else truth[:0]
            errors[posed] = metrics.pve(guess, truth[np.isin(chunk, posed)])
            if joints is not None and regressor is not None:
                joints[0, posed] = np.einsum("jv,nvc->njc", regressor, guess)
                joints[1, chunk] = np.einsum("jv,nvc->njc", regressor, truth)
    if np.isnan(errors).all() and (joints is None or np.isnan(joints[1]).all()):
        return None
    return _Meshes(errors, joints)


def _surface(body: Body, bodies: Sequence[SmplParams | None]) -> NDArray[np.float32]:
    """Vertices (N, V, 3) in mm relative to the pelvis."""
    fields = [np.stack([getattr(smpl, name) for smpl in bodies]) for name in ("global_orient", "body_pose", "betas")]
    with torch.inference_mode():
        posed = body(*(torch.from_numpy(values) for values in fields))
    return MM * (posed.vertices - posed.joints3d[:, :1]).numpy()
