"""Human3.6M (Ionescu et al., TPAMI 2014): actors before four cameras in a studio, 17 joints in 2D and 3D.

From http://vision.imar.ro/human3.6m (register), made into pictures and npz files with mmpose's
``tools/dataset_converters/preprocess_h36m.py``, in ``root``::

    root/annotation_body3d/cameras.pkl
    root/annotation_body3d/fps50/h36m_train.npz, h36m_test.npz     (fps10 has every fifth frame)
    root/images/S9/S9_Directions_1.54138969/S9_Directions_1.54138969_000001.jpg ...

Samples have Human3.6M's 17 joints, in 3D absolute in the camera frame, metres; the evaluation subtracts the pelvis.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from attrs import NOTHING, define, field

from posesyn_core.components import option
from posesyn_core.skeletons import H36M17
from posesyn_core.training.protocols import H36M_14, Protocol
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.annotations import existing_root, find_images
from posesyn_datasets.checks import expect_layout
from posesyn_datasets.npz3d import Row, read_cameras, read_people, samples

SOURCE = "make them from http://vision.imar.ro/human3.6m with mmpose's preprocess_h36m.py"
FRONTAL = "60457274"
"""The camera of protocol 2."""
NAME = re.compile(r"(?P<subject>S\d+)_.*\.(?P<camera>\d+)_(?P<frame>\d+)\.\w+$")


@define
class Human36mConfig:
    """Where Human3.6M lies, and which of its frames to read; the defaults are those of protocol 2.

    Get it from http://vision.imar.ro/human3.6m and convert it with mmpose's preprocess_h36m.py.
    """

    root: Path = option(NOTHING, "folder of the data set, with annotation_body3d and images")
    split: Literal["train", "test"] = option("test", "train (S1, S5, S6, S7, S8) or test (S9, S11)")
    annotations: str = option("annotation_body3d/fps50/h36m_{split}.npz", "annotation file below root")
    cameras: str = option("annotation_body3d/cameras.pkl", "camera file below root")
    images: str = option("", "image folder below root; empty = images, or root itself")
    views: Literal["protocol", "all"] = option(
        "protocol", "cameras: 'protocol' = of the test split only the frontal one (protocol 2), 'all' = all four"
    )
    stride: int = option(5, "read every n-th frame of a recording, by its number; 5 = as SPIN does")


@define
class Human36mReader:
    """Reads Human3.6M; ids: ``human36m/<split>/<image>``."""

    config: Human36mConfig
    protocol: Protocol = field(init=False, default=Protocol(("mpjpe", "pa_mpjpe"), H36M_14, ("pelvis",)))
    """Protocol 2 as HMR and SPIN measure it: 14 joints, relative to the pelvis, also after Procrustes alignment."""

    def __len__(self) -> int:
        return len(self._people)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the annotation file."""
        config = self.config
        people, cameras = self._people, read_cameras(config.root / config.cameras)
        images = find_images(config.root, config.images, ["images"])
        yield from samples(people, cameras, _camera, images, H36M17.name, f"human36m/{config.split}")

    @cached_property
    def _people(self) -> list[Row]:
        root = existing_root(self.config.root, "human36m")
        annotations = self.config.annotations.format(split=self.config.split)
        expect_layout(root, [annotations, self.config.cameras], "human36m", SOURCE)
        return read_people(root / annotations, H36M17.name, self._wanted)

    def _wanted(self, image: str) -> bool:
        """Whether the protocol uses the frame; one with a foreign name is kept, to be refused by name."""
        found = NAME.search(image)
        if found is None:
            return True
        seen = self.config.views == "all" or self.config.split == "train" or found["camera"] == FRONTAL
        return seen and (int(found["frame"]) - 1) % self.config.stride == 0


def _camera(image: str) -> tuple[str, str]:
    """The camera's key in the camera file: subject and serial number; ("", "") for a foreign name."""
    found = NAME.search(image)
    return (found["subject"], found["camera"]) if found else ("", "")
