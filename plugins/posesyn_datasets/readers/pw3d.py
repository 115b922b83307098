"""3DPW, 3D Poses in the Wild (von Marcard et al., ECCV 2018): SMPL bodies of one or two people in phone videos.

From https://virtualhumans.mpi-inf.mpg.de/3DPW (register, then download ``imageFiles.zip`` and ``sequenceFiles.zip``),
both unpacked in ``root``::

    root/imageFiles/downtown_arguing_00/image_00000.jpg ...
    root/sequenceFiles/test/downtown_arguing_00.pkl ...        (and train, validation)

A sequence's pickle holds, for N frames and every actor: ``poses`` (N, 72) axis-angle, ``trans`` (N, 3) and
``jointPositions`` (N, 72) metres in the world, ``betas`` (10 or more), ``genders`` "m" or "f", ``poses2D`` (N, 3, 18)
OpenPose's joints, ``campose_valid`` (N,); and ``cam_poses`` (N, 4, 4) world to camera, ``cam_intrinsics`` (3, 3).

Samples have SMPL's 24 joints: in 2D their projection, in 3D relative to the pelvis, and the body's parameters in the
camera frame. ``detected`` are OpenPose's joints.
Pickles are read without running code.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import NOTHING, define, evolve, field

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import in_order
from posesyn_core.files.paths import inside
from posesyn_core.files.reading import reading
from posesyn_core.files.unpickle import load_pickle
from posesyn_core.geometry.skeletons import OPENPOSE25
from posesyn_core.geometry.units import check_units
from posesyn_core.training.protocols import H36M_14
from posesyn_core.values import Detected, EvaluationProtocol, FloatArray, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import build_each, existing_root, read_files
from posesyn_datasets.readers.checks import expect_keys, expect_layout, expect_shape, intrinsics
from posesyn_datasets.readers.smpl_truth import JOINTS, Bodies, Floats, in_camera

ACTORS = ("poses", "trans", "jointPositions", "betas", "genders", "poses2D", "campose_valid")
KEYS = (
    *ACTORS,
    *("cam_poses", "cam_intrinsics"),
)
EXPECTED = f"a sequence of 3DPW, a dictionary with {', '.join(KEYS)}"
SOURCE = "unpack imageFiles.zip and sequenceFiles.zip of https://virtualhumans.mpi-inf.mpg.de/3DPW there"
GENDERS = {"m": "male", "f": "female"}
DETECTED = 18
"""Joints of ``poses2D``."""
OPENPOSE_PLACES = (*range(8), *range(9, 19))
"""Their places among the 25 of OpenPose's newer model, which has the middle of the hips as its ninth."""


@define
class Pw3dConfig:
    """Where 3DPW lies, and which of its frames to read; the defaults are the official test protocol's.

    Get it from https://virtualhumans.mpi-inf.mpg.de/3DPW; ``root`` holds the unpacked ``imageFiles`` and
    ``sequenceFiles``.
    """

    root: Path = option(NOTHING, "folder of the data set, with imageFiles and sequenceFiles")
    split: Literal["train", "validation", "test"] = option("test", "which sequences: train, validation or test")
    stride: int = option(1, "read every n-th frame of a sequence; 1 = all, as the official evaluation does", least=1)
    follow_links: bool = follow_links()
    box: Literal["joints", "detected"] = option(
        "joints", "person box: 'joints' = about the true joints, 'detected' = tight about OpenPose's (as SPIN does)"
    )


@define
class Pw3dReader:
    """Reads 3DPW; ids: ``3dpw/<split>/<sequence>/<frame>-<actor>``.

    Frames whose camera was not found (``campose_valid`` = 0) have no truth and are left out, as by all evaluations.
    """

    config: Pw3dConfig
    protocol: EvaluationProtocol = field(
        init=False, default=EvaluationProtocol(("mpjpe", "pa_mpjpe", "pve"), H36M_14, ("pelvis",), regressed=True)
    )
    """SPIN's: 14 of Human3.6M's joints regressed from both meshes, relative to its pelvis, and PVE."""

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by sequence name, actor and frame."""
        named = ((f"3dpw/{self.config.split}/{path.stem}", path) for path in self._files)
        yield from read_files(named, self._sequence)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._files

    @cached_property
    def _files(self) -> list[Path]:
        root, folder = existing_root(self.config.root, "3dpw"), f"sequenceFiles/{self.config.split}"
        expect_layout(root, ["imageFiles", folder], "3dpw", SOURCE)
        files = in_order((root / folder).glob("*.pkl"))
        if not files:
            raise UserError(f"the folder {str(root / folder)!r} has no sequences (.pkl); {SOURCE}")
        return files

    def _sequence(self, path: Path) -> Iterator[SampleOrRejection]:
        with reading(path, "annotation file", EXPECTED):
            yield from self._people(path)

    def _people(self, path: Path) -> Iterator[SampleOrRejection]:
        data = expect_keys(load_pickle(path), KEYS, path, EXPECTED)
        camera = intrinsics(data["cam_intrinsics"], path)
        extrinsics = expect_shape(data["cam_poses"], (None, 4, 4), "cam_poses", path)

        def build(sample_id: str, entry: tuple[Bodies, Floats, int]) -> Sample:
            bodies, detections, at = entry
            image = inside(
                self.config.root, f"imageFiles/{path.stem}/image_{at:05d}.jpg", follow_links=self.config.follow_links
            )
            box = _detected_box(detections[at]) if self.config.box == "detected" else None
            sample = bodies.sample(at, sample_id, image, camera, box)
            return evolve(sample, detected=_openpose(detections[at]))

        for actor in range(_actors(data, path)):
            bodies = _bodies(data, actor, extrinsics, path)
            detections = expect_shape(data["poses2D"][actor], (len(extrinsics), 3, DETECTED), "poses2D", path)
            valid = expect_shape(data["campose_valid"][actor], (len(extrinsics),), "campose_valid", path) != 0
            frames = np.flatnonzero(valid)
            frames = frames[frames % self.config.stride == 0]
            name = f"3dpw/{self.config.split}/{path.stem}"
            yield from build_each(((f"{name}/{at:05d}-{actor}", (bodies, detections, int(at))) for at in frames), build)


def _actors(data: Any, path: Path) -> int:
    """How many people the sequence has; UserError unless every list has as many."""
    counts = {key: len(data[key]) for key in ACTORS}
    if len(set(counts.values())) > 1:
        raise UserError(
            f"{str(path)!r} does not describe its actor {min(counts.values())} in every list; expected {EXPECTED}"
        )
    return counts["poses"]


def _bodies(data: Any, actor: int, extrinsics: Floats, path: Path) -> Bodies:
    frames = len(extrinsics)
    try:
        pose, transl, joints, betas, gender = (
            data[key][actor] for key in ("poses", "trans", "jointPositions", "betas", "genders")
        )
    except (IndexError, TypeError, KeyError) as error:
        raise UserError(
            f"{str(path)!r} does not describe its actor {actor} in every list; expected {EXPECTED}"
        ) from error
    if gender not in GENDERS:
        raise UserError(f"actor {actor} in {str(path)!r} has the gender {gender!r}; 'm' or 'f' expected")
    positions = expect_shape(joints, (frames, 3 * JOINTS), "jointPositions", path).reshape(frames, JOINTS, 3)
    check_units(positions, "smpl24", "metres", path)
    return in_camera(
        extrinsics,
        positions,
        expect_shape(pose, (frames, 3 * JOINTS), "poses", path).reshape(frames, JOINTS, 3),
        expect_shape(betas, (None,), "betas", path)[:10],
        expect_shape(transl, (frames, 3), "trans", path),
        GENDERS[gender],
    )


def _openpose(detections: Floats) -> Detected | None:
    """OpenPose's joints (3, 18) in the set of its newer model, whose others it has not; None if it found nobody."""
    found = detections[2] > 0
    if not found.any() or not np.isfinite(detections).all():
        return None
    joints = np.zeros((len(OPENPOSE25), 3), np.float32)
    joints[list(OPENPOSE_PLACES)] = detections.T
    return Detected(OPENPOSE25.name, joints[:, :2], joints[:, 2])


def _detected_box(detections: Floats) -> FloatArray:
    """The tight box about the joints of OpenPose (3, 18): x, y, confidence."""
    found = detections[:2, detections[2] > 0]
    if not found.size:
        raise SampleError("OpenPose found no joint of this person; use the option box = 'joints'")
    return np.concatenate([found.min(1), found.max(1)]).astype(np.float32)
