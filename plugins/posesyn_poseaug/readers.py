"""Data sets of poses without pictures, as samples one by one and as arrays."""

from collections.abc import Iterator

import numpy as np
from attrs import evolve

from posesyn_core.geometry.skeletons import H36M16
from posesyn_core.values import EvaluationProtocol, SampleOrRejection
from posesyn_poseaug.config import H36mPosesConfig, PosesConfig
from posesyn_poseaug.formats import Arrays, read_h36m, read_test_set
from posesyn_poseaug.poses import PoseSet, sample_of

PROTOCOL = EvaluationProtocol(("mpjpe", "pa_mpjpe", "pck", "auc"))
"""All 16 joints relative to the hip, which counts too, as PoseAug measures."""


class H36mPoses:
    """Reads VideoPose3D's files of Human3.6M."""

    protocol = PROTOCOL

    def __init__(self, config: H36mPosesConfig) -> None:
        self.config = config

    def samples(self) -> Iterator[SampleOrRejection]:
        """Subject by subject, action by action, camera by camera."""
        yield from _samples(self._arrays(), self.poses(), f"h36m/{self.config.keypoints}", self.config.stride)

    def poses(self) -> PoseSet:
        """All poses at once."""
        return _set(self._arrays(), f"h36m/{self.config.keypoints}", self.config.stride)

    def _arrays(self) -> Arrays:
        config = self.config
        files = config.root / "data_3d_h36m.npz", config.root / f"data_2d_h36m_{config.keypoints}.npz"
        return read_h36m(*files, config.subjects, config.actions)


class Poses:
    """Reads a test set in one file; broken rows are refused one by one, or left out of the arrays."""

    protocol = PROTOCOL

    def __init__(self, config: PosesConfig) -> None:
        self.config = config

    def samples(self) -> Iterator[SampleOrRejection]:
        """In the file's order."""
        yield from _samples(read_test_set(self.config.file), self.poses(), self.config.file.stem, self.config.stride)

    def poses(self) -> PoseSet:
        """All poses at once."""
        found = _set(read_test_set(self.config.file), self.config.file.stem, self.config.stride)
        return evolve(found, flip=self.config.flip)


def _sound(arrays: Arrays) -> np.ndarray:
    """(N,) which rows hold numbers alone."""
    parts = [arrays.poses, arrays.keypoints]
    return np.all([np.isfinite(part).all((1, 2)) for part in parts], 0)


def _set(arrays: Arrays, name: str, stride: int) -> PoseSet:
    chosen = np.flatnonzero(_sound(arrays)[::stride]) * stride
    cameras = None if arrays.cameras is None else arrays.cameras[chosen]
    subjects = tuple(arrays.subjects[at] for at in chosen)
    return PoseSet(arrays.poses[chosen], arrays.keypoints[chosen], cameras, subjects, name)


def _samples(arrays: Arrays, found: PoseSet, prefix: str, stride: int) -> Iterator[SampleOrRejection]:
    sound, place = _sound(arrays), 0
    for at in range(0, len(arrays.names), stride):
        name = f"{prefix}/{arrays.names[at]}"
        if not sound[at]:
            yield name, "its joints hold a number that is not finite"
            continue
        yield sample_of(found, place, name, H36M16.name, tuple(map(float, arrays.sizes[at])))  # type: ignore[arg-type]
        place += 1
