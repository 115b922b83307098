"""SPIN's annotation files: one npz per data set, one row per person.

For N people: ``imgname`` paths below the image root; ``center`` (N, 2) and ``scale`` (N,): the square to cut out is
200 * scale pixels wide; ``part`` (N, 24, 3): x, y and confidence of SPIN's 24 joints, pixels; ``S`` (N, 24, 4): x, y, z
in metres (camera frame, from the middle of the hips) and confidence; ``pose`` (N, 72) axis-angles and ``shape``
(N, 10) betas of SMPL; ``has_smpl`` (N,) 0 or 1, all 1 where there is a pose but no such array. All but the first three
may lack. ``openpose`` (N, 25, 3) is not read: its weight in the published training is 0.

The bodies of the first rounds of SPIN's training are tables beside it: ``<data set>_fits.npy`` (N, 82) = pose and
betas, or the final ones, ``<data set>.npz`` with ``pose``, ``betas`` and ``valid_fit``.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import inside
from posesyn_core.files.reading import read_npy, read_npz
from posesyn_core.geometry.skeletons import LSP14, SMPL24, convert
from posesyn_core.values import SmplParams
from posesyn_spin.crops import UNIT
from posesyn_spin.inputs import Person

Arrays = Mapping[str, NDArray]

JOINTS = 24
"""SPIN's own: the 14 of LSP first, then others that SMPL's skeleton does not have."""


def read_people(path: Path, images: Path, fits: Path | None = None) -> list[Person]:
    """The people of an annotation file, their labels in SMPL's order; ``images`` is the image root.

    Of SPIN's joints those are kept that SMPL's skeleton has: hips to ankles, shoulders to wrists. ``fits`` gives
    bodies to the rows without one of their own. UserError for a missing or malformed file, or an image path that
    leaves the root.
    """
    arrays = _load(path, {"imgname": (), "center": (2,), "scale": ()})
    count = len(arrays["imgname"])
    optional = {"part": (JOINTS, 3), "S": (JOINTS, 4), "pose": (72,), "shape": (10,), "has_smpl": ()}
    _check(path, arrays, {name: shape for name, shape in optional.items() if name in arrays}, count)
    keypoints = _smpl_joints(arrays.get("part", np.zeros((count, JOINTS, 3))))
    joints = _smpl_joints(arrays.get("S", np.zeros((count, JOINTS, 4))))
    bodies = _bodies(arrays, count, None if fits is None else _fits(fits, count))
    return [
        Person(
            id=f"{path.stem}/{row}",
            image=_image(images, str(arrays["imgname"][row]), path),
            centre=arrays["center"][row].astype(np.float64),
            side=float(arrays["scale"][row]) * UNIT,
            keypoints2d=keypoints[row],
            joints3d=joints[row],
            smpl=bodies[row],
        )
        for row in range(count)
    ]


def _load(path: Path, needed: Mapping[str, tuple[int, ...]]) -> Arrays:
    arrays = read_npz(path, "annotation file", "SPIN's npz, of plain arrays")
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise UserError(f"annotation file {str(path)!r} has no array {missing[0]!r}; expected SPIN's npz")
    _check(path, arrays, needed, len(arrays[next(iter(needed))]))
    return arrays


def _check(path: Path, arrays: Arrays, shapes: Mapping[str, tuple[int, ...]], count: int) -> None:
    for name, shape in shapes.items():
        if arrays[name].shape != (count, *shape):
            raise UserError(
                f"annotation file {str(path)!r}: {name!r} has the shape {arrays[name].shape}, not {(count, *shape)}"
            )


def _image(root: Path, name: str, path: Path) -> Path:
    try:
        return inside(root, name)
    except SampleError as error:
        raise UserError(f"annotation file {str(path)!r}: {error}") from error


def _smpl_joints(labels: NDArray) -> NDArray[np.float64]:
    """SPIN's labels (N, 24, D + 1), the last column their confidence, as (N, 24, D + 1) in SMPL's order."""
    limbs = labels[:, : len(LSP14)].astype(np.float64)
    points, known = convert(limbs[..., :-1], limbs[..., -1] > 0, LSP14.name, SMPL24.name)
    confidence, _ = convert(limbs[..., -1:], None, LSP14.name, SMPL24.name)
    return np.concatenate([points, np.where(known[..., None], confidence, 0)], -1)


def _bodies(arrays: Arrays, count: int, fits: tuple[NDArray, NDArray] | None) -> list[SmplParams | None]:
    """The bodies of the rows, from the file itself where it has one, else from ``fits``."""
    own = arrays.get("has_smpl", np.ones(count)) if "pose" in arrays else np.zeros(count)
    labels = np.hstack([arrays["pose"], arrays["shape"]]) if "pose" in arrays else np.zeros((count, 82))
    known = own.astype(bool)
    if fits is not None:
        table, valid = fits
        labels = np.where(known[:, None], labels, table)
        known = known | valid
    origin = np.zeros(3, np.float32)  # the files say nothing of it, and the loss needs none
    return [
        SmplParams(row[:3], row[3:72].reshape(23, 3), row[72:], origin) if has_body else None
        for row, has_body in zip(labels, known, strict=True)
    ]


def _fits(path: Path, count: int) -> tuple[NDArray, NDArray]:
    """A table of bodies (N, 82), and which rows (N,) of it are valid."""
    if path.suffix == ".npz":
        arrays = _load(path, {"pose": (72,), "betas": (10,), "valid_fit": ()})
        table, valid = np.hstack([arrays["pose"], arrays["betas"]]), arrays["valid_fit"].astype(bool)
    else:
        table = read_npy(path, "table of fits", "a plain array (N, 82)")
        valid = np.ones(len(table), bool)
    if table.shape != (count, 82):
        raise UserError(f"table of fits {str(path)!r} has the shape {table.shape}, not that of its data: {(count, 82)}")
    return table, valid
