"""MPI-INF-3DHP (Mehta et al., 3DV 2017): actors in a studio and outdoors, 17 joints in 2D and 3D.

From https://vcai.mpi-inf.mpg.de/3dhp-dataset, made into pictures and npz files with mmpose's
``tools/dataset_converters/preprocess_mpi_inf_3dhp.py``, in ``root``::

    root/annotations/mpi_inf_3dhp_train.npz, mpi_inf_3dhp_test_valid.npz
    root/annotations/cameras_train.pkl, cameras_test.pkl
    root/images/S1_Seq1_Cam0_000001.jpg, TS1_000001.jpg ...

Samples have the 17 joints of the official evaluation, in 3D absolute in the camera frame, metres; the evaluation
subtracts the pelvis.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from attrs import NOTHING, define, field

from posesyn_core.components import option
from posesyn_core.skeletons import MPI3DHP17
from posesyn_core.training.protocols import Protocol
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.annotations import existing_root, find_images
from posesyn_datasets.checks import expect_layout
from posesyn_datasets.npz3d import Row, read_cameras, read_people, samples

SOURCE = "make them from https://vcai.mpi-inf.mpg.de/3dhp-dataset with mmpose's preprocess_mpi_inf_3dhp.py"
FILES = {"train": "annotations/mpi_inf_3dhp_train.npz", "test": "annotations/mpi_inf_3dhp_test_valid.npz"}
NAME = re.compile(r"(?P<camera>TS\d+|S\d+_Seq\d+_Cam\d+)_(?P<frame>\d+)\.\w+$")


@define
class MpiInf3dhpConfig:
    """Where MPI-INF-3DHP lies; the defaults are those of the official test: all valid frames.

    Get it from https://vcai.mpi-inf.mpg.de/3dhp-dataset and convert it with mmpose's preprocess_mpi_inf_3dhp.py.
    """

    root: Path = option(NOTHING, "folder of the data set, with annotations and images")
    split: Literal["train", "test"] = option("test", "train (S1 ... S8) or test (TS1 ... TS6)")
    annotations: str = option("", "annotation file below root; empty = the converter's")
    cameras: str = option("annotations/cameras_{split}.pkl", "camera file below root")
    images: str = option("", "image folder below root; empty = images, or root itself")
    stride: int = option(1, "read every n-th row of the annotation file; 1 = all valid frames (official)")


@define
class MpiInf3dhpReader:
    """Reads MPI-INF-3DHP; ids: ``mpi_inf_3dhp/<split>/<image>``."""

    config: MpiInf3dhpConfig
    protocol: Protocol = field(
        init=False, default=Protocol(("pck", "auc", "mpjpe", "pa_mpjpe"), MPI3DHP17.joints, ("pelvis",))
    )
    """The official one: PCK at 150 mm, AUC and MPJPE over 17 joints, relative to the pelvis."""

    def __len__(self) -> int:
        return len(self._people)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the annotation file."""
        config = self.config
        people, cameras = self._people, read_cameras(config.root / config.cameras.format(split=config.split))
        images = find_images(config.root, config.images, ["images"])
        yield from samples(people, cameras, _camera, images, MPI3DHP17.name, f"mpi_inf_3dhp/{config.split}")

    @cached_property
    def _people(self) -> list[Row]:
        root = existing_root(self.config.root, "mpi_inf_3dhp")
        annotations = self.config.annotations or FILES[self.config.split]
        expect_layout(root, [annotations, self.config.cameras.format(split=self.config.split)], "mpi_inf_3dhp", SOURCE)
        return read_people(root / annotations, MPI3DHP17.name, lambda _: True)[:: self.config.stride]


def _camera(image: str) -> str:
    """The camera's key in the camera file: the recording."""
    found = NAME.search(image)
    return found["camera"] if found else ""
