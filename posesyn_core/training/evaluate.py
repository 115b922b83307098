"""Errors of an estimator on samples with 3D truth.

Joints are the first 22 of SMPL (HumanML3D-22), relative to the pelvis: those that motions and estimators share. The
two hand joints of SMPL depend on the body model more than on the pose and are left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core import metrics
from posesyn_core.body.model import Body
from posesyn_core.components import PoseEstimator, SplitEstimator
from posesyn_core.engines import LoadedNetwork
from posesyn_core.errors import SampleError
from posesyn_core.files import atomic_path
from posesyn_core.inference import predict
from posesyn_core.progress import progress
from posesyn_core.values import PoseEstimate, Sample, SmplParams

JOINTS = 22
MM = 1000.0


@frozen(eq=False)
class Evaluation:
    """Errors per sample, mm: ``mpjpe``, ``pa_mpjpe`` and ``pve`` (N,); the last is NaN where it can't be had.

    ``rejected`` has the reasons for the samples without an estimate, by id.
    """

    ids: tuple[str, ...]
    mpjpe: NDArray[np.float64]
    pa_mpjpe: NDArray[np.float64]
    pve: NDArray[np.float64]
    rejected: Mapping[str, str]

    def summary(self) -> dict[str, float | int]:
        """Means over the samples, mm, and their number; ``pve`` only if there is any."""
        figures: dict[str, float | int] = {"samples": len(self.ids), "rejected": len(self.rejected)}
        for name in ("mpjpe", "pa_mpjpe", "pve"):
            values = getattr(self, name)
            known = values[np.isfinite(values)]
            if len(known):
                figures[name] = round(float(known.mean()), 3)
        return figures

    def write(self, path: Path) -> None:
        """Write one Parquet row per sample, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"id": list(self.ids), "mpjpe": self.mpjpe, "pa_mpjpe": self.pa_mpjpe, "pve": self.pve}
        with atomic_path(path) as temporary:
            pq.write_table(pa.table(columns), temporary)


def evaluate(
    estimator: PoseEstimator | SplitEstimator,
    samples: Sequence[Sample],
    *,
    batch_size: int,
    workers: int,
    network: LoadedNetwork | None = None,
    body: Body | None = None,
    label: str = "evaluate",
) -> Evaluation:
    """Predict ``samples``, which must have ``joints3d``, and measure.

    With a ``body`` the per-vertex error (PVE, relative to the pelvis) is measured too where the truth and the estimate
    both have SMPL parameters; it must be the body that the truth's parameters belong to.
    """
    found: list[tuple[Sample, PoseEstimate]] = []
    rejected: dict[str, str] = {}
    batches = [samples[at : at + batch_size] for at in range(0, len(samples), batch_size)]
    with progress(label, len(samples)) as shown:
        for batch, results in zip(batches, predict(estimator, batches, network=network, workers=workers), strict=True):
            for sample, result in zip(batch, results, strict=True):
                if isinstance(result, SampleError):
                    rejected[sample.id] = str(result)
                else:
                    found.append((sample, result))
            shown.advance(len(batch))
    return _measure(found, rejected, body, batch_size)


def _measure(
    found: Sequence[tuple[Sample, PoseEstimate]], rejected: Mapping[str, str], body: Body | None, batch_size: int
) -> Evaluation:
    predicted = np.array([estimate.joints3d for _, estimate in found], np.float64).reshape(-1, 24, 3)[:, :JOINTS] * MM
    truth = np.array([sample.joints3d for sample, _ in found], np.float64).reshape(-1, 24, 3)[:, :JOINTS] * MM
    return Evaluation(
        ids=tuple(sample.id for sample, _ in found),
        mpjpe=metrics.mpjpe(predicted, truth, root=0),
        pa_mpjpe=metrics.pa_mpjpe(predicted, truth),
        pve=np.full(len(found), np.nan) if body is None else _vertex_errors(found, body, batch_size),
        rejected=dict(rejected),
    )


def _vertex_errors(found: Sequence[tuple[Sample, PoseEstimate]], body: Body, batch_size: int) -> NDArray[np.float64]:
    """PVE (N,) in mm; NaN where truth or estimate has no SMPL parameters."""
    errors = np.full(len(found), np.nan)
    pairs = [(sample.smpl, estimate.smpl) for sample, estimate in found]
    places = [at for at, (true, guess) in enumerate(pairs) if true is not None and guess is not None]
    for chunk in (places[at : at + batch_size] for at in range(0, len(places), batch_size)):
        truth, truth_root = _surface(body, [pairs[at][0] for at in chunk])
        guess, guess_root = _surface(body, [pairs[at][1] for at in chunk])
        errors[chunk] = metrics.pve(guess, truth, guess_root, truth_root)
    return errors


def _surface(body: Body, bodies: Sequence[SmplParams | None]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vertices (N, V, 3) and pelvis (N, 3) in mm."""
    fields = [np.stack([getattr(smpl, name) for smpl in bodies]) for name in ("global_orient", "body_pose", "betas")]
    with torch.inference_mode():
        posed = body(*(torch.from_numpy(values) for values in fields))
    return posed.vertices.numpy() * MM, posed.joints3d[:, 0].numpy() * MM
