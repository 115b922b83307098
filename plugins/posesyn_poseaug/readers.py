"""Data sets of poses without pictures, as samples one by one and as arrays."""

import warnings
from collections.abc import Iterator

import numpy as np
from attrs import evolve

from posesyn_core.errors import PoseSynWarning
from posesyn_core.geometry.skeletons import H36M16
from posesyn_core.values import EvaluationProtocol, SampleOrRejection
from posesyn_poseaug.config import H36mPosesConfig, PosesConfig
from posesyn_poseaug.formats import Arrays, read_h36m, read_test_set
from posesyn_poseaug.poses import PoseSet, faults, sample_of

PROTOCOL = EvaluationProtocol(("mpjpe", "pa_mpjpe", "pck", "auc"))
"""All 16 joints relative to the hip, which counts too, as PoseAug measures."""


class H36mPoses:
    """Reads VideoPose3D's files of Human3.6M."""

    protocol = PROTOCOL

    def __init__(self, config: H36mPosesConfig) -> None:
        self.config = config

    def samples(self) -> Iterator[SampleOrRejection]:
        """Subject by subject, action by action, camera by camera."""
        yield from _samples(self._arrays(), f"h36m/{self.config.keypoints}", self.config.stride)

    def poses(self) -> PoseSet:
        """All poses at once."""
        return _set(self._arrays(), f"h36m/{self.config.keypoints}", self.config.stride)

    def _arrays(self) -> Arrays:
        config = self.config
        files = config.root / "data_3d_h36m.npz", config.root / f"data_2d_h36m_{config.keypoints}.npz"
        return read_h36m(*files, config.subjects, config.actions)


class Poses:
    """Reads a test set in one file; broken rows are rejected one by one, or left out of the arrays."""

    protocol = PROTOCOL

    def __init__(self, config: PosesConfig) -> None:
        self.config = config

    def samples(self) -> Iterator[SampleOrRejection]:
        """In the file's order."""
        yield from _samples(read_test_set(self.config.file), self.config.file.stem, self.config.stride)

    def poses(self) -> PoseSet:
        """All poses at once."""
        found = _set(read_test_set(self.config.file), self.config.file.stem, self.config.stride)
        return evolve(found, flip=self.config.flip)


def _faults(arrays: Arrays) -> list[str]:
    """(N,) why a row can't be used, "" if it can."""
    return faults(arrays.poses, arrays.keypoints, arrays.cameras is not None)


def _set(arrays: Arrays, name: str, stride: int, *, tell: bool = True) -> PoseSet:
    """The sound rows; a warning counts the others, unless they are told one by one."""
    sound = [not fault for fault in _faults(arrays)[::stride]]
    chosen = np.flatnonzero(sound) * stride
    lost = len(sound) - len(chosen) + len(arrays.rejected)
    if tell and lost:
        warnings.warn(
            f"{lost} poses or recordings of {name} can't be used and are left out", PoseSynWarning, stacklevel=3
        )
    cameras = None if arrays.cameras is None else arrays.cameras[chosen]
    subjects = tuple(arrays.subjects[at] for at in chosen)
    return PoseSet(arrays.poses[chosen], arrays.keypoints[chosen], cameras, subjects, name)


def _samples(arrays: Arrays, prefix: str, stride: int) -> Iterator[SampleOrRejection]:
    found = _set(arrays, prefix, stride, tell=False)
    yield from ((f"{prefix}/{name}", reason) for name, reason in arrays.rejected)
    given, place = _faults(arrays), 0
    for at in range(0, len(arrays.names), stride):
        name = f"{prefix}/{arrays.names[at]}"
        if given[at]:
            yield name, given[at]
            continue
        yield sample_of(found, place, name, H36M16.name, tuple(map(float, arrays.sizes[at])))  # type: ignore[arg-type]
        place += 1
