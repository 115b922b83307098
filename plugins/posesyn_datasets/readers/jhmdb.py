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

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import NOTHING, define, field

from posesyn_core import option
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import inside
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.geometry.skeletons import JHMDB15
from posesyn_core.values import EvaluationProtocol, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import build_each, existing_root, keypoints, load_json
from posesyn_datasets.readers.checks import Floats, expect_keys, expect_layout, expect_shape, read_mat

EXPECTED = "JHMDB's joint_positions.mat with 'pos_img', 2 x 15 x the number of frames"
EXPECTED_JSON = "a COCO-style object with 'images' and 'annotations' that have 15 'keypoints'"
SOURCE = "unpack the archives of http://jhmdb.is.tue.mpg.de there, or name mmpose's JSON with the option 'annotations'"
SIZE = (320, 240)
"""Width and height of all clips."""
FIRST_PIXEL = 1.0
HEADS_PER_FACE = 2.0
"""Head sizes (neck to head top) per distance from neck to face."""
FLAGS = {"train": "1", "test": "2"}


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


@define
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
            for clip in self._clips:
                yield from build_each(self._frames(clip), self._sample)

    @cached_property
    def _clips(self) -> list[str]:
        """``<action>/<clip>`` of the split."""
        root, fold = self.config.root, self.config.fold
        expect_layout(root, ["joint_positions", "Rename_Images", self.config.splits], "jhmdb", SOURCE)
        lists = sorted((root / self.config.splits).glob(f"*_test_split{fold}.txt"))
        if not lists:
            raise UserError(f"{str(root / self.config.splits)!r} has no lists <action>_test_split{fold}.txt; {SOURCE}")
        return [
            f"{path.name.removesuffix(f'_test_split{fold}.txt')}/{name.removesuffix('.avi')}"
            for path in lists
            for name, _, flag in (line.strip().rpartition(" ") for line in path.read_text("utf-8").splitlines())
            if flag == FLAGS[self.config.split]
        ]

    def _frames(self, clip: str) -> Iterator[tuple[str, tuple[str, Floats]]]:
        path = self.config.root / "joint_positions" / clip / "joint_positions.mat"
        variables = read_mat(path, ["pos_img"], EXPECTED)
        joints = expect_shape(variables["pos_img"], (2, len(JHMDB15), None), "pos_img", path).transpose(2, 1, 0)
        for at in range(0, len(joints), self.config.stride):
            name = f"{clip}/{at + 1:05d}"
            yield f"jhmdb/{self.config.split}/{name}", (f"Rename_Images/{name}.png", joints[at])

    def _sample(self, sample_id: str, entry: tuple[str, Any]) -> Sample:
        image, joints = entry
        points = np.asarray(joints, np.float64) - FIRST_PIXEL
        if points.shape != (len(JHMDB15), 2):
            raise SampleError(f"{len(JHMDB15)} joints expected, not an array of shape {points.shape}")
        seen = ((points >= 0) & (points <= np.subtract(SIZE, 1))).all(1)
        labelled, confidence = keypoints(points, seen, len(JHMDB15))
        return Sample(
            id=sample_id,
            image=inside(self.config.root, image),
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
    """(id, (image, joints (15, 2))) of mmpose's JSON."""
    if not path.is_file():
        raise UserError(f"annotation file {str(path)!r} does not exist; check the option 'annotations'")
    document = expect_keys(load_json(path, EXPECTED_JSON), ("images", "annotations"), path, EXPECTED_JSON)
    try:
        images = {image["id"]: str(image["file_name"]) for image in document["images"]}
        people = [(images[person["image_id"]], person["id"], person["keypoints"]) for person in document["annotations"]]
    except (KeyError, TypeError) as error:
        raise UserError(f"annotation file {str(path)!r} lacks {error}; expected {EXPECTED_JSON}") from error
    for image, number, flat in people:
        rows = np.asarray(flat, np.float64)
        joints = rows.reshape(-1, 3)[:, :2] if rows.size % 3 == 0 else rows
        yield f"jhmdb/{split}/{Path(image).with_suffix('')}-{number}", (image, joints)
