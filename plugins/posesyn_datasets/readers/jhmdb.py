"""JHMDB, Joint-annotated Human Motion Data Base (Jhuang et al., ICCV 2013): 928 clips, 15 joints of a puppet in 2D.

From http://jhmdb.is.tue.mpg.de, ``joint_positions``, ``Rename_Images`` and ``splits`` (or ``sub_splits``, for
sub-JHMDB) unpacked in ``root``::

    root/joint_positions/<action>/<clip>/joint_positions.mat    pos_img (2, 15, F): x, y in pixels
    root/Rename_Images/<action>/<clip>/00001.png ...
    root/splits/<action>_test_split1.txt ...                    lines "<clip>.avi 1" (training) or 2 (test)

or the COCO-style JSON of mmpose (``root/annotations/Sub1_test.json``, images below ``root``), named by the option
``annotations``. Both count pixels from 1, as MATLAB does, so 1 is subtracted.

The puppet's joints go on outside the picture; those are taken for not labelled. JHMDB has neither head boxes nor a
head top: its "face" is the head's middle, so twice its distance from the neck is taken for the head size of PCKh.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from attrs import NOTHING, define, field

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import Pictures, in_order
from posesyn_core.files.paths import inside
from posesyn_core.files.reading import read_text, reading
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.geometry.naming import Naming, naming, unnamed
from posesyn_core.geometry.skeletons import JHMDB15
from posesyn_core.values import EvaluationProtocol, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import (
    as_object,
    build_each,
    existing_root,
    key,
    keypoints,
    load_json,
    read_files,
)
from posesyn_datasets.readers.checks import Floats, expect_keys, expect_layout, expect_shape
from posesyn_datasets.readers.foreign import read_mat

EXPECTED = "JHMDB's joint_positions.mat with 'pos_img', 2 x 15 x the number of frames"
EXPECTED_JSON = "a COCO-style object with 'images' and 'annotations' that have 15 'keypoints'"
SOURCE = "unpack the archives of http://jhmdb.is.tue.mpg.de there, or name mmpose's JSON with the option 'annotations'"
SIZE = (320, 240)
"""Width and height of all clips."""
FIRST_PIXEL = 1.0
HEADS_PER_FACE = 2.0
"""Head sizes (neck to head top) per distance from neck to face."""
FLAGS = {"train": "1", "test": "2"}
KNOWN_FLAGS = ("0", "1", "2")
"""0 is neither, as in HMDB's lists."""


@define
class JhmdbConfig:
    """Where JHMDB lies, and which frames of it to read.

    Get it from http://jhmdb.is.tue.mpg.de; ``root`` holds ``joint_positions``, ``Rename_Images`` and ``splits``.
    """

    root: Path = option(NOTHING, "folder of the data set, with joint_positions, Rename_Images and splits")
    split: Literal["train", "test"] = option("test", "which clips: train or test")
    fold: int = option(1, "which of the three official splits: 1, 2 or 3", least=1, most=3)
    splits: str = option("splits", "folder of the split lists below root; sub_splits for sub-JHMDB")
    annotations: str = option("", "mmpose's JSON below root, instead of the official files")
    stride: int = option(1, "read every n-th frame of a clip; 1 = all, as the official evaluation does", least=1)
    follow_links: bool = follow_links()


@define(slots=False)  # cached_property needs a __dict__
class JhmdbReader:
    """Reads JHMDB; ids: ``jhmdb/<split>/<action>/<clip>/<frame>`` (mmpose's JSON: ``.../<image>-<annotation id>``)."""

    config: JhmdbConfig
    protocol: EvaluationProtocol = field(init=False, default=EvaluationProtocol((), pckh=0.6))
    """The paper's PCKh: joints within 0.6 head sizes."""

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by action, clip and frame, or in the JSON's order."""
        root = existing_root(self.config.root, "jhmdb")
        if self.config.annotations:
            yield from build_each(_json_entries(root / self.config.annotations, self.config.split), self._sample)
        else:
            clips, broken = self._clips
            yield from broken
            named = ((f"jhmdb/{self.config.split}/{clip}", clip) for clip in clips)
            yield from read_files(named, lambda clip: build_each(self._frames(clip), self._sample))

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        root = existing_root(self.config.root, "jhmdb")
        if self.config.annotations:
            expect_layout(root, [self.config.annotations], "jhmdb", SOURCE)
        else:
            _ = self._clips

    @cached_property
    def _clips(self) -> tuple[list[str], list[tuple[str, str]]]:
        """``<action>/<clip>`` of the split, and (id, reason) of lines that say neither this split nor another."""
        root, fold = self.config.root, self.config.fold
        expect_layout(root, ["joint_positions", "Rename_Images", self.config.splits], "jhmdb", SOURCE)
        folder = root / self.config.splits
        lists = [
            (path, found[1])
            for path in in_order(folder.glob(f"*_test_split*{fold}.txt"))
            if (found := re.fullmatch(rf"(.+)_test_split_?{fold}\.txt", path.name))  # sub-JHMDB's have the underscore
        ]
        if not lists:
            raise UserError(f"{str(folder)!r} has no lists <action>_test_split{fold}.txt; {SOURCE}")
        clips, broken = [], []
        for path, action in lists:
            for number, line in enumerate(read_text(path, "split list").splitlines(), 1):
                name, _, flag = line.strip().rpartition(" ")
                if flag == FLAGS[self.config.split]:
                    clips.append(f"{action}/{name.removesuffix('.avi')}")
                elif line.strip() and flag not in KNOWN_FLAGS:
                    reason = f"line {number} of {path.name} is not '<clip>.avi <1 or 2>'"
                    broken.append((f"jhmdb/{self.config.split}/{action}/line-{number}", reason))
        if not clips and not broken:
            raise UserError(f"the lists in {str(folder)!r} name no clip of the split {self.config.split!r}; {SOURCE}")
        return clips, broken

    def _frames(self, clip: str) -> Iterator[tuple[str, tuple[str, Floats]]]:
        path = inside(
            self.config.root, f"joint_positions/{clip}/joint_positions.mat", follow_links=self.config.follow_links
        )
        variables = read_mat(path, ["pos_img"], EXPECTED)
        joints = expect_shape(variables["pos_img"], (2, len(JHMDB15), None), "pos_img", path).transpose(2, 1, 0)
        if not len(joints):
            raise SampleError("it has no frames")
        for at in range(0, len(joints), self.config.stride):
            name = f"{clip}/{at + 1:05d}"
            yield f"jhmdb/{self.config.split}/{name}", (f"Rename_Images/{name}.png", joints[at])

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(self.config.root, follow_links=self.config.follow_links)

    def _sample(self, sample_id: str, entry: tuple[str, Any]) -> Sample:
        image, joints = entry
        if not image:
            raise SampleError("the file lists no image with this person's image_id")
        joints = _json_joints(*joints) if isinstance(joints, tuple) else joints
        points = np.asarray(joints, np.float64) - FIRST_PIXEL
        if points.shape != (len(JHMDB15), 2):
            raise SampleError(f"{len(JHMDB15)} joints expected, not an array of shape {points.shape}")
        seen = ((points >= 0) & (points <= np.subtract(SIZE, 1))).all(1)
        labelled, confidence = keypoints(points, seen, len(JHMDB15))
        return Sample(
            id=sample_id,
            image=self._pictures.find(image),
            box=joint_boxes(labelled, confidence > 0),
            joint_set=JHMDB15.name,
            keypoints2d=labelled,
            confidence=confidence,
            head_size=_head_size(points),
        )


def _head_size(points: Floats) -> float | None:
    neck, face = (points[JHMDB15.joints.index(joint)] for joint in ("neck", "face"))
    size = HEADS_PER_FACE * float(np.linalg.norm(face - neck))
    return size if np.isfinite(size) and size > 0 else None


def _json_entries(path: Path, split: str) -> Iterator[tuple[str, tuple[str, Any]]]:
    """(id, (image, joints (15, 2))) of mmpose's JSON, its joints by their names if it has them."""
    document = expect_keys(load_json(path, EXPECTED_JSON), ("images", "annotations"), path, EXPECTED_JSON)
    with reading(path, "annotation file", EXPECTED_JSON):
        images = {key(image["id"]): str(image["file_name"]) for image in document["images"]}
        people = [as_object(person) for person in document["annotations"]]
        named = [category["keypoints"] for category in document.get("categories", ()) if category.get("keypoints")]
    kind = naming(named[0], JHMDB15.name, wanted=JHMDB15.name) if named else unnamed(JHMDB15.name)
    for at, person in enumerate(people):
        image = images.get(key(person.get("image_id")), "")
        number = key(person.get("id", f"entry-{at}"))
        yield (
            f"jhmdb/{split}/{PurePosixPath(image).with_suffix('') if image else 'none'}-{number}",
            (image, (kind, person)),
        )


def _json_joints(kind: Naming, person: dict[str, Any]) -> Floats:
    rows = np.asarray(person["keypoints"], np.float64)
    if rows.size != 3 * kind.count:
        raise SampleError(f"{kind.count} joints of 3 numbers expected, not {rows.size} numbers")
    return kind.take(rows.reshape(kind.count, 3))[:, :2]
