"""The npz form in which Human3.6M and MPI-INF-3DHP are shared (SPIN's, as mmpose writes it): one row per person.

``imgname`` (N,) text below the image folder; ``part`` (N, J, 3) x, y in pixels and confidence; ``S`` (N, J, 4) x, y, z
in metres in the camera frame (absolute, all 0 = unknown) and confidence. That is 0 for joints outside the picture too,
whose place is known, so it does not count here. Beside it a pickle of cameras by name, each with ``f`` (2, 1) and ``c``
(2, 1) in pixels. The published means of making both: mmpose's ``tools/dataset_converters``.
"""

from collections.abc import Callable, Hashable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import Pictures, PicturesAt
from posesyn_core.files.reading import read_npz
from posesyn_core.files.unpickle import load_pickle
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.geometry.units import check_person, check_units
from posesyn_core.values import Camera, EncodedImage, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import build_each, keypoints
from posesyn_datasets.readers.checks import Floats, expect_keys, expect_shape, pinhole

EXPECTED = "mmpose's npz with 'imgname', 'part' (N, J, 3) and 'S' (N, J, 4)"
Row = tuple[str, Floats, Floats]
"""Image name, ``part`` and ``S`` of one person."""


def read_people(path: Path, joints: str, keep: Callable[[str], bool]) -> list[Row]:
    """The rows whose image name is to be kept; UserError if the file is malformed or not in metres."""
    keys = ("imgname", "part", "S")
    arrays = expect_keys(read_npz(path, "annotation file", EXPECTED, keys), keys, path, EXPECTED)
    if arrays["imgname"].ndim != 1:
        raise UserError(f"'imgname' in {str(path)!r} is no list of names; expected {EXPECTED}")
    count, size = len(arrays["imgname"]), len(joint_set(joints))
    flat = expect_shape(arrays["part"], (count, size, 3), "part", path)
    solid = expect_shape(arrays["S"], (count, size, 4), "S", path)
    check_units(solid[..., :3], joints, "metres", path)
    names = [str(name) for name in arrays["imgname"]]
    return [(name, flat[at], solid[at]) for at, name in enumerate(names) if keep(name)]


def read_cameras(path: Path) -> dict[Hashable, Any]:
    """The cameras by name; UserError if there are none."""
    cameras = load_pickle(path)
    expect_keys(cameras, (), path, "cameras by name")
    if not cameras:
        raise UserError(f"the camera file {str(path)!r} is empty; expected cameras by name, with 'f' and 'c'")
    return dict(cameras)


def samples(
    people: list[Row], cameras: dict[Hashable, Any], camera_of: Callable[[str], Hashable],
    images: Pictures | PicturesAt, joints: str, prefix: str,
) -> Iterator[SampleOrRejection]:  # fmt: skip
    """A sample of every row; ids: ``<prefix>/<image name without suffix>``."""

    def build(sample_id: str, row: Row) -> Sample:
        image, flat, solid = row
        name = camera_of(image)
        if name not in cameras:
            raise SampleError(f"the camera {name!r} is missing from the camera file")
        truth = np.where((solid[:, :3] != 0).any(1, keepdims=True), solid[:, :3], np.nan)
        camera = pinhole(cameras[name]["f"], cameras[name]["c"])
        return person(sample_id, images.find(image), flat, truth, camera, joints)

    yield from build_each(((f"{prefix}/{_stem(row[0])}", row) for row in people), build)


def _stem(image: str) -> str:
    """An image's name without its suffix."""
    name = PurePosixPath(image)
    return str(name.parent / name.stem)


def person(sample_id: str, image: EncodedImage, flat: Floats, truth: Floats, camera: Camera, joints: str) -> Sample:
    """The sample of one person, boxed about the labelled joints.

    ``flat`` (J, 3) are x, y in pixels and confidence, ``truth`` (J, 3) metres in the camera frame, NaN = unknown.
    SampleError if nothing is known in 2D or 3D, or the joints are no person's.
    """
    points, confidence = keypoints(flat[:, :2], flat[:, 2], len(flat))
    if not np.isfinite(truth).any():
        raise SampleError("no joint has a place in 3D")
    check_person(truth, joints)
    return Sample(
        id=sample_id,
        image=image,
        box=joint_boxes(points, confidence > 0),
        joint_set=joints,
        keypoints2d=points,
        confidence=confidence,
        camera=camera,
        keypoints3d=truth.astype(np.float32),
    )
