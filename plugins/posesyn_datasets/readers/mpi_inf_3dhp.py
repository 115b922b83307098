"""MPI-INF-3DHP (Mehta et al., 3DV 2017): actors in a studio and outdoors, 17 joints in 2D and 3D.

From https://vcai.mpi-inf.mpg.de/3dhp-dataset. Either the official release as its scripts download it::

    root/S1/Seq1/annot.mat                        annot2, annot3 (14, 1) cells: (N, 56) pixels, (N, 84) mm, 28 joints
    root/S1/Seq1/imageSequence/video_0.avi        (or the frames, extracted to root/images as below)
    root/mpi_inf_3dhp_test_set/TS1/annot_data.mat annot2 (N, 1, 17, 2), annot3 and univ_annot3 (N, 1, 17, 3) mm,
                                                  valid_frame (N, 1)
    root/mpi_inf_3dhp_test_set/TS1/imageSequence/img_000001.jpg ...

(S1 also below ``train``, TS1 also in ``root`` itself or below ``test``), or what mmpose's
``tools/dataset_converters/preprocess_mpi_inf_3dhp.py`` makes of it, pictures and npz files::

    root/annotations/mpi_inf_3dhp_train.npz, mpi_inf_3dhp_test_valid.npz
    root/annotations/cameras_train.pkl, cameras_test.pkl
    root/images/S1_Seq1_Cam0_000001.jpg, TS1_000001.jpg ...

Samples have the 17 joints of the official evaluation, in 3D absolute in the camera frame, metres; the evaluation
subtracts the pelvis. The official evaluation of the test set, and with it the published figures of SPIN, HybrIK and
others, takes ``univ_annot3``: every actor scaled to the height of one "universal" skeleton. So does this reader of the
official release where the file has it; the training set's truth is ``annot3``, the actors as they are, as everybody
trains with. The converted form has ``annot3`` alone: figures on its test set are not comparable with published ones
(SPIN's published MPJPE is 105 mm; with ``annot3`` a user got 119, https://github.com/nkolot/SPIN/issues/80).
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import NOTHING, define, field
from numpy.typing import NDArray

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import UserError
from posesyn_core.files.locating import Pictures
from posesyn_core.geometry.skeletons import MPI3DHP17
from posesyn_core.geometry.units import UNITS, check_units
from posesyn_core.values import EvaluationProtocol, SampleOrRejection
from posesyn_datasets.readers import recordings
from posesyn_datasets.readers.annotations import existing_root, find_images, read_files
from posesyn_datasets.readers.checks import (
    Floats,
    chosen,
    expect_layout,
    expect_shape,
    optional_module,
)
from posesyn_datasets.readers.foreign import read_hdf5, read_mat
from posesyn_datasets.readers.npz3d import Row, read_cameras, read_people, samples
from posesyn_datasets.readers.recordings import Recording

SOURCE = (
    "download https://vcai.mpi-inf.mpg.de/3dhp-dataset there, or make them of it with mmpose's "
    "preprocess_mpi_inf_3dhp.py"
)
PLACES = {"train": ("", "train"), "test": ("mpi_inf_3dhp_test_set", "test", "")}
"""Where the subjects' folders of the official release may lie below root."""
SEQUENCES = {
    "train": tuple(f"S{subject}/Seq{sequence}" for subject in range(1, 9) for sequence in (1, 2)),
    "test": tuple(f"TS{subject}" for subject in range(1, 7)),
}
SUBJECTS = {split: tuple(dict.fromkeys(name.partition("/")[0] for name in names)) for split, names in SEQUENCES.items()}
PARTIAL = "or name what you have with the option subjects"
ANNOTATIONS = {"train": "annot.mat", "test": "annot_data.mat"}
CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
"""The eight of fourteen that stand around the actors at the height of chest and knees, which everybody trains with."""
KEPT = (7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6)
"""Which of the 28 joints of the training set are the 17 of the test set."""
OFFICIAL_JOINTS = 28
HDF5_KEYS = ("annot2", "annot3", "valid_frame")
UNIVERSAL = "univ_annot3"
"""The test set's joints as the official evaluation takes them."""
STUDIO, OUTDOORS = (2048, 2048), (1920, 1080)
"""Width and height of the pictures; TS5 and TS6 were filmed outdoors."""
FILES = {"train": "annotations/mpi_inf_3dhp_train.npz", "test": "annotations/mpi_inf_3dhp_test_valid.npz"}
NAME = re.compile(r"(?P<camera>TS\d+|S\d+_Seq\d+_Cam\d+)_(?P<frame>\d+)\.\w+$")


@define
class MpiInf3dhpConfig:
    """Where MPI-INF-3DHP lies; the defaults are those of the official test: all valid frames.

    The official release's test truth is the published protocol's (univ_annot3); the converted form lacks that.
    Get it from https://vcai.mpi-inf.mpg.de/3dhp-dataset and read it as it is (S1/Seq1/annot.mat, ...; the videos with
    PyAV, the test set with h5py), or converted with mmpose's preprocess_mpi_inf_3dhp.py (annotations, images).
    """

    root: Path = option(NOTHING, "folder of the data set, with S1, S2, ..., or with annotations and images")
    split: Literal["train", "test"] = option("test", "train (S1 ... S8) or test (TS1 ... TS6)")
    annotations: str = option("", "annotation file below root; empty = the converter's")
    cameras: str = option("annotations/cameras_{split}.pkl", "camera file below root")
    images: str = option("", "image folder below root, or its address (s3://...); empty = images, or root itself")
    subjects: tuple[str, ...] = option(
        (), "only these of the split's subjects, as S1 or TS3; empty = all, for which all must be there"
    )
    follow_links: bool = follow_links()
    stride: int = option(
        1, "read every n-th row of the annotation file, or frame; 1 = all valid frames (official)", least=1
    )


OFFICIAL = EvaluationProtocol(("pck", "auc", "mpjpe", "pa_mpjpe"), MPI3DHP17.joints, ("pelvis",))
"""PCK at 150 mm, AUC and MPJPE over 17 joints, relative to the pelvis."""


def mpi_inf_3dhp(config: MpiInf3dhpConfig) -> "MpiInf3dhpReader | MpiInf3dhpRecordings":
    """The reader of the layout that lies in ``root``."""
    converted = (config.root / (config.annotations or FILES[config.split])).is_file()
    return MpiInf3dhpReader(config) if converted or _place(config) is None else MpiInf3dhpRecordings(config)


def _place(config: MpiInf3dhpConfig) -> Path | None:
    """The folder of the official release's recordings; None if there is none."""
    files = [f"{name}/{ANNOTATIONS[config.split]}" for name in SEQUENCES[config.split]]
    folders = [config.root / place for place in PLACES[config.split]]
    return next((folder for folder in folders if any((folder / file).is_file() for file in files)), None)


@define
class MpiInf3dhpRecordings:
    """Reads the official release; ids as of the converted one. 3D truth: see above."""

    config: MpiInf3dhpConfig
    protocol: EvaluationProtocol = field(init=False, default=OFFICIAL)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by subject, sequence, camera and frame."""
        folder, wanted = self._wanted()
        if self.config.split == "test":
            optional_module("h5py", "hdf5")
        read = self._filmed if self.config.split == "train" else self._tested
        named = (name.replace("/", "_") for name in wanted)
        paths = ((f"{self._prefix}/{name}", (folder / name.replace("_", "/"), name)) for name in named)
        yield from read_files(paths, lambda sequence: read(*sequence))

    @property
    def _prefix(self) -> str:
        return f"mpi_inf_3dhp/{self.config.split}"

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        self._wanted()

    def _wanted(self) -> tuple[Path, list[str]]:
        """The folder of the release, and the sequences in it that are to be read; UserError if one is not there."""
        split, folder = self.config.split, _place(self.config)
        assert folder is not None  # else this reader is not made
        subjects = chosen(SUBJECTS[split], self.config.subjects, "mpi_inf_3dhp")
        wanted = [name for name in SEQUENCES[split] if name.partition("/")[0] in subjects]
        needed = [f"{name}/{ANNOTATIONS[split]}" for name in wanted]
        expect_layout(folder, needed, "mpi_inf_3dhp", f"{SOURCE}; {PARTIAL}")
        return folder, wanted

    def _filmed(self, folder: Path, name: str) -> Iterator[SampleOrRejection]:
        """A sequence of the training set, camera after camera."""
        path = folder / ANNOTATIONS["train"]
        data = read_mat(path, ("annot2", "annot3"), "MPI-INF-3DHP's annot.mat")
        extracted = self._images

        def filmed(camera: int) -> Iterator[SampleOrRejection]:
            pixels, joints = (
                _cell(data[key], camera, dimensions, path) for key, dimensions in (("annot2", 2), ("annot3", 3))
            )
            recording = _recording(
                f"{name}_Cam{camera}",
                pixels,
                joints,
                STUDIO,
                path,
                files=self._files(extracted or folder),
                video="" if extracted else f"imageSequence/video_{camera}.avi",
                pictures=f"{name}_Cam{camera}_{{:06d}}.jpg",
            )
            yield from self._samples(recording, np.arange(len(joints)))

        yield from read_files(((f"{self._prefix}/{name}_Cam{camera}", camera) for camera in CAMERAS), filmed)

    def _tested(self, folder: Path, name: str) -> Iterator[SampleOrRejection]:
        """A sequence of the test set: its valid frames."""
        path = folder / ANNOTATIONS["test"]
        data = read_hdf5(path, HDF5_KEYS, "MPI-INF-3DHP's annot_data.mat (MATLAB 7.3)", [UNIVERSAL])
        joints = expect_shape(data["annot3"], (None, 1, 17, 3), "annot3", path)[:, 0]
        pixels = expect_shape(data["annot2"], (len(joints), 1, 17, 2), "annot2", path)[:, 0]
        universal = expect_shape(data.get(UNIVERSAL, data["annot3"]), (len(joints), 1, 17, 3), UNIVERSAL, path)[:, 0]
        valid = np.ravel(data["valid_frame"]) != 0
        if len(valid) != len(joints):
            raise UserError(f"'valid_frame' in {str(path)!r} must be {len(joints)} numbers, not {len(valid)}")
        size = OUTDOORS if name in ("TS5", "TS6") else STUDIO
        pictures = {"files": self._files(folder), "pictures": "imageSequence/img_{:06d}.jpg"}
        check_units(universal, MPI3DHP17.name, "millimetres", path)
        truth = UNITS["millimetres"] * universal
        recording = _recording(name, pixels, joints, size, path, truth=truth, **pictures)
        yield from self._samples(recording, np.flatnonzero(valid))

    def _samples(self, recording: Recording, wanted: NDArray[np.intp]) -> Iterator[SampleOrRejection]:
        yield from recordings.samples(recording, wanted[:: self.config.stride], self._prefix)

    @property
    def _images(self) -> Path | None:
        """The folder of extracted frames, if there is one."""
        folder = self.config.root / (self.config.images or "images")
        return folder if self.config.images or folder.is_dir() else None

    def _files(self, folder: Path) -> Pictures:
        return Pictures(folder, follow_links=self.config.follow_links)


def _recording(
    name: str, pixels: Floats, joints: Floats, size: tuple[int, int], path: Path, **frames: Any
) -> Recording:
    """``pixels`` (N, 17, 2) and ``joints`` (N, 17, 3) mm; what lies outside the picture is not labelled."""
    check_units(joints, MPI3DHP17.name, "millimetres", path)
    seen = ((pixels >= 0) & (pixels < size)).all(-1, keepdims=True)
    labels = np.concatenate([pixels, seen], -1)
    return Recording(name, labels, UNITS["millimetres"] * joints, MPI3DHP17.name, **frames)


def _cell(cells: Any, camera: int, dimensions: int, path: Path) -> Floats:
    """(N, 17, dimensions) of one camera."""
    if np.shape(cells)[:1] <= (camera,) or np.shape(cells)[1:] != (1,):
        raise UserError(f"{str(path)!r} has no annotations of camera {camera}: is it MPI-INF-3DHP's annot.mat?")
    rows = expect_shape(cells[camera, 0], (None, OFFICIAL_JOINTS * dimensions), f"annot{dimensions}", path)
    return rows.reshape(-1, OFFICIAL_JOINTS, dimensions)[:, list(KEPT)]


@define
class MpiInf3dhpReader:
    """Reads what mmpose's converter makes; ids: ``mpi_inf_3dhp/<split>/<image>``."""

    config: MpiInf3dhpConfig
    protocol: EvaluationProtocol = field(init=False, default=OFFICIAL)

    def __len__(self) -> int:
        return len(self._people)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the annotation file."""
        config = self.config
        people, cameras = self._people, read_cameras(config.root / config.cameras.format(split=config.split))
        images = find_images(config.root, config.images, ["images"], follow_links=config.follow_links)
        yield from samples(people, cameras, _camera, images, MPI3DHP17.name, f"mpi_inf_3dhp/{config.split}")

    def _wanted(self, image: str) -> bool:
        """Whether it is of a wanted subject; one with a foreign name is kept, to be rejected by name."""
        return not self.config.subjects or _subject(image) in ("", *self.config.subjects)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._annotations

    @property
    def _annotations(self) -> Path:
        root = existing_root(self.config.root, "mpi_inf_3dhp")
        annotations = self.config.annotations or FILES[self.config.split]
        expect_layout(root, [annotations, self.config.cameras.format(split=self.config.split)], "mpi_inf_3dhp", SOURCE)
        return root / annotations

    @cached_property
    def _people(self) -> list[Row]:
        return read_people(self._annotations, MPI3DHP17.name, self._wanted)[:: self.config.stride]


def _subject(image: str) -> str:
    return _camera(image).partition("_")[0]


def _camera(image: str) -> str:
    """The camera's key in the camera file: the recording."""
    found = NAME.search(image)
    return found["camera"] if found else ""
