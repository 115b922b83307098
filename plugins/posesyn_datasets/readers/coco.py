"""COCO person keypoints (Lin et al., ECCV 2014): 17 joints.

From https://cocodataset.org: the annotations to ``root/annotations/person_keypoints_<split>.json`` and the images to
``root/<split>`` (or ``root/images/<split>``).
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import NOTHING, define

from posesyn_core import option
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import inside
from posesyn_core.geometry.boxes import check_box
from posesyn_core.values import Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import (
    as_object,
    build_each,
    existing_root,
    find_annotations,
    find_images,
    keypoints,
    load_json,
)

JOINTS = 17
CONFIDENCE = np.array([0.0, 0.5, 1.0], np.float32)
"""By COCO's visibility flag: 0 = not labelled, 1 = labelled but hidden, 2 = visible."""
EXPECTED = "a COCO person_keypoints file, an object with 'images' and 'annotations' that have 'keypoints'"

Entry = dict[str, Any]


@define
class CocoConfig:
    """Where COCO lies.

    Get images and annotations of a year from https://cocodataset.org; ``root`` holds ``train2017`` and
    ``annotations/person_keypoints_train2017.json`` (and those of val2017).
    """

    root: Path = option(NOTHING, "folder of the data set")
    split: str = option("train2017", "which annotations: train2017, val2017, ...; part of the sample ids")
    annotations: str = option("", "annotation file below root; empty = annotations/person_keypoints_<split>.json")
    images: str = option("", "image folder below root; empty = <split>, images/<split>, images, or root itself")


@define
class CocoReader:
    """Reads person keypoints; crowds and people without joints are refused.

    Ids: ``coco/<split>/<image>-<annotation id>``.
    """

    config: CocoConfig

    def __len__(self) -> int:
        return len(self._document["annotations"])

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the annotation file."""
        images = {str(image.get("id")): image for image in self._document["images"] if isinstance(image, dict)}
        entries = (
            (_sample_id(self.config.split, number, annotation, images), (annotation, images))
            for number, annotation in enumerate(self._document["annotations"])
        )
        yield from build_each(entries, self._sample)

    @cached_property
    def _document(self) -> dict[str, list[Entry]]:
        root, split = existing_root(self.config.root, "coco"), self.config.split
        path = find_annotations(
            root,
            self.config.annotations,
            [f"annotations/person_keypoints_{split}.json", f"person_keypoints_{split}.json"],
            opens_with="{",
            expected=f"annotations/person_keypoints_{split}.json",
        )
        document = load_json(path, EXPECTED)
        lists = isinstance(document, dict) and all(isinstance(document.get(k), list) for k in ("images", "annotations"))
        if not lists or not any("keypoints" in a for a in document["annotations"] if isinstance(a, dict)):
            raise UserError(f"annotation file {str(path)!r} has no keypoints; expected {EXPECTED}")
        return {key: document[key] for key in ("images", "annotations")}

    @cached_property
    def _images(self) -> Path:
        split = self.config.split
        return find_images(self.config.root, self.config.images, [split, f"images/{split}", "images"])

    def _sample(self, sample_id: str, entry: tuple[Any, dict[str, Entry]]) -> Sample:
        annotation, images = as_object(entry[0]), entry[1]
        if annotation.get("iscrowd"):
            raise SampleError("a crowd, not one person (iscrowd = 1)")
        image = images.get(str(annotation["image_id"]))
        if image is None:
            raise SampleError(f"the file lists no image with the id {annotation['image_id']!r}")
        points = np.asarray(annotation["keypoints"], np.float32)
        if points.size != 3 * JOINTS:
            raise SampleError(f"{JOINTS} joints of 3 numbers expected, not {points.size} numbers")
        x_y, flags = points.reshape(JOINTS, 3)[:, :2], points.reshape(JOINTS, 3)[:, 2]
        if not np.isin(flags, (0, 1, 2)).all():
            raise SampleError("a joint's visibility flag is none of 0, 1 and 2")
        x_y, confidence = keypoints(x_y, CONFIDENCE[flags.astype(int)], JOINTS)
        x, y, width, height = annotation["bbox"]
        box = np.array([x, y, x + width, y + height], np.float32)
        check_box(box, image.get("width", np.inf), image.get("height", np.inf))
        return Sample(sample_id, inside(self._images, image["file_name"]), box, "coco17", x_y, confidence)


def _sample_id(split: str, number: int, annotation: Any, images: dict[str, Entry]) -> str:
    """The id of an annotation, however broken: what it lacks is replaced by its place in the file."""
    if not isinstance(annotation, dict):
        return f"coco/{split}/entry-{number}"
    image_id = str(annotation.get("image_id"))
    name = images.get(image_id, {}).get("file_name", image_id)
    return f"coco/{split}/{Path(str(name)).stem}-{annotation.get('id', f'entry-{number}')}"
