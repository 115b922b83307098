"""EMDB, the Electromagnetic Database (Kaufmann et al., ICCV 2023): SMPL bodies of single people in phone videos.

From https://emdb.ait.ethz.ch (fill in the form), unpacked in ``root`` (the repository's ``dataset.md``)::

    root/P0/09_outdoor_walk/P0_09_outdoor_walk_data.pkl
    root/P0/09_outdoor_walk/images/00000.jpg ...

A sequence's pickle holds, for N frames: ``gender``, ``emdb1`` and ``emdb2`` (which benchmark it belongs to),
``good_frames_mask`` (N,), ``camera`` with ``intrinsics`` (3, 3), ``extrinsics`` (N, 4, 4) world to camera, ``width``
and ``height``, ``smpl`` with ``poses_root`` (N, 3), ``poses_body`` (N, 69), ``trans`` (N, 3) and ``betas`` (10,) in
the world, ``kp2d`` (N, 24, 2) pixels, and ``bboxes`` with ``bboxes`` (N, 4) x0, y0, x1, y1 and ``invalid_idxs``.

The pickles hold no 3D joints: these are SMPL's, posed with the file of the sequence's gender, so the truth in 3D needs
SMPL's files (https://smpl.is.tue.mpg.de). Without them samples have 2D labels and the camera only. In 3D, SMPL's 24
joints relative to the pelvis, metres, and the body's parameters, both in the camera frame.
"""

from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from attrs import NOTHING, define, field

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.locating import in_order
from posesyn_core.files.paths import inside
from posesyn_core.files.presence import smpl_file
from posesyn_core.files.reading import reading
from posesyn_core.files.unpickle import load_pickle
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import Camera, EvaluationProtocol, Sample, SampleOrRejection
from posesyn_datasets.readers.annotations import build_each, existing_root, keypoints, read_files
from posesyn_datasets.readers.checks import expect_keys, expect_shape, intrinsics
from posesyn_datasets.readers.smpl_truth import JOINTS, Bodies, Floats, in_camera

if TYPE_CHECKING:
    from posesyn_core.body.model import Body

FURTHEST = 0.25
"""Median distance between projected body and 2D labels, by the person's box; they are one and the same in EMDB."""
KEYS = ("gender", "emdb1", "emdb2", "good_frames_mask", "camera", "smpl", "kp2d", "bboxes")
EXPECTED = f"a sequence of EMDB, a dictionary with {', '.join(KEYS)}"
SOURCE = "unpack the archives of https://emdb.ait.ethz.ch there"


@define
class EmdbConfig:
    """Where EMDB and SMPL's files lie, and which sequences to read; the defaults are the paper's benchmark's.

    Get the data set from https://emdb.ait.ethz.ch; ``root`` holds the folders P0 ... P9.
    """

    root: Path = option(NOTHING, "folder of the data set, with P0, P1, ...")
    subset: Literal["emdb1", "emdb2", "all"] = option(
        "emdb1", "which sequences: emdb1 (the benchmark of pose estimators), emdb2 (of global motion), or all"
    )
    smpl: str = option(
        "",
        "folder with SMPL_FEMALE.pkl, SMPL_MALE.pkl and SMPL_NEUTRAL.pkl (or SMPL's own names): the 3D truth is posed "
        "with them; empty = 2D labels and cameras only",
    )
    stride: int = option(1, "read every n-th frame of a sequence; 1 = all, as the official evaluation does", least=1)
    follow_links: bool = follow_links()


@define
class EmdbReader:
    """Reads EMDB; ids: ``emdb/<subset>/<participant>_<sequence>/<frame>``.

    Frames that ``good_frames_mask`` excludes (nobody to be seen) are left out, as by the official evaluation.
    """

    config: EmdbConfig
    protocol: EvaluationProtocol = field(
        init=False, default=EvaluationProtocol(("mpjpe", "pa_mpjpe", "pve"), SMPL24.joints, ("left_hip", "right_hip"))
    )
    """The official evaluation's: all 24 joints of SMPL, relative to the middle of the hips."""

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; by participant, sequence and frame."""
        self.check_layout()
        found, prefix = False, f"emdb/{self.config.subset}"
        named = ((f"{prefix}/{path.name.removesuffix('_data.pkl')}", path) for path in self._files)
        for entry in read_files(named, self._sequence):
            found = True
            yield entry
        if not found:
            raise UserError(f"no sequence in {str(self.config.root)!r} belongs to {self.config.subset}; {SOURCE}")

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        _ = self._files
        if self.config.smpl:
            for gender in ("female", "male"):
                _smpl_file(Path(self.config.smpl).expanduser(), gender)

    @cached_property
    def _files(self) -> list[Path]:
        root = existing_root(self.config.root, "emdb")
        files = in_order(root.glob("P*/*/*_data.pkl"))
        if not files:
            raise UserError(f"{str(root)!r} has no sequences (P0/<sequence>/P0_<sequence>_data.pkl); {SOURCE}")
        return files

    def _sequence(self, path: Path) -> Iterator[SampleOrRejection]:
        """The people of a sequence, if it belongs to the subset."""
        data = expect_keys(load_pickle(path), KEYS, path, EXPECTED)
        with reading(path, "annotation file", EXPECTED):
            if self.config.subset == "all" or bool(data[self.config.subset]):
                yield from self._frames(path, data)

    def _frames(self, path: Path, data: Any) -> Iterator[SampleOrRejection]:
        filmed = expect_keys(data["camera"], ("intrinsics", "extrinsics", "width", "height"), path, EXPECTED)
        camera = intrinsics(filmed["intrinsics"], path)
        labels = expect_shape(data["kp2d"], (None, JOINTS, 2), "kp2d", path)
        frames = len(labels)
        extrinsics = expect_shape(filmed["extrinsics"], (frames, 4, 4), "extrinsics", path)
        boxed = expect_keys(data["bboxes"], ("bboxes", "invalid_idxs"), path, EXPECTED)
        boxes = expect_shape(boxed["bboxes"], (frames, 4), "bboxes", path)
        invalid = {int(at) for at in boxed["invalid_idxs"]}
        bodies = self._bodies(data, extrinsics, path)

        def build(sample_id: str, at: int) -> Sample:
            if at in invalid:
                raise SampleError("EMDB marks the person box as invalid")
            check_box(boxes[at], filmed["width"], filmed["height"])
            image = inside(path.parent, f"images/{at:05d}.jpg", follow_links=self.config.follow_links)
            box = boxes[at].astype(np.float32)
            if bodies is not None:
                sample = bodies.sample(at, sample_id, image, camera, box)
                _check_agreement(sample, labels[at])
                return sample
            return _flat(sample_id, image, camera, box, labels[at])

        good = np.flatnonzero(expect_shape(data["good_frames_mask"], (frames,), "good_frames_mask", path))
        name = f"emdb/{self.config.subset}/{path.name.removesuffix('_data.pkl')}"
        yield from build_each(((f"{name}/{at:05d}", int(at)) for at in good if at % self.config.stride == 0), build)

    def _bodies(self, data: Any, extrinsics: Floats, path: Path) -> Bodies | None:
        """The sequence posed with SMPL's file of its gender; None without the option ``smpl``."""
        smpl = expect_keys(data["smpl"], ("poses_root", "poses_body", "trans", "betas"), path, EXPECTED)
        frames = len(extrinsics)
        root = expect_shape(smpl["poses_root"], (frames, 3), "poses_root", path)
        pose = np.concatenate([root, expect_shape(smpl["poses_body"], (frames, 69), "poses_body", path)], 1)
        pose = pose.reshape(frames, JOINTS, 3)
        transl = expect_shape(smpl["trans"], (frames, 3), "trans", path)
        betas = expect_shape(smpl["betas"], (10,), "betas", path)
        if not self.config.smpl:
            return None
        joints = _posed(_body(Path(self.config.smpl).expanduser(), str(data["gender"])), pose, betas, transl)
        return in_camera(extrinsics, joints, pose, betas, transl, str(data["gender"]))


def _check_agreement(sample: Sample, labels: Floats) -> None:
    """SampleError if the camera sees the body elsewhere than ``kp2d`` (24, 2) says: translations in mm, say."""
    apart = np.median(np.linalg.norm(sample.keypoints2d - labels, axis=1))
    size = float((sample.box[2:] - sample.box[:2]).max())
    if apart > FURTHEST * size:
        raise SampleError(f"the body is seen {apart:.0f} pixels from its 2D labels (other units?)")


def _flat(sample_id: str, image: Path, camera: Camera, box: Any, labels: Floats) -> Sample:
    """A sample with 2D labels only."""
    points, confidence = keypoints(labels, np.ones(JOINTS), JOINTS)
    return Sample(sample_id, image, box, SMPL24.name, points, confidence, camera)


@cache
def _body(folder: Path, gender: str) -> "Body":
    from posesyn_core.body.model import load_body

    if gender not in ("female", "male", "neutral"):
        raise UserError(f"EMDB has a sequence with the gender {gender!r}; female, male or neutral expected")
    return load_body(_smpl_file(folder, gender), gender=gender)


def _smpl_file(folder: Path, gender: str) -> Path:
    """SMPL's file of that gender; UserError telling where to get it if ``folder`` has none."""
    path = smpl_file(folder, gender)
    if path is None:
        raise UserError(
            f"{str(folder)!r} has no SMPL_{gender.upper()}.pkl; get SMPL's files from https://smpl.is.tue.mpg.de, or "
            "leave out the option 'smpl' of emdb to read 2D labels only"
        )
    return path


def _posed(body: "Body", pose: Floats, betas: Floats, transl: Floats) -> Floats:
    """Joints (N, 24, 3) in the world."""
    import torch

    given = [torch.tensor(values, dtype=torch.float32) for values in (pose, np.tile(betas, (len(pose), 1)), transl)]
    with torch.inference_mode():
        joints = body.joints(given[0][:, 0], given[0][:, 1:], given[1], given[2])
    return joints.numpy().astype(np.float64)
