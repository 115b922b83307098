"""2D detections from a JSON file, in place of labelled keypoints.

The file is one object. Its keys are sample ids, or names of image files; its values::

    {"mpii/train/000001163-0": [[x, y, confidence], ...],          one person's joints, by sample id
     "000001163.jpg": [[[x, y, confidence], ...], ...]}            everybody found in the picture, by image name

Pixels count from 0 at the centre of the first one; columns after the third are ignored. The number of rows tells the
joints: 17 are COCO's (HRNet, HigherHRNet, AlphaPose, ViTPose, Detectron2), 18 and 25 OpenPose's two models. The second
form is what the official demo reads; which of the people is the sample's is decided as by the official matching tool.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesyn_core.errors import SampleError, UserError
from posesyn_core.values import Detected, Sample
from posesyn_crowdnet.annotations import read_json
from posesyn_crowdnet.crops import Floats, as_xywh, overlap, tight_box
from posesyn_crowdnet.joints import COCO, MIDDLES, NAMES, OPENPOSE18, Names, official_joints, with_middles

BY_ROWS: Mapping[int, Names] = {17: COCO, 18: OPENPOSE18, 25: NAMES["openpose25"]}
CONFIDENT = 0.1
"""Joints count in the matching with more confidence than this."""
NEAR_ENOUGH = 1 / 15
"""A detection is the person's if its joints are that near on average, in lengths of the box's shorter side."""


class Detections:
    """The 2D joints that a detector found, looked up by sample."""

    def __init__(self, path: Path) -> None:
        """UserError if the file is missing or no JSON object."""
        found = read_json(path)
        if not isinstance(found, dict):
            raise UserError(f"detections {str(path)!r} are no JSON object of sample ids or image names")
        self.found: Mapping[str, Any] = found

    def has(self, sample: Sample) -> bool:
        """Whether the file says anything of the sample, or of its image."""
        return sample.id in self.found or _file_name(sample) in self.found

    def joints(self, sample: Sample) -> tuple[Floats, Names]:
        """The sample's joints (J, 3: x, y, confidence) and their names. SampleError if there are none of it."""
        if sample.id in self.found:
            return _person(self.found[sample.id])
        name = _file_name(sample)
        if name not in self.found:
            where = f"nor of the image {name!r}" if name else "and its image has no file name"
            raise SampleError(f"the detections have nothing of sample {sample.id!r}, {where}")
        return _same_person(sample, [_person(rows) for rows in self.found[name]])


def _file_name(sample: Sample) -> str:
    return "" if isinstance(sample.image, bytes) else PurePosixPath(sample.image.name).name


def shipped_joints(detected: Detected) -> tuple[Floats, Names]:
    """The joints that a data set ships, and their names.

    Of OpenPose's 25 the 18 of its older model are taken and the middles made from them, as the official code does.
    """
    joints = np.column_stack([detected.keypoints2d, detected.confidence]).astype(np.float64)
    if detected.joint_set == "openpose25":
        joints = joints[[BY_ROWS[25].index(name) for name in OPENPOSE18]]
        return with_middles(joints, OPENPOSE18, tuple(MIDDLES))
    return official_joints(detected.joint_set, joints[:, :2], joints[:, 2])


def _person(rows: Any) -> tuple[Floats, Names]:
    try:
        joints = np.array([row[:3] for row in rows], np.float64)
    except (TypeError, ValueError) as error:
        raise SampleError(f"a detection is no list of rows [x, y, confidence]: {error}") from error
    if joints.ndim != 2 or joints.shape[1] != 3 or len(joints) not in BY_ROWS or not np.isfinite(joints).all():
        raise SampleError(f"a detection must have 17, 18 or 25 rows [x, y, confidence], not shape {joints.shape}")
    return with_middles(joints, BY_ROWS[len(joints)], tuple(MIDDLES))


def _same_person(sample: Sample, people: list[tuple[Floats, Names]]) -> tuple[Floats, Names]:
    """The detected person that is the sample's: the nearest by labelled joints, without labels by overlap of boxes."""
    if not people:
        raise SampleError("the detector found nobody in the image")
    box = as_xywh(sample.box)
    if (sample.confidence > 0).any():
        labelled = official_joints(sample.joint_set, sample.keypoints2d, sample.confidence)
        apart = [_distance(person, labelled) for person in people]
        best = int(np.argmin(apart))
        if apart[best] >= box[2:].min() * NEAR_ENOUGH:
            raise SampleError("none of the detected people is where the labelled joints are")
        return people[best]
    shared = [_overlap(box, joints) for joints, _ in people]
    if max(shared) <= 0:
        raise SampleError("none of the detected people is in the person box")
    return people[int(np.argmax(shared))]


def _distance(person: tuple[Floats, Names], labelled: tuple[Floats, Names]) -> float:
    """Mean distance of the joints that are confident in both; infinite without any."""
    (joints, names), (truth, truth_names) = person, labelled
    common = [(at, truth_names.index(name)) for at, name in enumerate(names) if name and name in truth_names]
    here, there = np.array(common).T
    sure = (joints[here, 2] > CONFIDENT) & (truth[there, 2] > CONFIDENT)
    apart: NDArray = np.linalg.norm(joints[here, :2] - truth[there, :2], axis=1)[sure]
    return float(apart.mean()) if len(apart) else np.inf


def _overlap(box: Floats, joints: Floats) -> float:
    sure = joints[:, 2] > CONFIDENT
    return float(overlap(box, tight_box(joints[:, :2], sure))[0]) if sure.any() else 0.0
