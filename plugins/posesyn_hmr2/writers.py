"""4D-Humans' own training formats, for those who train in its official repository.

Keypoints are the 44 joints of ``posesyn_hmr2.joints``. A frame with SMPL parameters labels all that its body has (give
SMPL's file and ``SMPL_to_J19.pkl`` for all 44), another one the 14 that are joints of SMPL. What is not known has
confidence 0; joint 39, the root of the 3D loss, is always filled.
"""

import itertools
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, evolve, field

from posesyn_core import option
from posesyn_core.files.paths import atomic_path
from posesyn_core.files.writing import jpeg_of, write_jpeg
from posesyn_core.values import LabelledFrame

if TYPE_CHECKING:
    from posesyn_hmr2.joints import Joints44
    from posesyn_hmr2.people import Person

SCALE_UNIT = 200.0
"""Pixels of a box of ``scale`` 1 in a shard; npz files have pixels."""


@define
class Hmr2WriterConfig:
    """Whose joints are written."""

    body: str = option("", "the SMPL file (.npz or official .pkl) of the frames; empty = the free body")
    joint_regressor: str = option("", "SMPL_to_J19.pkl (or .npy) for the 19 extra joints; empty = without them")


@define
class Hmr2TarWriterConfig(Hmr2WriterConfig):
    """And how the shards are cut."""

    frames_per_shard: int = option(1000, "frames in a tar file", least=1)


@define
class Hmr2TarWriter:
    """Writes ``frames-000000.tar`` and so on: ``<key>.jpg`` and ``<key>.data.pyd``, one person each.

    The latter is a pickled list of one dict: ``keypoints_2d`` (44, 3) x, y in pixels and confidence; ``keypoints_3d``
    (44, 4) metres, camera axes (x right, y down, z away), and confidence; ``center`` (2,) pixels; ``scale`` (2,) width
    and height of the box / 200; ``body_pose`` (72,) axis-angle of all joints, the root's in the camera frame; ``betas``
    (10,), all float32; ``has_body_pose`` and ``has_betas`` () 0 or 1; ``extra_info`` {}.
    """

    config: Hmr2TarWriterConfig

    def write(self, frames: Iterable[LabelledFrame], folder: Path) -> list[Path]:
        """See :class:`posesyn_core.components.DatasetWriter`."""
        people = _People(self.config)
        numbered = enumerate(frames)
        shards = itertools.groupby(numbered, key=lambda pair: pair[0] // self.config.frames_per_shard)
        return [_write_shard(folder / f"frames-{number:06d}.tar", members, people) for number, members in shards]


def _write_shard(path: Path, frames: Iterable[tuple[int, LabelledFrame]], people: "_People") -> Path:
    from webdataset.writer import TarWriter

    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as stream,
        TarWriter(stream, user="posesyn", group="posesyn", mtime=0, encoder=False) as tar,
    ):
        for number, frame in frames:
            entry = _entry(people.of(frame))
            tar.write({"__key__": f"{number:08d}", "jpg": jpeg_of(frame)[0], "data.pyd": _pickled([entry])})
    return path


def _entry(person: "Person") -> dict[str, Any]:
    return {
        "keypoints_2d": person.keypoints_2d,
        "keypoints_3d": person.keypoints_3d,
        "center": np.asarray(person.center, np.float32),
        "scale": np.asarray(person.extent / SCALE_UNIT, np.float32),
        "body_pose": person.body_pose,
        "betas": np.asarray(person.betas),
        "has_body_pose": np.array(person.has_body_pose, np.float32),
        "has_betas": np.array(person.has_betas, np.float32),
        "extra_info": {},
    }


def _pickled(content: Any) -> bytes:
    """A pickle that old numpy reads too: numpy 2 has moved the function that makes arrays to ``numpy._core``.

    Protocol 3 is the last to name what it imports in plain text.
    """
    return pickle.dumps(content, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


@define
class Hmr2NpzWriter:
    """Writes ``frames.npz``, an evaluation set of N frames, and ``images/<number>.jpg``.

    ``imgname`` (N,) bytes, relative to the npz; ``center`` (N, 2) and ``scale`` (N, 2: width, height), pixels;
    ``body_keypoints_2d`` (N, 25, 3) and ``extra_keypoints_2d`` (N, 19, 3), pixels and confidence;
    ``body_keypoints_3d`` (N, 25, 4) and ``extra_keypoints_3d`` (N, 19, 4), metres, camera axes, and confidence;
    ``body_pose`` (N, 72), ``betas`` (N, 10), ``has_body_pose`` and ``has_betas`` (N,). The official reader takes no 3D
    joint of the body from the first block: without a ``joint_regressor`` there is little to evaluate on.
    """

    config: Hmr2WriterConfig

    def write(self, frames: Iterable[LabelledFrame], folder: Path) -> list[Path]:
        """See :class:`posesyn_core.components.DatasetWriter`. The labels, 2 kB a frame, are held in memory."""
        people = _People(self.config)
        names, rows = [], []
        for number, frame in enumerate(frames, start=1):
            names.append(f"images/{number:012d}.jpg")
            rows.append(people.of(frame))
            write_jpeg(frame, folder / names[-1])
        with atomic_path(folder / "frames.npz") as temporary:
            np.savez(temporary, **_columns(names, rows))
        return [folder / "frames.npz", *(folder / name for name in names)]


def _columns(names: list[str], people: list["Person"]) -> dict[str, Any]:
    """The arrays of the npz."""
    from posesyn_hmr2.joints import OPENPOSE

    def stacked(name: str, *shape: int) -> Any:
        return np.array([getattr(person, name) for person in people], np.float32).reshape(len(people), *shape)

    keypoints_2d, keypoints_3d = stacked("keypoints_2d", 44, 3), stacked("keypoints_3d", 44, 4)
    return {
        "imgname": np.array(names, np.bytes_),
        "center": stacked("center", 2),
        "scale": stacked("extent", 2),
        "body_keypoints_2d": keypoints_2d[:, :OPENPOSE],
        "extra_keypoints_2d": keypoints_2d[:, OPENPOSE:],
        "body_keypoints_3d": keypoints_3d[:, :OPENPOSE],
        "extra_keypoints_3d": keypoints_3d[:, OPENPOSE:],
        "body_pose": stacked("body_pose", 72),
        "betas": stacked("betas", 10),
        "has_body_pose": stacked("has_body_pose"),
        "has_betas": stacked("has_betas"),
    }


@define
class _People:
    """Frames as the official formats describe people; loads the body when it is made."""

    config: Hmr2WriterConfig
    joints: "Joints44" = field(init=False)

    def __attrs_post_init__(self) -> None:
        from posesyn_core.body.model import load_body
        from posesyn_hmr2.joints import joints44
        from posesyn_hmr2.regressor import read_regressor

        body = load_body(Path(self.config.body).expanduser() if self.config.body else None)
        file = self.config.joint_regressor
        self.joints = joints44(body, read_regressor(file) if file else None)

    def of(self, frame: LabelledFrame) -> "Person":
        """The labels of a frame; its box as it is."""
        from posesyn_hmr2.inputs import person_of

        return evolve(person_of(frame, self.joints), extent=frame.box[2:] - frame.box[:2])
