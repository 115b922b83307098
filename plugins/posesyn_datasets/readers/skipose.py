"""Ski-Pose PTZ-Camera (Rhodin et al., CVPR 2018): alpine skiers, 17 joints in 3D, filmed by six cameras that follow.

From https://www.epfl.ch/labs/cvlab/data/ski-poseptz-dataset, Ski-PosePTZ-CameraDataset-png.zip unpacked in ``root``::

    root/train/labels.h5                                    (and root/test)
    root/train/seq_000/cam_00/image_000000.png ...          256 x 256 pixels, cropped about the skier

``labels.h5`` holds, for N pictures: ``seq``, ``cam`` and ``frame`` (N,), which name the picture; ``3D`` (N, 51) metres
in the camera frame, relative to the pelvis; ``2D`` (N, 34) as shares of the picture's width and height; and
``cam_intrinsic`` (N, 3, 3) in the same shares. The joints are Human3.6M's 17 in their order.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from attrs import NOTHING, define, field
from numpy.typing import NDArray

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError
from posesyn_core.files.locating import Pictures
from posesyn_core.geometry.boxes import check_box, joint_boxes
from posesyn_core.geometry.skeletons import H36M17
from posesyn_core.geometry.units import check_person, check_units
from posesyn_core.values import EvaluationProtocol, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import build_each, existing_root, keypoints
from posesyn_datasets.readers.checks import expect_layout, expect_shape, pinhole
from posesyn_datasets.readers.foreign import read_hdf5

JOINTS = len(H36M17)
SIDE = 256
KEYS = ("seq", "cam", "frame", "3D", "2D", "cam_intrinsic")
EXPECTED = f"Ski-Pose's labels.h5 with {', '.join(KEYS)}"
SOURCE = "unpack Ski-PosePTZ-CameraDataset-png.zip there"


@define
class SkiPoseConfig:
    """Where Ski-Pose lies, and which split to read.

    Get Ski-PosePTZ-CameraDataset-png.zip from https://www.epfl.ch/labs/cvlab/data/ski-poseptz-dataset; ``root`` is the
    unpacked folder, with train and test.
    """

    root: Path = option(NOTHING, "folder of the data set, with train and test")
    split: Literal["train", "test"] = option("test", "which pictures: train or test")
    follow_links: bool = follow_links()


@define(slots=False)  # cached_property needs a __dict__
class SkiPoseReader:
    """Reads Ski-Pose; ids: ``skipose/<split>/<sequence>/<camera>/<frame>``."""

    config: SkiPoseConfig
    protocol: EvaluationProtocol = field(
        init=False, default=EvaluationProtocol(("mpjpe", "pa_mpjpe", "n_mpjpe", "pck"))
    )
    """The paper's: MPJPE, N-MPJPE and PCK relative to the pelvis, over the joints that the estimate has too."""

    def __len__(self) -> int:
        return len(self._labels["3D"])

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; in the order of the label file."""
        labels = self._labels
        numbers = (
            np.nan_to_num(np.stack([labels[key] for key in ("seq", "cam", "frame")], -1)).clip(-1, 1e9).astype(int)
        )
        names = [f"seq_{seq:03d}/cam_{cam:02d}/image_{frame:06d}" for seq, cam, frame in numbers]
        yield from build_each(
            ((f"skipose/{self.config.split}/{name}", (name, at)) for at, name in enumerate(names)), self._sample
        )

    @property
    def _folder(self) -> Path:
        return self.config.root / self.config.split

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(self._folder, follow_links=self.config.follow_links)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        expect_layout(existing_root(self.config.root, "skipose"), [f"{self.config.split}/labels.h5"], "skipose", SOURCE)

    @cached_property
    def _labels(self) -> dict[str, NDArray[np.float64]]:
        self.check_layout()
        path = self._folder / "labels.h5"
        arrays = read_hdf5(path, KEYS, EXPECTED)
        count = len(np.atleast_1d(arrays["3D"]))
        labels = {key: expect_shape(arrays[key], (count,), key, path) for key in ("seq", "cam", "frame")}
        labels["3D"] = expect_shape(arrays["3D"], (count, 3 * JOINTS), "3D", path).reshape(count, JOINTS, 3)
        labels["2D"] = expect_shape(arrays["2D"], (count, 2 * JOINTS), "2D", path).reshape(count, JOINTS, 2)
        labels["cam_intrinsic"] = expect_shape(arrays["cam_intrinsic"], (count, 3, 3), "cam_intrinsic", path)
        check_units(labels["3D"], H36M17.name, "metres", path)
        return labels

    def _sample(self, sample_id: str, entry: tuple[str, int]) -> Sample:
        name, at = entry
        image, joints = self._pictures.at(f"{name}.png"), self._labels["3D"][at]
        if not image.is_file():
            raise SampleError(f"the picture {name}.png is missing in {self.config.split}")
        if not np.isfinite(joints).all():
            raise SampleError("the 3D joints have numbers that are not finite")
        check_person(joints, H36M17.name)
        labels, confidence = keypoints(SIDE * self._labels["2D"][at], np.ones(JOINTS), JOINTS)
        box, matrix = joint_boxes(labels), SIDE * self._labels["cam_intrinsic"][at]
        check_box(box, SIDE, SIDE)
        return Sample(
            id=sample_id,
            image=image,
            box=box,
            joint_set=H36M17.name,
            keypoints2d=labels,
            confidence=confidence,
            camera=pinhole(matrix[[0, 1], [0, 1]], matrix[:2, 2]),
            keypoints3d=joints.astype(np.float32),
        )
