"""Any folder of images with one JSON file of keypoints: the way in for one's own data.

``keypoints.json``::

    {
      "joint_set": "coco17",
      "people": [
        {
          "image": "beach/001.jpg",
          "keypoints": [[412.0, 96.5, 1], [418.2, 90.1, 0.5], [0, 0, 0], ...],
          "box": [350.0, 60.0, 520.0, 470.0],
          "camera": {"focal_length": [1200.0, 1200.0], "principal_point": [640.0, 360.0]}
        },
        ...
      ]
    }

``joint_set`` is a name in :mod:`posesyn_core.geometry.skeletons`; ``keypoints`` has a row (x, y, confidence) per joint,
in pixels with the centre of the first pixel at (0, 0), confidence 0 = not labelled; ``box`` is x0, y0, x1, y1. ``box``
and ``camera`` may be left out: the box is then drawn about the labelled joints. Images lie below the folder. Pixels are
those of the upright picture, as a viewer shows it; with ``pixels = "stored"`` those of the file, whatever its EXIF
orientation says.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import NOTHING, define

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import Pictures, PicturesAt
from posesyn_core.geometry.boxes import check_box, joint_boxes
from posesyn_core.geometry.skeletons import JOINT_SETS
from posesyn_core.values import Camera, Sample, SampleOrRejection
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

EXPECTED = (
    "an object with 'joint_set' (such as \"coco17\") and 'people', a list of objects with 'image' and 'keypoints'"
)

Entry = dict[str, Any]


@define
class FolderConfig:
    """Where the images and their keypoints lie: one's own data, with a file keypoints.json of this form::

        {"joint_set": "coco17", "people": [{"image": "a.jpg", "keypoints": [[x, y, confidence], ...]}]}

    and if known ``"box": [x0, y0, x1, y1]`` and ``"camera": {"focal_length": [...], "principal_point": [...]}``.
    """

    root: Path = option(NOTHING, "folder of the data set")
    annotations: str = option("", "keypoint file below root; empty = keypoints.json")
    images: str = option("", "image folder below root, or its address (s3://...); empty = root itself")
    split: str = option("all", "part of the sample ids: folder/<split>/<image>-<person>")
    pixels: Convention = pixels("upright")
    follow_links: bool = follow_links()


@define(slots=False)  # cached_property needs a __dict__
class FolderReader:
    """Reads the folder. Ids: ``folder/<split>/<image>-<person>``, people of an image counted from 0."""

    config: FolderConfig

    def __len__(self) -> int:
        return len(self._document["people"])

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the keypoint file."""
        yield from build_each(self._named(), self._sample)

    def _named(self) -> Iterator[tuple[str, Any]]:
        seen = Counter[str]()
        for entry in self._document["people"]:
            image = str(entry.get("image", "")) if isinstance(entry, dict) else ""
            yield f"folder/{self.config.split}/{image}-{seen[image]}", entry
            seen[image] += 1

    @cached_property
    def _document(self) -> Entry:
        root = existing_root(self.config.root, "folder")
        path = find_annotations(
            root, self.config.annotations, ["keypoints.json"], opens_with="{", expected=f"keypoints.json ({EXPECTED})"
        )
        document = load_json(path, EXPECTED)
        if not (isinstance(document, dict) and isinstance(document.get("people"), list)):
            raise UserError(f"annotation file {str(path)!r} has no list 'people'; expected {EXPECTED}")
        if str(document.get("joint_set")) not in JOINT_SETS:
            raise UserError(
                f"annotation file {str(path)!r} has the 'joint_set' {document.get('joint_set')!r}; "
                f"it must be one of {', '.join(JOINT_SETS)}"
            )
        return document

    @cached_property
    def _pictures(self) -> Pictures | PicturesAt:
        return find_images(self.config.root, self.config.images, [], follow_links=self.config.follow_links)

    def _sample(self, sample_id: str, entry: Any) -> Sample:
        person, joint_set = as_object(entry), self._document["joint_set"]
        rows = np.asarray(person["keypoints"], np.float32)
        if rows.ndim != 2 or rows.shape[1] != 3:
            raise SampleError(f"'keypoints' must have rows (x, y, confidence), not the shape {rows.shape}")
        joints, confidence = keypoints(rows[:, :2], rows[:, 2], len(JOINT_SETS[joint_set]))
        box = np.asarray(person["box"], np.float32) if "box" in person else joint_boxes(joints, confidence > 0)
        check_box(box, np.inf, np.inf)
        sample = Sample(
            id=sample_id,
            image=self._pictures.find(person["image"]),
            box=box,
            joint_set=joint_set,
            keypoints2d=joints,
            confidence=confidence,
            camera=_camera(person["camera"]) if "camera" in person else None,
        )
        return self._labelled.upright(sample)

    @cached_property
    def _labelled(self) -> LabelledPixels:
        return LabelledPixels(self.config.pixels)


def _camera(fields: Any) -> Camera:
    camera = Camera(as_object(fields)["focal_length"], as_object(fields)["principal_point"])
    if not (np.isfinite(camera.focal_length).all() and (camera.focal_length > 0).all()):
        raise SampleError("the camera's focal length must be positive")
    if not np.isfinite(camera.principal_point).all():
        raise SampleError("the camera's principal point is not finite")
    return camera
