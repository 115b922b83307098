"""Human3.6M (Ionescu et al., TPAMI 2014): actors before four cameras in a studio, 17 joints in 2D and 3D.

From http://vision.imar.ro/human3.6m (register). Either the official archives Poses_D2_Positions_S9.tgz,
Poses_D3_Positions_mono_S9.tgz and Videos_S9.tgz of every subject, unpacked in ``root``::

    root/S9/MyPoseFeatures/D2_Positions/Directions 1.54138969.cdf          Pose (1, N, 64): x, y of 32 joints, pixels
    root/S9/MyPoseFeatures/D3_Positions_mono/Directions 1.54138969.cdf     Pose (1, N, 96): mm in the camera frame
    root/S9/Videos/Directions 1.54138969.mp4       (or the frames, extracted to root/images as below)

or what mmpose's ``tools/dataset_converters/preprocess_h36m.py`` makes of them, pictures and npz files::

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

import numpy as np
from attrs import NOTHING, define, field

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.apart import read_apart
from posesyn_core.files.locating import Pictures, in_order
from posesyn_core.geometry.skeletons import H36M17
from posesyn_core.geometry.units import UNITS, check_units
from posesyn_core.training.protocols import H36M_14
from posesyn_core.values import EvaluationProtocol, SampleOrRejection
from posesyn_datasets.readers import recordings
from posesyn_datasets.readers.annotations import existing_root, find_images, read_files
from posesyn_datasets.readers.checks import Floats, chosen, expect_layout, optional_module
from posesyn_datasets.readers.foreign import load_cdf
from posesyn_datasets.readers.npz3d import Row, read_cameras, read_people, samples
from posesyn_datasets.readers.recordings import Recording

SOURCE = (
    "unpack the official archives of http://vision.imar.ro/human3.6m there, or what mmpose's preprocess_h36m.py makes "
    "of them"
)
PARTIAL = "or name what you have with the option subjects"
SUBJECTS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
POSES_2D, POSES_3D = "MyPoseFeatures/D2_Positions", "MyPoseFeatures/D3_Positions_mono"
OFFICIAL_JOINTS = 32
KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Which of the 32 joints, of which several are one point, are the usual 17."""
WHOLE_TAKE = "_ALL"
"""What is called so joins a subject's recordings once more."""
FRONTAL = "60457274"
"""The camera of protocol 2."""
NAME = re.compile(r"(?P<subject>S\d+)_.*\.(?P<camera>\d+)_(?P<frame>\d+)\.\w+$")


@define
class Human36mConfig:
    """Where Human3.6M lies, and which of its frames to read; the defaults are those of protocol 2.

    Get it from http://vision.imar.ro/human3.6m (register): the poses D2_Positions and D3_Positions_mono and the videos
    of every subject, unpacked in ``root`` (S1/MyPoseFeatures/..., S1/Videos; read with cdflib and PyAV), or converted
    with mmpose's preprocess_h36m.py (annotation_body3d, images).
    """

    root: Path = option(NOTHING, "folder of the data set, with S1, S5, ..., or with annotation_body3d and images")
    split: Literal["train", "test"] = option("test", "train (S1, S5, S6, S7, S8) or test (S9, S11)")
    annotations: str = option("annotation_body3d/fps50/h36m_{split}.npz", "annotation file below root")
    cameras: str = option("annotation_body3d/cameras.pkl", "camera file below root")
    images: str = option("", "image folder below root, or its address (s3://...); empty = images, or root itself")
    views: Literal["protocol", "all"] = option(
        "protocol", "cameras: 'protocol' = of the test split only the frontal one (protocol 2), 'all' = all four"
    )
    subjects: tuple[str, ...] = option(
        (), "only these of the split's subjects, as S9; empty = all, for which all must be there"
    )
    follow_links: bool = follow_links()
    stride: int = option(5, "read every n-th frame of a recording, by its number; 5 = as SPIN does", least=1)


PROTOCOL_2 = EvaluationProtocol(("mpjpe", "pa_mpjpe"), H36M_14, ("pelvis",))
"""As HMR and SPIN measure it: 14 joints, relative to the pelvis, also after Procrustes alignment."""


def human36m(config: Human36mConfig) -> "Human36mReader | Human36mRecordings":
    """The reader of the layout that lies in ``root``."""
    official = any((config.root / subject / POSES_3D).is_dir() for subject in SUBJECTS[config.split])
    converted = (config.root / config.annotations.format(split=config.split)).is_file()
    return Human36mRecordings(config) if official and not converted else Human36mReader(config)


@define
class Human36mRecordings:
    """Reads the official archives; ids as of the converted ones.

    A recording that can't be read (those of S11 have a damaged one) is rejected as a whole.
    """

    config: Human36mConfig
    protocol: EvaluationProtocol = field(init=False, default=PROTOCOL_2)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by subject, recording and frame."""
        optional_module("cdflib", "cdf")
        prefix, stride = f"human36m/{self.config.split}", self.config.stride

        def read(found: tuple[str, str, Path]) -> Iterator[SampleOrRejection]:
            recording = self._recording(*found)
            yield from recordings.samples(recording, np.arange(0, len(recording.joints), stride), prefix)

        takes = [(subject, path) for subject in self._subjects for path in self._poses(subject)]
        named = ((f"{subject}_{path.stem.replace(' ', '_')}", subject, path) for subject, path in takes)
        yield from read_files(
            ((f"{prefix}/{subject}/{name}/{name}", (subject, name, path)) for name, subject, path in named), read
        )

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        for subject in self._subjects:
            self._poses(subject)

    @property
    def _subjects(self) -> tuple[str, ...]:
        return chosen(SUBJECTS[self.config.split], self.config.subjects, "human36m")

    def _poses(self, subject: str) -> list[Path]:
        """The files of 3D poses that the protocol uses."""
        root = existing_root(self.config.root, "human36m")
        extracted = bool(self._images)
        needed = [POSES_2D, POSES_3D, *([] if extracted else ["Videos"])]
        expect_layout(root, [f"{subject}/{folder}" for folder in needed], "human36m", f"{SOURCE}; {PARTIAL}")
        camera = FRONTAL if self.config.split == "test" and self.config.views == "protocol" else "*"
        found = in_order((root / subject / POSES_3D).glob(f"*.{camera}.cdf"))
        if not found:
            raise UserError(f"there is no recording *.{camera}.cdf in {str(root / subject / POSES_3D)!r}; {SOURCE}")
        return [path for path in found if not path.name.startswith(WHOLE_TAKE)]

    @property
    def _images(self) -> str:
        """The folder of extracted frames below the root, if there is one."""
        return self.config.images or ("images" if (self.config.root / "images").is_dir() else "")

    def _recording(self, subject: str, name: str, path: Path) -> Recording:
        pixels = _read_poses(self.config.root / subject / POSES_2D / path.name, 2)
        joints = _read_poses(path, 3)
        check_units(joints, H36M17.name, "millimetres", path)
        labels = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1))], -1)
        folder = self._images
        return Recording(
            name=f"{subject}/{name}/{name}",
            labels=labels,
            joints=UNITS["millimetres"] * joints,
            joint_set=H36M17.name,
            files=Pictures(self.config.root, follow_links=self.config.follow_links),
            video="" if folder else f"{subject}/Videos/{path.stem}.mp4",
            pictures=f"{folder}/{subject}/{name}/{name}_{{:06d}}.jpg",
        )


def _read_poses(path: Path, dimensions: int) -> Floats:
    """(N, 17, dimensions) of a CDF file; SampleError if it is missing or damaged, UserError if it has other joints."""
    try:
        values = read_apart(load_cdf, path)
    except Exception as error:  # cdflib raises whatever a damaged file leads it to
        raise SampleError(f"{path.parent.name}/{path.name} is no CDF file with a variable 'Pose': {error}") from error
    if values.shape[-1] != OFFICIAL_JOINTS * dimensions:
        raise UserError(
            f"'Pose' in {str(path)!r} must have {OFFICIAL_JOINTS} joints of {dimensions} numbers, not "
            f"{values.shape[-1]} numbers: is it the right file?"
        )
    return values.reshape(-1, OFFICIAL_JOINTS, dimensions)[:, list(KEPT)]


@define
class Human36mReader:
    """Reads what mmpose's converter makes; ids: ``human36m/<split>/<image>``."""

    config: Human36mConfig
    protocol: EvaluationProtocol = field(init=False, default=PROTOCOL_2)

    def __len__(self) -> int:
        return len(self._people)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the annotation file."""
        config = self.config
        people, cameras = self._people, read_cameras(config.root / config.cameras)
        images = find_images(config.root, config.images, ["images"], follow_links=config.follow_links)
        yield from samples(people, cameras, _camera, images, H36M17.name, f"human36m/{config.split}")

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._annotations

    @property
    def _annotations(self) -> Path:
        root = existing_root(self.config.root, "human36m")
        annotations = self.config.annotations.format(split=self.config.split)
        expect_layout(root, [annotations, self.config.cameras], "human36m", SOURCE)
        return root / annotations

    @cached_property
    def _people(self) -> list[Row]:
        return read_people(self._annotations, H36M17.name, self._wanted)

    def _wanted(self, image: str) -> bool:
        """Whether the protocol uses the frame; one with a foreign name is kept, to be rejected by name."""
        found = NAME.search(image)
        if found is None:
            return True
        if self.config.subjects and found["subject"] not in self.config.subjects:
            return False
        seen = self.config.views == "all" or self.config.split == "train" or found["camera"] == FRONTAL
        return seen and (int(found["frame"]) - 1) % self.config.stride == 0


def _camera(image: str) -> tuple[str, str]:
    """The camera's key in the camera file: subject and serial number; ("", "") for a foreign name."""
    found = NAME.search(image)
    return (found["subject"], found["camera"]) if found else ("", "")
