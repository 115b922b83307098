"""The worst cases of an evaluation as numbers: true and estimated body of each, for the report's 3D view."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.files.paths import write_atomic
from posesyn_core.files.reading import read_npz
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import FloatArray, PoseEstimate, Sample, SmplParams

SHOWN = 6
"""How many cases are kept."""
PARAMETERS = 3 + 69 + 10
"""Numbers of a body: orientation, pose, shape."""


@frozen
class Case:
    """One test sample: its id, its error in mm, and both sides as SMPL-24 joints (24, 3) from the root, metres, camera
    frame (NaN = unknown), and as a body, where there is one. Bodies have no place."""

    id: str
    error: float
    true_joints: FloatArray
    joints: FloatArray
    true_body: SmplParams | None
    body: SmplParams | None


def write_cases(
    path: Path, samples: Sequence[Sample], estimates: Sequence[PoseEstimate], errors: NDArray[np.floating]
) -> None:
    """Write the ``SHOWN`` cases with the largest errors (N,), those that have one and true 3D joints of SMPL's."""
    order = [int(at) for at in np.argsort(-np.nan_to_num(errors, nan=-np.inf)) if np.isfinite(errors[at])]
    chosen = [at for at in order if samples[at].joints3d is not None][:SHOWN]
    arrays: dict[str, Any] = {
        "ids": np.array([samples[at].id for at in chosen], np.str_),
        "errors": np.array([errors[at] for at in chosen], np.float64),
        "true_joints": _stacked([samples[at].joints3d for at in chosen], (24, 3)),
        "joints": _stacked([_smpl_joints(estimates[at]) for at in chosen], (24, 3)),
        "true_bodies": _stacked([_numbers(samples[at].smpl) for at in chosen], (PARAMETERS,)),
        "bodies": _stacked([_numbers(estimates[at].smpl) for at in chosen], (PARAMETERS,)),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    write_atomic(path, file.getvalue())


def read_cases(path: Path) -> list[Case]:
    """What :func:`write_cases` wrote; UserError for a damaged file."""
    arrays = read_npz(path, "file of worst cases", "what `posesyn evaluate` writes")
    names = ("ids", "errors", "true_joints", "joints", "true_bodies", "bodies")
    return [
        Case(str(name), float(error), true, joints, _body(true_body), _body(body))
        for name, error, true, joints, true_body, body in zip(*(arrays[name] for name in names), strict=True)
    ]


def _smpl_joints(estimate: PoseEstimate) -> FloatArray | None:
    return estimate.joints3d if estimate.joint_set == SMPL24.name else None


def _numbers(body: SmplParams | None) -> FloatArray | None:
    """A body as a row; None for those of a gender, whose shapes are another's."""
    if body is None or body.gender != "neutral":
        return None
    return np.concatenate([body.global_orient, body.body_pose.ravel(), body.betas])


def _body(row: FloatArray) -> SmplParams | None:
    if np.isnan(row).any():
        return None
    return SmplParams(row[:3], row[3:72].reshape(23, 3), row[72:], np.zeros(3, np.float32))


def _stacked(rows: Sequence[FloatArray | None], shape: tuple[int, ...]) -> FloatArray:
    """Rows of one shape, NaN where there is none."""
    filled = [np.full(shape, np.nan) if row is None else row for row in rows]
    return np.array(filled, np.float32).reshape(len(rows), *shape)
