"""AGORA (Patel et al., CVPR 2021): rendered scans of 5 to 15 people, with the joints of SMPL fitted to the scans.

From https://agora.is.tue.mpg.de (register), unpacked in ``root``: the images and the camera dataframes "with SMPL
joints and vertices"::

    root/validation/ag_validationset_..._00000.png   (or ..._00000_1280x720.png)
    root/train_0/ag_trainset_..._00000.png ... train_9
    root/validation_SMPL/SMPL/validation_0_withjv.pkl ... 9
    root/SMPL/train_0_withjv.pkl ... 9

A dataframe is a pickled pandas table with a row per image: ``imgPath``, and lists with an entry per person:
``isValid`` (no more than 90 % occluded), ``gt_joints_2d`` (45, 2) pixels of the picture of 3840 x 2160, and
``gt_joints_3d`` (45, 3) metres, camera frame. The first 24 joints are SMPL's. It is read without pandas, and without
running code. The cameras' focal lengths follow from the pictures' names, as in the official ``projection.py``.

The fits' parameters lie in other files, in a frame of their own, and are not read: samples have ``joints3d`` relative
to the pelvis, metres, but no ``smpl``, so that vertex errors (MVE, NMVE) can't be measured.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from attrs import NOTHING, define, field

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import Pictures, in_order
from posesyn_core.files.reading import reading
from posesyn_core.files.unpickle import load_pickle
from posesyn_core.geometry.boxes import check_box, joint_boxes
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.geometry.units import check_person, check_units
from posesyn_core.values import Camera, EvaluationProtocol, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import build_each, existing_root, keypoints, read_files
from posesyn_datasets.readers.checks import Floats, expect_keys, expect_layout

KEYS = ("imgPath", "isValid", "gt_joints_2d", "gt_joints_3d")
EXPECTED = f"a camera dataframe of AGORA with SMPL joints, a table with {', '.join(KEYS)}"
SOURCE = "unpack the images and the camera dataframes with SMPL joints of https://agora.is.tue.mpg.de there"
JOINTS = len(SMPL24)
SIZE = np.array([3840.0, 2160.0])
SENSOR_MM = np.array([36.0, 20.25])
FOCAL_LENGTHS_MM = (("hdri", 50.0), ("cam00", 18.0), ("cam01", 18.0), ("cam02", 18.0), ("cam03", 18.0), ("", 28.0))
"""By what the picture's name contains; the first that fits."""

Entry = tuple[Pictures, Mapping[str, Any], int]
"""The images, a row, and which of its people."""


@define
class AgoraConfig:
    """Where AGORA lies, and which split to read (the test split has no public truth).

    Get it from https://agora.is.tue.mpg.de: the images of either size, and the camera dataframes with SMPL joints and
    vertices; ``root`` holds validation and validation_SMPL, or train_0 ... train_9 and SMPL.
    """

    root: Path = option(NOTHING, "folder of the data set, with validation and validation_SMPL, or train_0 ... and SMPL")
    split: Literal["validation", "train"] = option("validation", "which images: validation or train")
    follow_links: bool = follow_links()


@define(slots=False)  # cached_property needs a __dict__
class AgoraReader:
    """Reads AGORA; ids: ``agora/<split>/<image>-<person>``, people in the order of the dataframe."""

    config: AgoraConfig
    protocol: EvaluationProtocol = field(
        init=False, default=EvaluationProtocol(("mpjpe", "nmje", "pa_mpjpe"), SMPL24.joints, ("pelvis",))
    )
    """The official B-MPJPE and B-NMJE: all 24 joints of SMPL, relative to the pelvis; NMJE divides by the F1 score.

    The official evaluation matches detections with people; here every person's box is given, so an estimate belongs
    to its person and none is false.
    """

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by dataframe, row and person."""
        named = ((f"agora/{self.config.split}/{path.stem}", path) for path in self._files)
        yield from read_files(named, self._dataframe)

    def _dataframe(self, path: Path) -> Iterator[SampleOrRejection]:
        table = expect_keys(load_pickle(path), KEYS, path, EXPECTED)
        with reading(path, "annotation file", EXPECTED):
            rows = {name: len(table[name]) for name in KEYS}
            if len(set(rows.values())) > 1:
                told = ", ".join(f"{name} {count}" for name, count in rows.items())
                raise UserError(f"the columns of {str(path)!r} have different numbers of rows: {told}")
            _check_units(table, path)
            expect_layout(self.config.root, [_images(path)], "agora", SOURCE)
            pictures = Pictures(self.config.root / _images(path), follow_links=self.config.follow_links)
            yield from build_each(_people(table, pictures, self.config.split), _sample)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._files

    @cached_property
    def _files(self) -> list[Path]:
        root, split = existing_root(self.config.root, "agora"), self.config.split
        files = in_order(
            path for start in ("SMPL", f"{split}_SMPL/SMPL") for path in root.glob(f"{start}/{split}_*_withjv.pkl")
        )
        if not files:
            raise UserError(f"{str(root)!r} has no {split}_SMPL/SMPL/{split}_0_withjv.pkl or SMPL/...; {SOURCE}")
        return files


def _images(path: Path) -> str:
    """The folder of a dataframe's images: validation, train_0, ..."""
    part = path.name.removesuffix("_withjv.pkl")
    return "validation" if part.startswith("validation") else part


def _people(table: Mapping[str, Any], pictures: Pictures, split: str) -> Iterator[tuple[str, Entry]]:
    """The id and the entry of everybody; a row that says of nobody whether they are valid counts as one."""
    for at, name in enumerate(table["imgPath"]):
        row = {key: table[key][at] for key in KEYS}
        count = len(row["isValid"]) if isinstance(row["isValid"], list | tuple | np.ndarray) else 1
        for person in range(count):
            yield f"agora/{split}/{PurePosixPath(str(name)).stem}-{person}", (pictures, row, person)


def _check_units(table: Mapping[str, Any], path: Path) -> None:
    people = [person for row in table["gt_joints_3d"] if isinstance(row, list | tuple | np.ndarray) for person in row]
    known = [person[:JOINTS] for person in map(_numbers, people) if person.shape[1:] == (3,) and len(person) >= JOINTS]
    if known:
        check_units(np.stack(known), SMPL24.name, "metres", path)


def _numbers(person: Any) -> Floats:
    """An array; empty where there is none."""
    try:
        return np.asarray(person, np.float64)
    except (TypeError, ValueError, OverflowError):  # rejected one by one
        return np.empty(0)


def _sample(sample_id: str, entry: Entry) -> Sample:
    pictures, row, person = entry
    if not row["isValid"][person]:
        raise SampleError("AGORA marks the person as invalid (more than 90 % occluded)")
    pixels, joints = (np.asarray(row[key][person], np.float64) for key in ("gt_joints_2d", "gt_joints_3d"))
    if pixels.ndim != 2 or len(pixels) < JOINTS or joints.shape != (len(pixels), 3) or not np.isfinite(joints).all():
        raise SampleError(f"{JOINTS} or more finite joints expected, not arrays of {pixels.shape} and {joints.shape}")
    joints = joints[:JOINTS].astype(np.float32)
    check_person(joints, SMPL24.name)
    image, scale = _picture(pictures, str(row["imgPath"]))
    labels, confidence = keypoints(scale * pixels[:JOINTS], np.ones(JOINTS), JOINTS)
    box = joint_boxes(labels)
    check_box(box, *(scale * SIZE))
    return Sample(
        id=sample_id,
        image=image,
        box=box,
        joint_set=SMPL24.name,
        keypoints2d=labels,
        confidence=confidence,
        camera=_camera(image.name, scale),
        joints3d=joints - joints[0],
    )


def _picture(pictures: Pictures, name: str) -> tuple[Path, float]:
    """The picture as it was downloaded, large or small, and its scale relative to the large one."""
    for suffix, scale in ((".png", 1.0), ("_1280x720.png", 1 / 3)):
        path = pictures.find(f"{name.removesuffix('.png')}{suffix}")
        if path.is_file():
            return path, scale
    raise SampleError(f"the picture {name} is missing in {pictures.root.name}")


def _camera(name: str, scale: float) -> Camera:
    focal = next(length for part, length in FOCAL_LENGTHS_MM if part in name)
    pixels = focal / SENSOR_MM * SIZE * scale
    return Camera(pixels.astype(np.float32), (SIZE * scale / 2).astype(np.float32))
