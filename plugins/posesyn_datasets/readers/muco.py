"""MuCo-3DHP (Mehta et al., 3DV 2018): people of MPI-INF-3DHP composited into one picture, 21 joints in 2D and 3D.

Composited with the authors' script (https://vcai.mpi-inf.mpg.de/projects/SingleShotMultiPerson), and annotated in the
JSON that 3DMPPE and 3DCrowdNet use, in ``root``::

    root/MuCo-3DHP.json
    root/unaugmented_set/1/000000.png ...

An image has ``file_name`` and its camera, ``f`` and ``c`` (2,) pixels; an annotation ``keypoints_img`` (21, 2) pixels,
``keypoints_cam`` (21, 3) millimetres in the camera frame, ``keypoints_vis`` (21,) and ``bbox`` x, y, width, height.
Samples have these 21 joints, in 3D absolute in the camera frame, metres. It is a training set: no protocol.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from attrs import NOTHING, define

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import Pictures, PicturesAt
from posesyn_core.files.reading import reading
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.skeletons import MUCO21
from posesyn_core.geometry.units import UNITS, check_person, check_units
from posesyn_core.values import Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import (
    as_object,
    build_each,
    existing_root,
    find_images,
    keypoints,
    load_json,
)
from posesyn_datasets.readers.checks import expect_keys, expect_layout, pinhole

FILE = "MuCo-3DHP.json"
EXPECTED = "MuCo-3DHP.json, an object with 'images' and 'annotations'"
SOURCE = "put MuCo-3DHP.json and unaugmented_set of 3DMPPE's data there"


@define
class MucoConfig:
    """Where MuCo-3DHP lies.

    Get it from https://vcai.mpi-inf.mpg.de/projects/SingleShotMultiPerson; the JSON is 3DMPPE's.
    """

    root: Path = option(NOTHING, "folder of the data set, with MuCo-3DHP.json and unaugmented_set")
    images: str = option("", "image folder below root, or its address (s3://...); empty = root itself")
    nearest: bool = option(False, "only the person nearest to the camera in every image (as 3DCrowdNet trains)")
    follow_links: bool = follow_links()


@define
class MucoReader:
    """Reads MuCo-3DHP; ids: ``muco/train/<image>-<annotation id>``."""

    config: MucoConfig

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the annotation file."""
        images, people = self._document
        pictures = find_images(self.config.root, self.config.images, [], follow_links=self.config.follow_links)
        chosen = _nearest(people) if self.config.nearest else people

        def build(sample_id: str, entry: Any) -> Sample:
            return _sample(sample_id, as_object(entry), images, pictures)

        yield from build_each(((_sample_id(at, person, images), person) for at, person in enumerate(chosen)), build)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        expect_layout(existing_root(self.config.root, "muco"), [FILE], "muco", SOURCE)

    @cached_property
    def _document(self) -> tuple[dict[Any, Any], list[Any]]:
        """The images by id, and the annotations."""
        root = existing_root(self.config.root, "muco")
        expect_layout(root, [FILE], "muco", SOURCE)
        path = root / FILE
        document = expect_keys(load_json(path, EXPECTED), ("images", "annotations"), path, EXPECTED)
        if not all(isinstance(document[key], list) for key in ("images", "annotations")):
            raise UserError(f"'images' and 'annotations' in {str(path)!r} must be lists; expected {EXPECTED}")
        people = document["annotations"]
        poses = [pose for pose in map(_pose, people) if pose is not None]
        if poses:
            check_units(np.stack(poses), MUCO21.name, "millimetres", path)
        with reading(path, "annotation file", EXPECTED):
            images = document["images"]
            return {image["id"]: image for image in images if isinstance(image, dict) and "id" in image}, people


def _pose(person: Any) -> Any:
    """``keypoints_cam`` if it is as it must be, else None."""
    try:
        pose = np.asarray(person["keypoints_cam"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return pose if pose.shape == (len(MUCO21), 3) else None


def _nearest(people: list[Any]) -> list[Any]:
    """Per image the person with the smallest depth of the pelvis; broken entries stay, to be rejected."""
    pelvis, best, broken = MUCO21.joints.index("pelvis"), dict[Any, tuple[float, int]](), list[int]()
    for at, person in enumerate(people):
        pose = _pose(person)
        if pose is None or not isinstance(person.get("image_id"), int | str) or np.isnan(pose[pelvis, 2]):
            broken.append(at)
        else:
            best[person["image_id"]] = min(best.get(person["image_id"], (np.inf, at)), (float(pose[pelvis, 2]), at))
    return [people[at] for at in sorted([*broken, *(at for _, at in best.values())])]


def _sample_id(at: int, person: Any, images: dict[Any, Any]) -> str:
    """The id of an annotation, however broken: what it lacks is replaced by its place in the file."""
    if not isinstance(person, dict):
        return f"muco/train/entry-{at}"
    number = person.get("image_id")
    image = images.get(number, {}) if isinstance(number, int | str) else {}
    name = PurePosixPath(str(image.get("file_name") or number))
    return f"muco/train/{name.parent / name.stem}-{person.get('id', f'entry-{at}')}"


def _sample(sample_id: str, person: dict[str, Any], images: dict[Any, Any], pictures: Pictures | PicturesAt) -> Sample:
    image = images.get(person["image_id"])
    if image is None:
        raise SampleError(f"the file lists no image with the id {person['image_id']!r}")
    if "f" not in image or "c" not in image:
        raise SampleError("the camera is missing: the image has no 'f' and 'c'")
    points, confidence = keypoints(person["keypoints_img"], person["keypoints_vis"], len(MUCO21))
    pose = _pose(person)
    if pose is None:
        raise SampleError(f"'keypoints_cam' must be {len(MUCO21)} x 3 numbers")
    truth = UNITS["millimetres"] * pose
    check_person(truth, MUCO21.name)
    x, y, width, height = person["bbox"]
    box = np.array([x, y, x + width, y + height], np.float32)
    check_box(box, image.get("width", np.inf), image.get("height", np.inf))
    return Sample(
        id=sample_id,
        image=pictures.find(image["file_name"]),
        box=box,
        joint_set=MUCO21.name,
        keypoints2d=points,
        confidence=confidence,
        camera=pinhole(image["f"], image["c"]),
        keypoints3d=truth.astype(np.float32),
    )
