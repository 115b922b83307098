"""The npz files in which lifters' data are shared: VideoPose3D's of Human3.6M, PoseAug's and SPIN's of other test sets.

Human3.6M: ``data_3d_h36m.npz`` (``positions_3d``: subject -> action -> (F, 32, 3) metres in the world) and
``data_2d_h36m_<detector>.npz`` (``positions_2d``: subject -> action -> four arrays (F, 16 or 17, 2) in pixels, one a
camera). Both hold pickled dictionaries, which are read without running what they ask for.

Test sets: ``pose3d`` (N, 16, 3) metres and ``pose2d`` (N, 16, 2) on the normalised screen (PoseAug's ``test_3dhp.npz``
and the like), or SPIN's ``mpi_inf_3dhp_valid.npz`` (``imgname``, ``part`` (N, 24, 3), ``S`` (N, 24, 4)).
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.reading import read_npz, reason_of
from posesyn_core.files.unpickle import load_object
from posesyn_poseaug.camera import project, to_camera, to_screen
from posesyn_poseaug.skeleton import JOINTS

Floats = NDArray[np.float32]
H36M_ROWS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 15, 17, 18, 19, 25, 26, 27)
"""Which of Human3.6M's 32 joints ours are."""
NECK = 9
"""The 17th joint of VideoPose3D's detections, which PoseAug's skeleton lacks."""
SPIN_ROWS = (14, 2, 1, 0, 3, 4, 5, 16, 12, 18, 9, 10, 11, 8, 7, 6)
"""Which of SPIN's 24 joints ours are: its spine, neck and Human3.6M head stand for spine, thorax and head."""
TRAIN, TEST = ("S1", "S5", "S6", "S7", "S8"), ("S9", "S11")
SPIN_SIZE, SPIN_WIDE = (2048, 2048), (1920, 1080)
WIDE = ("/TS5/", "/TS6/")
"""MPI-INF-3DHP's test sequences that were filmed outdoors, in another format."""


@frozen(eq=False)
class Arrays:
    """N poses as they stand in files: ``poses`` (N, 16, 3) metres in the camera frame, ``keypoints`` (N, 16, 2) on the
    normalised screen, ``cameras`` (N, 9) or None, ``sizes`` (N, 2) width and height of the pictures, and per pose the
    subject, the action (without the number of the take) and a name that no other has."""

    poses: NDArray[np.floating]
    keypoints: NDArray[np.floating]
    cameras: Floats | None
    sizes: NDArray[np.int64]
    subjects: tuple[str, ...]
    actions: tuple[str, ...]
    names: tuple[str, ...]
    rejected: tuple[tuple[str, str], ...] = ()
    """(name, reason) of the recordings that can't be used."""


@frozen(eq=False)
class Lens:
    """A calibrated camera: ``size`` (width, height) in pixels, ``numbers`` (9,) as in ``posesyn_poseaug.camera``."""

    name: str
    size: tuple[int, int]
    numbers: Floats


@frozen(eq=False)
class View:
    """A lens at its place: quaternion (4,) and metres (3,)."""

    lens: Lens
    orientation: Floats
    translation: Floats


@cache
def h36m_views() -> Mapping[str, tuple[View, ...]]:
    """Human3.6M's four cameras of every subject."""
    text = Path(__file__).with_name("h36m_cameras.toml").read_text(encoding="utf-8")
    known = tomllib.loads(text)
    lenses = [_lens(lens["name"], lens["numbers"]) for lens in known["lenses"]]
    return {
        subject: tuple(
            View(lens, np.array(row[:4], np.float32), np.array(row[4:], np.float32) / np.float32(1000))
            for lens, row in zip(lenses, rows, strict=True)
        )
        for subject, rows in known["places"].items()
    }


def _lens(name: str, numbers: Sequence[float]) -> Lens:
    """From width, height, fx, fy, cx, cy in pixels and the distortion."""
    width, height = (int(value) for value in numbers[:2])
    focal = np.array(numbers[2:4], np.float32) / width * 2
    centre = to_screen(np.array(numbers[4:6], np.float64), width, height).astype(np.float32)
    return Lens(name, (width, height), np.concatenate([focal, centre, np.array(numbers[6:], np.float32)]))


def read_h36m(poses: Path, keypoints: Path, subjects: Sequence[str], actions: Sequence[str] = ()) -> Arrays:
    """Human3.6M's poses of those subjects (and actions; none = all), subject by subject, action by action, camera by
    camera. A recording that is malformed, or in one of the files alone, is rejected; UserError if none is left."""
    solid, flat = _positions(poses, "positions_3d"), _positions(keypoints, "positions_2d")
    found = list(_recordings(solid, flat, subjects, actions, keypoints))
    parts = [part for part in found if len(part) == 5]
    rejected = tuple(part for part in found if len(part) == 2)
    if not parts:
        why = f": {rejected[0][0]}: {rejected[0][1]}" if rejected else ""
        raise UserError(f"{str(poses)!r} has no recording of {' '.join([', '.join(subjects), *actions])}{why}")
    counts = [len(part[0]) for part in parts]
    return Arrays(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.repeat(np.stack([part[2].lens.numbers for part in parts]), counts, 0),
        np.repeat(np.array([part[2].lens.size for part in parts]), counts, 0),
        tuple(part[3] for part, count in zip(parts, counts, strict=True) for _ in range(count)),
        tuple(part[4].split(" ")[0] for part, count in zip(parts, counts, strict=True) for _ in range(count)),
        tuple(
            f"{part[3]}/{part[4]}.{part[2].lens.name}/{frame:06d}"
            for part, count in zip(parts, counts, strict=True)
            for frame in range(count)
        ),
        rejected,
    )


Recording = tuple[Floats, Floats, View, str, str]
"""Poses (F, 16, 3), keypoints (F, 16, 2), camera, subject and action of one camera's film."""


def _recordings(
    solid: Mapping[str, Any], flat: Mapping[str, Any], subjects: Sequence[str], actions: Sequence[str], path: Path
) -> Iterator[Recording | tuple[str, str]]:
    """Each recording, or (name, reason)."""
    views = h36m_views()
    for subject in subjects:
        if subject not in solid or subject not in flat or subject not in views:
            raise UserError(f"{str(path)!r}, or the 3D file beside it, has no subject {subject}")
        for action in dict.fromkeys([*flat[subject], *solid[subject]]):
            if actions and str(action).split(" ")[0] not in actions:
                continue
            name = f"{subject}/{action}"
            try:
                films = flat[subject].get(action, ())
                joints = _h36m_joints(solid[subject].get(action))
                if len(films) != len(views[subject]):
                    raise SampleError(f"it has 2D joints of {len(films)} cameras, not of {len(views[subject])}")
            except Exception as error:  # whatever a broken entry leads to
                yield name, reason_of(error)
                continue
            for view, film in zip(views[subject], films, strict=True):
                try:
                    yield _film(joints, film, view, subject, str(action))
                except Exception as error:  # as above
                    yield f"{name}.{view.lens.name}", reason_of(error)


def _film(joints: Floats, film: Any, view: View, subject: str, action: str) -> Recording:
    keypoints = _without_neck(np.asarray(film, np.float32))
    if len(keypoints) < len(joints):
        raise SampleError(f"it has {len(keypoints)} frames in 2D, but {len(joints)} in 3D")
    camera = to_camera(joints, view.orientation, view.translation)
    screen = to_screen(keypoints[: len(joints)], *view.lens.size)
    return camera.astype(np.float32), screen.astype(np.float32), view, subject, action


def _h36m_joints(given: Any) -> Floats:
    if given is None:
        raise SampleError("it is in the file of 2D joints, but not in that of 3D joints")
    joints = np.asarray(given, np.float32)
    if joints.ndim != 3 or joints.shape[1:] not in ((32, 3), (JOINTS, 3)):
        raise SampleError(f"its 3D joints must be (F, 32, 3), not {joints.shape}")
    if not len(joints):
        raise SampleError("it has no frames")
    return joints[:, list(H36M_ROWS)] if joints.shape[1] == 32 else joints


def _without_neck(keypoints: Floats) -> Floats:
    """(F, 16, 2); VideoPose3D's detectors have 17 joints, of which the neck/nose goes."""
    if keypoints.ndim != 3 or keypoints.shape[1] not in (JOINTS, JOINTS + 1) or keypoints.shape[2] < 2:
        raise SampleError(f"its 2D joints must be (F, 16 or 17, 2), not {keypoints.shape}")
    return np.delete(keypoints, NECK, 1)[..., :2] if keypoints.shape[1] == JOINTS + 1 else keypoints[..., :2]


def _positions(path: Path, key: str) -> dict[str, Any]:
    found = load_object(path, key)
    if not isinstance(found, dict) or not all(isinstance(of_subject, dict) for of_subject in found.values()):
        raise UserError(f"{key!r} in {str(path)!r} is no dictionary of subjects; expected VideoPose3D's format")
    return found


def ground_truth_2d(poses: Floats, view: View) -> Floats:
    """(F, 16, 2) the 2D of ``data_2d_h36m_gt.npz`` on the normalised screen: the poses as that camera sees them."""
    return project(poses, np.broadcast_to(view.lens.numbers, (len(poses), 9)))


def read_test_set(path: Path) -> Arrays:
    """A test set in PoseAug's or SPIN's form, in the file's order. UserError if it is neither."""
    names = ("pose3d", "pose2d", "imgname", "part", "S")
    arrays = read_npz(path, "test set", f"an npz of plain arrays, some of {', '.join(names)}", names)
    if {"pose3d", "pose2d"} <= arrays.keys():
        return _poseaug_set(arrays["pose3d"], arrays["pose2d"], path)
    if {"imgname", "part", "S"} <= arrays.keys():
        return _spin_set(arrays, path)
    raise UserError(
        f"{str(path)!r} is neither PoseAug's form (pose3d, pose2d) nor SPIN's (imgname, part, S); it has "
        f"{', '.join(arrays) or 'none of these'}"
    )


def _poseaug_set(solid: NDArray, flat: NDArray, path: Path) -> Arrays:
    count = len(np.atleast_1d(solid))
    _expect(solid, (count, JOINTS, 3), "pose3d", path)
    _expect(flat, (count, JOINTS, 2), "pose2d", path)
    names = tuple(f"{number:06d}" for number in range(len(solid)))
    sizes = np.broadcast_to(np.array(SPIN_SIZE), (len(solid), 2))
    return Arrays(solid, flat, None, sizes, ("",) * len(solid), ("",) * len(solid), names)


def _spin_set(arrays: Mapping[str, NDArray], path: Path) -> Arrays:
    count = arrays["imgname"].size
    if arrays["imgname"].ndim != 1:
        raise UserError(f"'imgname' in {str(path)!r} is no list of names")
    _expect(arrays["part"], (count, 24, 3), "part", path)
    _expect(arrays["S"], (count, 24, 4), "S", path)
    names = tuple(str(name) for name in arrays["imgname"])
    sizes = np.array([SPIN_WIDE if any(w in name for w in WIDE) else SPIN_SIZE for name in names])
    part, solid = arrays["part"][:, list(SPIN_ROWS)], arrays["S"][:, list(SPIN_ROWS), :3]
    shift = np.stack([np.ones(count), sizes[:, 1] / sizes[:, 0]], -1)
    screen = (part[..., :2] / sizes[:, None, :1] * 2 - shift[:, None]) * part[..., 2:]
    subjects = tuple(next((piece for piece in name.split("/") if piece.startswith("TS")), "") for name in names)
    return Arrays(solid, screen, None, sizes, subjects, ("",) * count, names)


def _expect(array: NDArray, shape: tuple[int, ...], name: str, path: Path) -> None:
    if array.shape != shape:
        raise UserError(f"{name!r} in {str(path)!r} has shape {array.shape}, expected {shape}")
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name!r} in {str(path)!r} holds {array.dtype}, expected numbers")
