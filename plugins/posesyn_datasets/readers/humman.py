"""HuMMan (Cai et al., ECCV 2022), release v1.0, its reconstruction subset: SMPL bodies seen by ten Kinects.

From https://caizhongang.github.io/projects/HuMMan: the archives of color images, SMPL parameters and camera
parameters, unpacked in ``root`` (https://github.com/caizhongang/humman_toolbox)::

    root/p000455_a000986/kinect_color/kinect_000/000000.png, 000006.png ...
    root/p000455_a000986/smpl_params/000000.npz, 000006.npz ...
    root/p000455_a000986/cameras.json

A frame's npz holds ``global_orient`` (3,), ``body_pose`` (69,), ``betas`` (10,) and ``transl`` (3,) metres of the
neutral SMPL in the world, which is Kinect 0's camera frame. ``cameras.json`` has for every ``kinect_color_000`` the
matrices ``K`` (3, 3), ``R`` (3, 3) and ``T`` (3,) metres, world to camera.

There are no joints on disk: SMPL's are posed with its neutral file, relative to the pelvis, metres, camera frame.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import NOTHING, define, field

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import Pictures, in_order
from posesyn_core.files.presence import smpl_file
from posesyn_core.files.reading import read_npz
from posesyn_core.values import Camera, EvaluationProtocol, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import build_each, existing_root, load_json, read_files
from posesyn_datasets.readers.checks import (
    expect_calibration,
    expect_keys,
    expect_layout,
    expect_shape,
    intrinsics,
)
from posesyn_datasets.readers.smpl_truth import JOINTS, Bodies, Floats, in_camera

if TYPE_CHECKING:
    from posesyn_core.body.model import Body

SOURCE = "unpack recon_kinect_color_part_*.zip, recon_smpl_params.zip and recon_cameras.zip there"
KEYS = ("global_orient", "body_pose", "betas", "transl")
EXPECTED = f"a frame of HuMMan, an npz with {', '.join(KEYS)}"
CAMERAS = "an object with 'K', 'R' and 'T' for every kinect_color_000, ..."

FARTHEST = 100.0
"""Metres; a Kinect sees a tenth of it. The joints are posed, and so metres in any case: other units of a translation
show in the distance alone."""

View = tuple[str, Camera]
"""A Kinect's name, and its camera."""


@define
class HummanConfig:
    """Where HuMMan and SMPL's neutral file lie, and which frames to read.

    Get the reconstruction subset of release v1.0 from https://caizhongang.github.io/projects/HuMMan: color images,
    SMPL parameters and cameras; ``root`` holds the folders p000455_a000986, ... SMPL: https://smpl.is.tue.mpg.de.
    """

    root: Path = option(NOTHING, "folder of the data set, with p000455_a000986, ...")
    smpl: str = option("", "folder with SMPL_NEUTRAL.pkl (or SMPL's own name), which poses the truth; needed")
    sequences: str = option("p*_a*", "which folders below root: a name or a pattern with * and ?")
    cameras: str = option("*", "which Kinects: a name such as kinect_000, or a pattern with * and ?")
    stride: int = option(1, "read every n-th of the frames there are; 1 = all", least=1)
    follow_links: bool = follow_links()


@define(slots=False)  # cached_property needs a __dict__
class HummanReader:
    """Reads HuMMan; ids: ``humman/<sequence>/<kinect>/<frame>``. There is no official protocol for pose estimation."""

    config: HummanConfig
    protocol: EvaluationProtocol = field(init=False, default=EvaluationProtocol(("mpjpe", "pa_mpjpe", "pve")))

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by sequence, frame and camera."""
        self.check_layout()
        named = ((f"humman/{folder.name}", folder) for folder in self._sequences)
        yield from read_files(named, self._sequence)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._sequences, self._body

    @cached_property
    def _sequences(self) -> list[Path]:
        root = existing_root(self.config.root, "humman")
        folders = in_order(path for path in root.glob(self.config.sequences) if path.is_dir())
        if not folders:
            raise UserError(f"there is no sequence {self.config.sequences!r} in {str(root)!r}; {SOURCE}")
        return folders

    @cached_property
    def _body(self) -> "Body":
        from posesyn_core.body.model import load_body

        return load_body(self._smpl_file)

    @property
    def _smpl_file(self) -> Path:
        path = smpl_file(Path(self.config.smpl).expanduser(), "neutral") if self.config.smpl else None
        if path is None:
            raise UserError(
                f"HuMMan's truth is posed with SMPL's neutral file, which {self.config.smpl or 'nowhere'!r} has: set "
                "the option 'smpl' to the folder with SMPL_NEUTRAL.pkl from https://smpl.is.tue.mpg.de"
            )
        return path

    def _sequence(self, folder: Path) -> Iterator[SampleOrRejection]:
        expect_layout(folder, ["cameras.json", "smpl_params", "kinect_color"], "humman", SOURCE)
        pictures = Pictures(folder / "kinect_color", follow_links=self.config.follow_links)
        views, extrinsics = _views(folder, self.config.cameras)
        files = in_order((folder / "smpl_params").glob("*.npz"))[:: self.config.stride]
        if not files:
            raise UserError(f"the folder {str(folder / 'smpl_params')!r} has no frames (.npz); {SOURCE}")
        body = self._body
        for path in files:
            try:
                bodies = _bodies(body, _frame(path), extrinsics, path)
            except UserError as error:
                yield f"humman/{folder.name}/{path.stem}", str(error)
                continue
            named = (
                (f"humman/{folder.name}/{kinect}/{path.stem}", (bodies, at, f"{kinect}/{path.stem}.png", camera))
                for at, (kinect, camera) in enumerate(views)
            )
            yield from build_each(named, partial(_sample, pictures))


def _frame(path: Path) -> Mapping[str, Any]:
    return expect_keys(read_npz(path, "annotation file", EXPECTED), KEYS, path, EXPECTED)


def _sample(pictures: Pictures, sample_id: str, entry: tuple[Bodies, int, str, Camera]) -> Sample:
    bodies, at, name, camera = entry
    image = pictures.at(name)
    if not image.is_file():
        raise SampleError(f"the picture {image.name} is missing in {image.parent.name}")
    away = bodies.joints[at, 0, 2]
    if away > FARTHEST:
        raise SampleError(f"the body is {away:.0f} m away from the camera: 'transl' or 'T' is not in metres")
    return bodies.sample(at, sample_id, image, camera)


def _views(folder: Path, pattern: str) -> tuple[list[View], Floats]:
    """The C cameras whose pictures are there and whose names fit the pattern, and their extrinsics (C, 4, 4)."""
    path = folder / "cameras.json"
    kinects = in_order(found.name for found in (folder / "kinect_color").glob(pattern) if found.is_dir())
    if not kinects:
        raise UserError(f"there are no pictures of {pattern!r} in {str(folder / 'kinect_color')!r}; {SOURCE}")
    names = [kinect.replace("kinect_", "kinect_color_") for kinect in kinects]
    calibrated = expect_keys(load_json(path, CAMERAS), names, path, CAMERAS)
    entries = [expect_keys(calibrated[name], ("K", "R", "T"), path, CAMERAS) for name in names]
    extrinsics = np.tile(np.eye(4), (len(entries), 1, 1))
    extrinsics[:, :3, :3] = [expect_calibration(entry["R"], (3, 3), "R", path) for entry in entries]
    extrinsics[:, :3, 3] = [expect_calibration(entry["T"], (3,), "T", path) for entry in entries]
    views = [(kinect, intrinsics(entry["K"], path)) for kinect, entry in zip(kinects, entries, strict=True)]
    return views, extrinsics


def _bodies(body: "Body", frame: Mapping[str, Any], extrinsics: Floats, path: Path) -> Bodies:
    """The frame's body as each of the C cameras sees it."""
    import torch

    orient = expect_shape(frame["global_orient"], (3,), "global_orient", path)
    pose = np.concatenate([orient, expect_shape(frame["body_pose"], (69,), "body_pose", path)]).reshape(JOINTS, 3)
    betas = expect_shape(frame["betas"], (10,), "betas", path)
    transl = expect_shape(frame["transl"], (3,), "transl", path)
    given = [torch.tensor(values[None], dtype=torch.float32) for values in (pose, betas, transl)]
    with torch.inference_mode():
        joints = body.joints(given[0][:, 0], given[0][:, 1:], given[1], given[2])[0].numpy().astype(np.float64)
    count = len(extrinsics)
    tiled = [np.tile(values, (count, *[1] * values.ndim)) for values in (joints, pose, transl)]
    return in_camera(extrinsics, tiled[0], tiled[1], betas, tiled[2], "neutral")
