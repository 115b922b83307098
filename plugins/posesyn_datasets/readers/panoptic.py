"""CMU Panoptic Studio (Joo et al., TPAMI 2019): 19 joints in 3D, filmed by 31 HD cameras; the range-of-motion sequences
171204_pose* and 171026_pose*, or any other with coco19 poses.

With https://github.com/CMU-Perceptual-Computing-Lab/panoptic-toolbox, ``scripts/getData.sh 171204_pose1`` and then
``scripts/extractAll.sh 171204_pose1`` make, below ``root``::

    root/171204_pose1/calibration_171204_pose1.json
    root/171204_pose1/hdPose3d_stage1_coco19/body3DScene_00000000.json ...
    root/171204_pose1/hdImgs/00_00/00_00_00000000.jpg ...   (or .png)

A calibration lists ``cameras`` with ``name`` ("00_05" is HD camera 5), ``type`` ("hd", "vga" or "kinect-color"),
``resolution`` (width, height), ``K`` (3, 3), ``distCoef`` (5,) as in OpenCV, ``R`` (3, 3) and ``t`` (3, 1) world to
camera. A frame lists ``bodies`` with ``id`` and ``joints19`` (76,): x, y, z and confidence of every joint. World and t
are in centimetres.

Samples have ``keypoints3d`` in metres, camera frame. Their 2D joints lie where the lens puts them; ``camera`` leaves
out the distortion, as all estimators do, and so projects the 3D joints some pixels off towards the picture's corners.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import NOTHING, define, field, frozen
from numpy.typing import NDArray

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import Pictures, in_order
from posesyn_core.files.reading import reading
from posesyn_core.geometry.boxes import check_box, joint_boxes
from posesyn_core.geometry.skeletons import PANOPTIC19
from posesyn_core.geometry.units import UNITS, check_person, check_units
from posesyn_core.values import Camera, EvaluationProtocol, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import as_object, build_each, existing_root, keypoints, load_json, read_files
from posesyn_datasets.readers.checks import expect_calibration, expect_keys, expect_layout, intrinsics

POSES, IMAGES = "hdPose3d_stage1_coco19", "hdImgs"
JOINTS = len(PANOPTIC19)
LEAST_CONFIDENCE = 0.1
"""Joints that the studio is less sure of are unknown, as in the toolbox's demo."""
TASTED = 20
"""So many of a sequence's frames tell its unit."""
SOURCE = "run the Panoptic toolbox's scripts getData.sh and extractAll.sh there"
CAMERA_KEYS = ("name", "type", "resolution", "K", "distCoef", "R", "t")
EXPECTED = f"a calibration of the Panoptic Studio, 'cameras' with {', '.join(CAMERA_KEYS)}"

Floats = NDArray[np.float64]


@define
class PanopticConfig:
    """Where the sequences lie, and which of their frames to read.

    Get them with the Panoptic toolbox (https://github.com/CMU-Perceptual-Computing-Lab/panoptic-toolbox):
    ``getData.sh`` and ``extractAll.sh``; ``root`` holds a folder for each sequence.
    """

    root: Path = option(NOTHING, "folder of the data set, with 171204_pose1, ...")
    sequences: str = option("17*_pose*", "which folders below root: a name or a pattern with * and ?")
    cameras: str = option("*", "which HD cameras: a name such as 00_05, or a pattern with * and ?")
    stride: int = option(30, "read every n-th frame; 30 = one a second", least=1)
    follow_links: bool = follow_links()


@frozen(eq=False)
class View:
    """One HD camera: its name, its pictures, their size (width, height), and the calibration (t in centimetres)."""

    name: str
    pictures: Pictures
    size: Floats
    camera: Camera
    matrix: Floats
    distortion: Floats
    rotation: Floats
    translation: Floats

    def picture(self, frame: int) -> Path:
        """The picture of a frame; SampleError if it was not extracted."""
        stem = f"{self.name}_{frame:08d}"
        paths = (self.pictures.at(f"{self.name}/{stem}{suffix}") for suffix in (".jpg", ".png"))
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            raise SampleError(f"the picture {stem}.jpg is missing in {self.name}")
        return found


@define(slots=False)  # cached_property needs a __dict__
class PanopticReader:
    """Reads sequences; ids: ``panoptic/<sequence>/<camera>/<frame>-<body>``. There is no official protocol."""

    config: PanopticConfig
    protocol: EvaluationProtocol = field(init=False, default=EvaluationProtocol(("mpjpe", "pa_mpjpe")))

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by sequence, frame, camera, and place in the frame."""
        yield from read_files(((f"panoptic/{folder.name}", folder) for folder in self._sequences), self._sequence)

    def _sequence(self, folder: Path) -> Iterator[SampleOrRejection]:
        expect_layout(folder, [f"calibration_{folder.name}.json", POSES, IMAGES], "panoptic", SOURCE)
        pictures = Pictures(folder / IMAGES, follow_links=self.config.follow_links)
        views = _views(folder, self.config.cameras, pictures)
        for path in _frames(folder)[:: self.config.stride]:
            yield from _people(folder.name, path, views)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._sequences

    @cached_property
    def _sequences(self) -> list[Path]:
        root = existing_root(self.config.root, "panoptic")
        folders = in_order(path for path in root.glob(self.config.sequences) if path.is_dir())
        if not folders:
            raise UserError(f"there is no sequence {self.config.sequences!r} in {str(root)!r}; {SOURCE}")
        return folders


def _frames(folder: Path) -> list[Path]:
    """A sequence's files of poses; UserError if there are none, or they are not in centimetres."""
    files = in_order((folder / POSES).glob("body3DScene_*.json"))
    if not files:
        raise UserError(f"the folder {str(folder / POSES)!r} has no body3DScene_*.json; {SOURCE}")
    tasted = []
    for path in files[:: max(1, len(files) // TASTED)]:
        try:
            tasted += [_joints(body)[0] for body in _bodies(path)]
        except Exception:  # whatever a broken file leads to
            continue  # rejected one by one when it is read
    if tasted:
        check_units(np.stack(tasted), PANOPTIC19.name, "centimetres", folder / POSES)
    return files


def _bodies(path: Path) -> list[Any]:
    document = load_json(path, "an object with 'bodies'")
    if not (isinstance(document, dict) and isinstance(document.get("bodies"), list)):
        raise UserError(f"{str(path)!r} has no list 'bodies'")
    return document["bodies"]


def _joints(body: Any) -> tuple[Floats, NDArray[np.bool_]]:
    """Joints (19, 3) in the world, centimetres, NaN = unknown, and which are known."""
    numbers = np.asarray(as_object(body)["joints19"], np.float64)
    if numbers.size != 4 * JOINTS:
        raise SampleError(f"{JOINTS} joints of 4 numbers expected, not {numbers.size} numbers")
    rows = numbers.reshape(JOINTS, 4)
    known = (rows[:, 3] > LEAST_CONFIDENCE) & np.isfinite(rows).all(1)
    return np.where(known[:, None], rows[:, :3], np.nan), known


def _views(folder: Path, pattern: str, pictures: Pictures) -> list[View]:
    """The cameras whose pictures are there and whose names fit the pattern; UserError if none does."""
    path = folder / f"calibration_{folder.name}.json"
    with reading(path, "annotation file", EXPECTED):
        entries = expect_keys(load_json(path, EXPECTED), ["cameras"], path, EXPECTED)["cameras"]
        calibrated = {
            str(entry["name"]): entry
            for entry in (expect_keys(entry, CAMERA_KEYS, path, EXPECTED) for entry in entries)
            if entry["type"] == "hd"
        }
    names = in_order(found.name for found in pictures.root.glob(pattern) if found.is_dir())
    if not names:
        raise UserError(f"there are no pictures of the cameras {pattern!r} in {str(pictures.root)!r}; {SOURCE}")
    missing = [name for name in names if name not in calibrated]
    if missing:
        raise UserError(f"the camera of {', '.join(missing)} is missing in {str(path)!r}; {SOURCE}")
    return [_view(name, pictures, calibrated[name], path) for name in names]


def _view(name: str, pictures: Pictures, entry: Mapping[str, Any], path: Path) -> View:
    return View(
        name=name,
        pictures=pictures,
        size=expect_calibration(entry["resolution"], (2,), "resolution", path),
        camera=intrinsics(entry["K"], path),
        matrix=expect_calibration(entry["K"], (3, 3), "K", path),
        distortion=expect_calibration(entry["distCoef"], (5,), "distCoef", path),
        rotation=expect_calibration(entry["R"], (3, 3), "R", path),
        translation=expect_calibration(entry["t"], (3, 1), "t", path)[:, 0],
    )


def _people(sequence: str, path: Path, views: list[View]) -> Iterator[SampleOrRejection]:
    """The people of a frame in every view; a frame that can't be read is one rejection."""
    frame = path.stem.removeprefix("body3DScene_")
    try:
        if not frame.isdecimal():
            raise UserError(f"{path.name!r} has no frame's number in its name")
        bodies = _bodies(path)
    except UserError as error:
        yield f"panoptic/{sequence}/{frame}", str(error)
        return
    for view in views:
        named = (
            (f"panoptic/{sequence}/{view.name}/{frame}-{_name(body, place)}", (body, view))
            for place, body in enumerate(bodies)
        )
        yield from build_each(named, lambda sample_id, entry: _sample(sample_id, *entry, int(frame)))


def _name(body: Any, place: int) -> str:
    return str(body.get("id", f"entry-{place}")) if isinstance(body, dict) else f"entry-{place}"


def _sample(sample_id: str, body: Any, view: View, frame: int) -> Sample:
    import cv2

    world, known = _joints(body)
    seen = world @ view.rotation.T + view.translation
    check_person(UNITS["centimetres"] * seen, PANOPTIC19.name)
    if not (seen[known, 2] > 0).all():
        raise SampleError("the person is not in front of this camera")
    given = np.where(known[:, None], seen, 1.0)
    pixels = cv2.projectPoints(given, np.zeros(3), np.zeros(3), view.matrix, view.distortion)[0][:, 0]
    shown = known & (pixels >= 0).all(1) & (pixels < view.size).all(1)  # beyond the edge the lens model is no guide
    joints, confidence = keypoints(pixels, shown, JOINTS)
    box = joint_boxes(joints, shown)
    check_box(box, *view.size)
    return Sample(
        id=sample_id,
        image=view.picture(frame),
        box=box,
        joint_set=PANOPTIC19.name,
        keypoints2d=joints,
        confidence=confidence,
        camera=view.camera,
        keypoints3d=(UNITS["centimetres"] * seen).astype(np.float32),
    )
