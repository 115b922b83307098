"""3DCrowdNet's training files, for people who train with its official code.

The folder is laid out like the official ``data/``: copy or link its parts there. With ``layout = "mscoco"``::

    MSCOCO/annotations/person_keypoints_train2017.json       COCO's 17 joints, 2D
    MSCOCO/annotations/MSCOCO_train_SMPL_NeuralAnnot.json    SMPL, camera
    MSCOCO/images/train2017/000000000001.jpg

and with "mpii" ``MPII/data/annotations/{train,MPII_train_SMPL_NeuralAnnot}.json`` and ``MPII/data/images``. Prefer the
first: the official MPII loader leaves the body as it is where it turns the picture. Each annotation has ``bbox``
[x, y, width, height] and ``keypoints`` [x, y, v, ...] in pixels (v 2 = labelled, 0 = not: SMPL's joints tell neither
face nor head), and in the other file under its id ``smpl_param`` (``pose`` 72 axis-angle, camera frame, ``shape`` 10,
``trans`` 3 metres: of the run's body model) and ``cam_param`` (``focal`` and ``princpt``, pixels). A frame without SMPL
parameters or camera has no entry there, which the official loaders take for "2D only".
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import define, frozen

from posesyn_core import option
from posesyn_core.files.paths import write_atomic
from posesyn_core.files.writing import COCO_PERSON, coco_annotation, write_jpeg
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.values import LabelledFrame


@frozen
class Layout:
    """Where a layout has its files, below the official ``data/``; image names in the JSON are below ``named_from``."""

    joint_set: str
    annotations: str
    fits: str
    images: str
    named_from: str


LAYOUTS: Mapping[str, Layout] = {
    "mscoco": Layout(
        "coco17",
        "MSCOCO/annotations/person_keypoints_train2017.json",
        "MSCOCO/annotations/MSCOCO_train_SMPL_NeuralAnnot.json",
        "MSCOCO/images/train2017",
        "MSCOCO/images/train2017",
    ),
    "mpii": Layout(
        "mpii16",
        "MPII/data/annotations/train.json",
        "MPII/data/annotations/MPII_train_SMPL_NeuralAnnot.json",
        "MPII/data/images",
        "MPII/data",
    ),
}


@define
class CrowdNetWriterConfig:
    """Which of the official layouts to write."""

    layout: Literal["mscoco", "mpii"] = option("mscoco", "'mscoco' or 'mpii', by the loader that is to read it")


@define
class CrowdNetWriter:
    """Writes images, annotations and SMPL parameters; labels, 2 kB a frame, are held in memory."""

    config: CrowdNetWriterConfig

    def write(self, frames: Iterable[LabelledFrame], folder: Path) -> list[Path]:
        """See :class:`posesyn_core.components.DatasetWriter`."""
        layout = LAYOUTS[self.config.layout]
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        fits: dict[str, Any] = {}
        written: list[Path] = []
        for number, frame in enumerate(frames, start=1):
            path = folder / layout.images / f"{number:012d}.jpg"
            width, height = write_jpeg(frame, path)
            name = path.relative_to(folder / layout.named_from).as_posix()
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            annotations.append(coco_annotation(number, frame, layout.joint_set))
            if frame.smpl is not None and frame.smpl.shape_known and frame.camera is not None:
                fits[str(number)] = _fit(frame)
            written.append(path)
        joints = list(joint_set(layout.joint_set).joints)
        category = {"id": COCO_PERSON, "name": "person", "supercategory": "person", "keypoints": joints}
        document = {"images": images, "annotations": annotations, "categories": [category]}
        for name, content in ((layout.annotations, document), (layout.fits, fits)):
            write_atomic(folder / name, json.dumps(content))
        return [folder / layout.annotations, folder / layout.fits, *written]


def _fit(frame: LabelledFrame) -> dict[str, Any]:
    smpl, camera = frame.smpl, frame.camera
    assert smpl is not None and camera is not None
    pose = np.concatenate([smpl.global_orient, smpl.body_pose.ravel()])
    return {
        "smpl_param": {"pose": pose.tolist(), "shape": smpl.betas.tolist(), "trans": smpl.transl.tolist()},
        "cam_param": {"focal": camera.focal_length.tolist(), "princpt": camera.principal_point.tolist()},
    }
