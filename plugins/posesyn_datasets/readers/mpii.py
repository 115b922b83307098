"""MPII Human Pose (Andriluka et al., CVPR 2014): 16 joints, one or several people an image.

From http://human-pose.mpi-inf.mpg.de: the images, unpacked to ``root/images``, and either the annotations of the
official release (``mpii_human_pose_v1_u12_1.mat``, as it is unpacked or directly in ``root``) or their JSON form made
for HRNet (``root/annot/train.json``, ``valid.json``, ...).

Both count pixels from 1, as MATLAB does: the centre of the first pixel is (1, 1). Here it is (0, 0), so 1 is
subtracted from all joints and centres, as HRNet's loader does. MATLAB and HRNet show pictures as they are stored,
whatever EXIF says of their orientation; so joints are taken for those of the stored pictures (option ``pixels``).
"""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import NOTHING, define, field, frozen

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.apart import read_apart
from posesyn_core.files.locating import Pictures, PicturesAt
from posesyn_core.files.reading import reading, reason_of
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.values import FloatArray, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import (
    as_object,
    build_each,
    existing_root,
    find_annotations,
    find_images,
    keypoints,
    load_json,
)
from posesyn_datasets.readers.stored import Convention, LabelledPixels, pixels

JOINTS = 16
SCALE_UNIT = 200.0
"""MPII's ``scale`` is the person's size in units of 200 pixels."""
CENTRE_SHIFT = 15.0
"""MPII's ``center`` is moved down by this many pixels times the scale, so that a box about it holds the feet."""
OCCLUDED = 0.5
"""Confidence of a joint that is labelled but hidden."""
FIRST_PIXEL = 1.0

MAT = "mpii_human_pose_v1_u12_1.mat"
RELEASE = "MPII's official release, the MATLAB struct RELEASE with annolist, img_train and single_person"
HRNET = "HRNet's JSON, a list of people with 'image', 'joints', 'joints_vis', 'center' and 'scale'"

Entry = dict[str, Any]
"""One person with HRNet's keys."""


@define
class MpiiConfig:
    """Where MPII lies, and which people of it to read.

    Get the images and the annotations (mpii_human_pose_v1_u12_2.zip) from http://human-pose.mpi-inf.mpg.de, or HRNet's
    JSON form of these; ``root`` holds ``images`` and the .mat file, or ``annot/train.json``.
    """

    root: Path = option(NOTHING, "folder of the data set")
    split: str = option("train", "which annotations: train, valid, test or trainval; part of the sample ids")
    annotations: str = option("", "annotation file (.json or .mat) below root; empty = the usual places")
    images: str = option("", "image folder below root, or its address (s3://...); empty = root/images, or root itself")
    single_person: bool = option(
        False,
        "only people who stand alone (the paper): listed so in the .mat, or the only one of their image in the JSON",
    )
    box: Literal["joints", "scale"] = option(
        "joints",
        "person box: 'joints' = about the labelled joints, 'scale' = a square of 200 px times the official scale",
    )
    pixels: Convention = pixels("stored")
    follow_links: bool = follow_links()


@define(slots=False)  # cached_property needs a __dict__
class MpiiReader:
    """Reads MPII in either form. Ids: ``mpii/<split>/<image>-<person>``, people of an image counted from 0."""

    config: MpiiConfig
    _labelled: LabelledPixels = field(init=False, default=LabelledPixels("stored"))

    def __len__(self) -> int:
        return len(self._entries)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the annotation file."""
        self._labelled = LabelledPixels(self.config.pixels)
        yield from build_each(self._entries, self._sample)
        self._labelled.tell(self._file)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._file, self._pictures

    @cached_property
    def _file(self) -> Path:
        root, split = existing_root(self.config.root, "mpii"), self.config.split
        return find_annotations(
            root,
            self.config.annotations,
            [*(f"{place}{split}.json" for place in ("annot/", "annotations/", "annotations/mpii_", "mpii_", "")),
             MAT, f"annotations/{MAT}", f"mpii_human_pose_v1_u12_2/{MAT}"],
            opens_with="[",
            expected=f"annot/{split}.json ({HRNET}) or the official {MAT}",
        )  # fmt: skip

    @cached_property
    def _entries(self) -> list[tuple[str, Any]]:
        path, split = self._file, self.config.split
        people = _read_mat(path, split) if path.suffix == ".mat" else _read_json(path)
        return [
            (f"mpii/{split}/{Path(image).stem}-{index}", entry)
            for image, index, alone, entry in people
            if alone or not self.config.single_person
        ]

    @cached_property
    def _pictures(self) -> Pictures | PicturesAt:
        return find_images(self.config.root, self.config.images, ["images"], follow_links=self.config.follow_links)

    def _sample(self, sample_id: str, entry: Any) -> Sample:
        if isinstance(entry, Refused):
            raise SampleError(entry.reason)
        person = as_object(entry)
        joints, confidence = keypoints(person["joints"], person["joints_vis"], JOINTS)
        joints = np.where(confidence[:, None] > 0, joints - FIRST_PIXEL, 0)
        sample = Sample(
            id=sample_id,
            image=self._pictures.find(person["image"]),
            box=joint_boxes(joints, confidence > 0) if self.config.box == "joints" else _scale_box(person),
            joint_set="mpii16",
            keypoints2d=joints,
            confidence=confidence,
        )
        return self._labelled.upright(sample)


@frozen
class Refused:
    """Stands for an entry of the official release that is none, with the reason."""

    reason: str


def _scale_box(person: Entry) -> FloatArray:
    """The square of MPII's scale about its centre, HRNet's shift applied."""
    x, y = np.asarray(person["center"], np.float32) - FIRST_PIXEL
    scale = float(person["scale"])
    if not (np.isfinite([x, y, scale]).all() and scale > 0):
        raise SampleError("the person has no valid scale; use the option box = 'joints'")
    y += CENTRE_SHIFT * scale
    half = SCALE_UNIT * scale / 2
    return np.array([x - half, y - half, x + half, y + half], np.float32)


Person = tuple[str, int, bool, Any]
"""Image name, the person's number in it, whether they stand alone, and the entry in its file's own form."""


def _read_json(path: Path) -> Iterator[Person]:
    """The people of HRNet's JSON."""
    document = load_json(path, HRNET)
    if not isinstance(document, list):
        raise UserError(f"annotation file {str(path)!r} holds no list; expected {HRNET}")
    images = [str(entry.get("image", "")) if isinstance(entry, dict) else "" for entry in document]
    people, seen = Counter(images), Counter[str]()
    for image, entry in zip(images, document, strict=True):
        yield image, seen[image], people[image] == 1, entry
        seen[image] += 1


def _read_mat(path: Path, split: str) -> list[Person]:
    """The people of the official release; joints are published for its training images only."""
    if split != "train":
        raise UserError(f"{str(path)!r} has joints for the split 'train' only, not for {split!r}")
    with reading(path, "annotation file", RELEASE):
        people = read_apart(load_release, path)
        return [(*person, Refused(entry) if isinstance(entry, str) else entry) for *person, entry in people]


def load_release(path: Path) -> list[Person]:
    """The training people of a .mat file, read apart; instead of an entry the reason why it can't be one."""
    from scipy.io import loadmat

    release = loadmat(path, struct_as_record=False, squeeze_me=True)["RELEASE"]
    images = np.atleast_1d(release.annolist)
    names = [str(image.image.name) for image in images]
    training = np.atleast_1d(release.img_train) == 1
    alone = np.atleast_1d(release.single_person)
    people: list[Person] = []
    for number in np.flatnonzero(training):
        single = set(np.atleast_1d(alone[number]).tolist()) if len(alone) == len(images) else set()
        for index, rectangle in enumerate(np.atleast_1d(images[number].annorect)):
            people.append((names[number], index, index + 1 in single, _attempt(names[number], rectangle)))
    return people


def _attempt(image: str, rectangle: Any) -> Entry | str:
    try:
        return _as_hrnet(image, rectangle)
    except SampleError as error:
        return str(error)
    except Exception as error:  # whatever a broken entry leads to
        return f"malformed entry: {reason_of(error)}"


def _as_hrnet(image: str, rectangle: Any) -> Entry:
    """One ``annorect`` of the official release with HRNet's keys.

    MATLAB's quirks: fields that a person lacks are absent or empty arrays; a single point is no array; ``is_visible``
    is empty for the head (always seen), and a number or a digit in a string for the other joints.
    """
    points = getattr(getattr(rectangle, "annopoints", None), "point", None)
    if points is None or np.size(points) == 0:
        raise SampleError("no visible joint: none is labelled")
    joints, confidence = np.zeros((JOINTS, 2), np.float32), np.zeros(JOINTS, np.float32)
    for point in np.atleast_1d(points):
        if not 0 <= int(point.id) < JOINTS:
            raise SampleError(f"MPII has no joint {int(point.id)}")
        joints[int(point.id)] = point.x, point.y
        flag = np.asarray(getattr(point, "is_visible", []))
        confidence[int(point.id)] = OCCLUDED if flag.size and int(flag) == 0 else 1.0
    position = getattr(rectangle, "objpos", None)
    return {
        "image": image,
        "joints": joints,
        "joints_vis": confidence,
        "center": (getattr(position, "x", np.nan), getattr(position, "y", np.nan)),
        "scale": _number(getattr(rectangle, "scale", np.nan)),
    }


def _number(value: Any) -> float:
    return float(value) if np.size(value) == 1 else float("nan")
