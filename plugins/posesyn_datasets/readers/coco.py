"""COCO person keypoints (Lin et al., ECCV 2014), and files in its form: labelling tools', or of other joints.

From https://cocodataset.org: the annotations to ``root/annotations/person_keypoints_<split>.json`` and the images to
``root/<split>`` (or ``root/images/<split>``). An official file has COCO's 17 joints. Where ``categories`` name the
``keypoints``, joints are taken by their names, in whatever order, out of any registered joint set; annotations of
other categories are rejected one by one. A missing ``bbox`` is drawn about the labelled joints.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from attrs import NOTHING, define, field, frozen

from posesyn_core import SampleError, UserError, option
from posesyn_core.contracts.options import follow_links
from posesyn_core.files.locating import Pictures, PicturesAt
from posesyn_core.geometry.boxes import check_box, joint_boxes
from posesyn_core.geometry.naming import Naming, naming, unnamed
from posesyn_core.geometry.skeletons import COCO17
from posesyn_core.progress import tell
from posesyn_core.values import FloatArray, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import (
    as_object,
    build_each,
    existing_root,
    find_annotations,
    find_images,
    key,
    keypoints,
    load_json,
)
from posesyn_datasets.readers.stored import Convention, LabelledPixels, pixels

CONFIDENCE = np.array([0.0, 0.5, 1.0], np.float32)
"""By COCO's visibility flag: 0 = not labelled, 1 = labelled but hidden, 2 = visible."""
PERSON = "person"
EXPECTED = "a COCO person_keypoints file, an object with 'images' and 'annotations' that have 'keypoints'"

Entry = dict[str, Any]


@define
class CocoConfig:
    """Where COCO lies, or data in its form.

    Get images and annotations of a year from https://cocodataset.org; ``root`` holds ``train2017`` and
    ``annotations/person_keypoints_train2017.json`` (and those of val2017).
    """

    root: Path = option(NOTHING, "folder of the data set")
    split: str = option("train2017", "which annotations: train2017, val2017, ...; part of the sample ids")
    annotations: str = option("", "annotation file below root; empty = annotations/person_keypoints_<split>.json")
    images: str = option(
        "",
        "image folder below root, or its address (s3://...); empty = <split>, images/<split>, images, or root",
    )
    joint_set: str = option("", "joint set of the file; empty = told by the names of its joints, coco17 without names")
    pixels: Convention = pixels("upright")
    follow_links: bool = follow_links()


@frozen
class Document:
    """An annotation file: images and kinds of joints by id, the latter a reason where the category is no person's."""

    path: Path
    images: Mapping[str, Entry]
    annotations: list[Any]
    kinds: Mapping[str, Naming | str]

    def kind(self, annotation: Entry) -> Naming:
        """What the joints of an annotation are; SampleError if they are no person's."""
        kind = self.kinds.get(key(annotation.get("category_id")))
        if kind is None:
            people = [kind for kind in self.kinds.values() if isinstance(kind, Naming)]
            if "category_id" in annotation or len(people) != 1:
                raise SampleError(f"the file lists no category with the id {annotation.get('category_id')!r}")
            kind = people[0]
        if isinstance(kind, str):
            raise SampleError(kind)
        return kind


@define(slots=False)  # cached_property needs a __dict__
class CocoReader:
    """Reads person keypoints; crowds, people without joints and other categories are rejected.

    Ids: ``coco/<split>/<image>-<annotation id>``.
    """

    config: CocoConfig
    _labelled: LabelledPixels = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._labelled = LabelledPixels(self.config.pixels)

    def __len__(self) -> int:
        return len(self._document.annotations)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the annotation file."""
        self._labelled = LabelledPixels(self.config.pixels)
        entries = (
            (_sample_id(self.config.split, number, annotation, self._document.images), annotation)
            for number, annotation in enumerate(self._document.annotations)
        )
        yield from build_each(entries, self._sample)
        self._labelled.tell(self._document.path)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._file, self._pictures

    @cached_property
    def _file(self) -> Path:
        root, split = existing_root(self.config.root, "coco"), self.config.split
        return find_annotations(
            root,
            self.config.annotations,
            [f"annotations/person_keypoints_{split}.json", f"person_keypoints_{split}.json"],
            opens_with="{",
            expected=f"annotations/person_keypoints_{split}.json",
        )

    @cached_property
    def _document(self) -> Document:
        return read_document(self._file, self.config.joint_set)

    @cached_property
    def _pictures(self) -> Pictures | PicturesAt:
        config = self.config
        names = [config.split, f"images/{config.split}", "images"]
        return find_images(config.root, config.images, names, follow_links=config.follow_links)

    def _sample(self, sample_id: str, entry: Any) -> Sample:
        annotation = as_object(entry)
        if int(annotation.get("iscrowd") or 0):  # some tools write "0"
            raise SampleError("a crowd, not one person (iscrowd = 1)")
        image = self._document.images.get(key(annotation["image_id"]))
        if image is None:
            raise SampleError(f"the file lists no image with the id {annotation['image_id']!r}")
        kind = self._document.kind(annotation)
        points, confidence = read_keypoints(annotation["keypoints"], kind)
        size = image.get("width", np.inf), image.get("height", np.inf)
        box = _box(annotation.get("bbox"), points, confidence)
        check_box(box, *size)
        picture = self._pictures.find(image["file_name"])
        sample = Sample(sample_id, picture, box, kind.joints.name, points, confidence)
        return self._labelled.upright(sample, size)


def read_document(path: Path, joint_set: str) -> Document:
    """An annotation file in COCO's form; UserError if it is none, or no category has a person's joints."""
    document = load_json(path, EXPECTED)
    lists = isinstance(document, dict) and all(isinstance(document.get(k), list) for k in ("images", "annotations"))
    if not lists or not any("keypoints" in a for a in document["annotations"] if isinstance(a, dict)):
        raise UserError(f"annotation file {str(path)!r} has no keypoints; expected {EXPECTED}")
    categories = document.get("categories")
    named = [entry for entry in categories if isinstance(entry, dict)] if isinstance(categories, list) else []
    kinds = {key(entry.get("id")): _kind(entry, joint_set, path) for entry in named}
    if not kinds:
        kinds = {key(1): unnamed(joint_set or COCO17.name)}
    elif all(isinstance(kind, str) for kind in kinds.values()):
        reasons = "; ".join(map(str, kinds.values()))
        raise UserError(f"annotation file {str(path)!r} has no category of people with joints: {reasons}")
    for left_out in sorted({", ".join(kind.left_out) for kind in kinds.values() if isinstance(kind, Naming)} - {""}):
        tell(f"annotation file {str(path)!r}: the joints {left_out} are of no joint set and are left out")
    images = {key(image.get("id")): image for image in document["images"] if isinstance(image, dict)}
    return Document(path, images, document["annotations"], kinds)


def _kind(category: Entry, joint_set: str, path: Path) -> Naming | str:
    """What the joints of a category are, or why they are no person's. UserError if a person's can't be told."""
    name, names = str(category.get("name")), category.get("keypoints")
    if not names:
        people = name.lower() == PERSON
        return unnamed(joint_set or COCO17.name) if people else f"not a person, but of the category {name!r}"
    if not (isinstance(names, list) and all(isinstance(joint, str) for joint in names)):
        raise UserError(f"annotation file {str(path)!r}: the 'keypoints' of the category {name!r} are no list of names")
    try:
        return naming(names, COCO17.name, wanted=joint_set)
    except UserError as error:
        if name.lower() != PERSON:
            return f"of the category {name!r}: {error}"
        raise UserError(f"annotation file {str(path)!r}, category {name!r}: {error}") from error


def read_keypoints(given: Any, kind: Naming) -> tuple[FloatArray, FloatArray]:
    """Points (J, 2) and confidences (J,) of the joint set, from COCO's flat list of x, y and flag.

    SampleError if the list has another length, a flag that is none of COCO's, or no labelled joint.
    """
    rows = np.asarray(given, np.float32)
    if rows.size not in (3 * kind.least, 3 * kind.count):
        raise SampleError(f"{kind.count} joints of 3 numbers expected, not {rows.size} numbers")
    rows = kind.take(rows.reshape(-1, 3))
    if not np.isin(rows[:, 2], (0, 1, 2)).all():
        raise SampleError("a joint's visibility flag is none of 0, 1 and 2")
    return keypoints(rows[:, :2], CONFIDENCE[rows[:, 2].astype(int)], len(kind.joints))


def _box(given: Any, points: FloatArray, confidence: FloatArray) -> FloatArray:
    """COCO's box, x, y, width and height, as corners; about the joints if there is none."""
    if given is None:
        return joint_boxes(points, confidence > 0)
    x, y, width, height = np.asarray(given, np.float32)
    return np.array([x, y, x + width, y + height], np.float32)


def _sample_id(split: str, number: int, annotation: Any, images: Mapping[str, Entry]) -> str:
    """The id of an annotation, however broken: what it lacks is replaced by its place in the file."""
    if not isinstance(annotation, dict):
        return f"coco/{split}/entry-{number}"
    image_id = key(annotation.get("image_id"))
    name = PureWindowsPath(str(images.get(image_id, {}).get("file_name", image_id))).stem
    return f"coco/{split}/{name}-{key(annotation.get('id', f'entry-{number}'))}"
