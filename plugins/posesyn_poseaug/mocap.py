"""World ``mocap``: people of recorded motions before virtual cameras, as lifters see them; no pictures.

"lab" is a studio: a handful of actors before four cameras at the height of a chest, as in Human3.6M. "wild" is
everything else: anyone, seen from anywhere by any lens. So what is trained on the one meets other bodies, views and
places in the other, and other poses where the motions are told apart by their ``domain``.
"""

import warnings
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_core.files.reading import read_npz
from posesyn_core.geometry.skeletons import convert
from posesyn_core.seeds import rng
from posesyn_core.values import SampleOrRejection
from posesyn_poseaug.camera import project
from posesyn_poseaug.config import MocapConfig, motions_file
from posesyn_poseaug.joints import SMPL16
from posesyn_poseaug.poses import SHORTEST, STUDIO_FOCAL, PoseSet, sample_of
from posesyn_poseaug.skeleton import LENGTH_GROUPS, bones_of, lengths_of, with_lengths

Floats = NDArray[np.float64]
ACTORS = 5
ROOM = 1.2
"""Metres that an actor gets away from the studio's middle; motions that go further are drawn together."""
SIDE = 1000
"""Width and height of the virtual pictures in pixels."""
HEIGHT = 1.7
FARTHEST = 1000.0
"""Metres from the origin: nobody was recorded so far away."""
UNUSABLE = "has numbers that are not finite, places far from the origin, or bones without length"


@frozen
class Segment:
    """A recorded motion: its name, its clip's name, joints (L, 22, 3) in metres, y up."""

    name: str
    clip: str
    joints: NDArray[np.float32]


class MocapReader:
    """Reads the frames of an npz of motions (``joints``, ``offsets``, ``names``, ``clip``, ``domain``)."""

    def __init__(self, config: MocapConfig) -> None:
        self.config = config

    def samples(self) -> Iterator[SampleOrRejection]:
        """A sample of every frame and view, without a picture; a motion that can't be used is rejected as a whole."""
        segments, rejected = self._segments()
        yield from ((f"{self._title}/{name}", reason) for name, reason in rejected)
        found = self._poses(segments)
        for at, name in enumerate(self._names(segments)):
            yield sample_of(found, at, name, SMPL16.name, (SIDE, SIDE))

    def poses(self) -> PoseSet:
        """All frames and views at once, but for motions that can't be used, which a warning counts."""
        segments, rejected = self._segments()
        if rejected:
            warnings.warn(
                f"{len(rejected)} motions of {self._title} are left out: {rejected[0][1]}", PoseSynWarning, stacklevel=2
            )
        return self._poses(segments)

    def _poses(self, segments: Sequence[Segment]) -> PoseSet:
        parts = [self._seen(segment) for segment in segments]
        poses, cameras, subjects = (np.concatenate([part[at] for part in parts]) for at in range(3))
        keypoints = project(poses, cameras)
        if self.config.noise:
            keypoints = keypoints + rng(self.config.seed, self._title, "noise").normal(
                0, 2 * self.config.noise / SIDE, keypoints.shape
            )
        return PoseSet(poses, keypoints, cameras, tuple(map(str, subjects)), self._title)

    @property
    def _title(self) -> str:
        return f"mocap/{self.config.domain or 'all'}-{self.config.views}"

    def _names(self, segments: Sequence[Segment]) -> Iterator[str]:
        for segment in segments:
            for frame in range(len(segment.joints)):
                for view in range(self.config.cameras):
                    yield f"{self._title}/{segment.name}/{frame * self.config.stride:04d}-{view}"

    def _segments(self) -> tuple[list[Segment], list[tuple[str, str]]]:
        """Those of the domain, thinned, and (name, reason) of those that can't be used; UserError if there is none."""
        path, keys = motions_file(self.config.motions), ("joints", "offsets", "names", "clip", "domain")
        arrays = read_npz(path, "motions file", f"an npz with {', '.join(keys)}", keys)
        if missing := [key for key in keys if key not in arrays]:
            raise UserError(f"the motions file {str(path)!r} lacks {', '.join(missing)}")
        joints, offsets, names, clips, domains = (arrays[key] for key in keys)
        count = len(names) if names.ndim == 1 else -1
        if not (
            joints.shape[1:] == (22, 3)
            and joints.dtype.kind == "f"
            and clips.shape == domains.shape == (count,)
            and offsets.shape == (count + 1,)
            and offsets.dtype.kind in "iu"
            and (np.diff(offsets) > 0).all()
            and 0 <= offsets[0] < offsets[-1] <= len(joints)
        ):
            raise UserError(
                f"the motions file {str(path)!r} must have joints (F, 22, 3), numbers, of N motions, for which "
                "it has N names, clips and domains, and N + 1 ascending offsets into the frames"
            )
        wanted = [at for at, domain in enumerate(domains) if not self.config.domain or domain == self.config.domain]
        if not wanted:
            raise UserError(f"no motion in {str(path)!r} is of the domain {self.config.domain!r}")
        found = [
            Segment(str(names[at]), str(clips[at]), joints[offsets[at] : offsets[at + 1]][:: self.config.stride])
            for at in wanted
        ]
        sound = [segment for segment in found if _usable(segment.joints)]
        if not sound:
            raise UserError(f"every motion in {str(path)!r} {UNUSABLE}")
        return sound, [(segment.name, f"it {UNUSABLE}") for segment in found if not _usable(segment.joints)]

    def _seen(self, segment: Segment) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.str_]]:
        """Poses (L V, 16, 3) and cameras (L V, 9) of a motion seen by V cameras, and whose they are."""
        config = self.config
        draw = rng(config.seed, f"{self._title}/{segment.name}", "mocap")
        sixteen, _ = convert(segment.joints, None, "humanml22", SMPL16.name)
        actor, lengths = _person(segment.clip, config)
        poses = with_lengths(torch.from_numpy(sixteen), lengths.expand(len(sixteen), -1)).numpy().astype(np.float64)
        view = _studio if config.views == "lab" else _anywhere
        turned, cameras = zip(*(view(poses, number, draw) for number in range(config.cameras)), strict=True)
        every = np.stack(turned, 1).reshape(-1, 16, 3), np.stack(cameras, 1).reshape(-1, 9)
        return every[0].astype(np.float32), every[1].astype(np.float32), np.full(len(every[0]), actor)


def _usable(joints: NDArray[np.float32]) -> bool:
    """Whether a motion (L, 22, 3) holds numbers, and no bone without a length that could be given another."""
    if not (np.isfinite(joints).all() and np.abs(joints).max() < FARTHEST):
        return False
    sixteen, _ = convert(joints, None, "humanml22", SMPL16.name)
    return bool(lengths_of(bones_of(torch.from_numpy(sixteen))).min() > SHORTEST)


def _person(clip: str, config: MocapConfig) -> tuple[str, torch.Tensor]:
    """Who does a clip, and their bone lengths (15,): one of a few actors of like size, or anybody."""
    number = zlib.crc32(clip.encode())
    actor = f"A{number % ACTORS + 1}" if config.views == "lab" else f"W{number:08x}"
    draw = rng(config.seed, actor, "body")
    whole, each = (0.04, 0.02) if config.views == "lab" else (0.1, 0.05)
    size = 1 + draw.normal(0, whole)
    lengths = torch.empty(15)
    for group, length in zip(LENGTH_GROUPS, TYPICAL, strict=True):
        lengths[list(group)] = float(length * size * (1 + draw.normal(0, each)))
    return actor, lengths


TYPICAL = (0.13, 0.44, 0.44, 0.24, 0.25, 0.12, 0.15, 0.28, 0.25)
"""Metres, of the groups of bones that share a length: an average adult."""


def _camera_turn(azimuth: Floats, elevation: Floats, roll: Floats) -> Floats:
    """(N, 3, 3) from the motion's frame (y up) to that of cameras (y down) around it, in degrees."""
    down = np.diag([1.0, -1.0, -1.0])
    turn = Rotation.from_euler("ZXY", np.stack([roll, elevation, azimuth], -1), degrees=True).as_matrix()
    return np.asarray(down @ turn)


def _studio(poses: Floats, number: int, draw: np.random.Generator) -> tuple[Floats, Floats]:
    """Poses (L, 16, 3) and cameras (L, 9) of the ``number``-th camera of a studio."""
    count = len(poses)
    azimuth = np.full(count, 45 + 90 * number + draw.normal(0, 5))
    turn = _camera_turn(azimuth, np.full(count, draw.normal(5, 2)), np.zeros(count))
    way = poses[:, 0] - poses[:, 0].mean(0)
    furthest = float(np.linalg.norm(way[:, [0, 2]], axis=1).max(initial=0))
    way = way * min(1.0, ROOM / furthest) if furthest > 0 else way
    stand = np.array([0, draw.normal(0.1, 0.05), draw.uniform(4.3, 5.3)])
    place = np.einsum("nij,nj->ni", turn, way) + stand
    seen = np.einsum("nij,nkj->nki", turn, poses - poses[:, :1]) + place[:, None]
    return seen, _lens(np.full(count, STUDIO_FOCAL))


def _anywhere(poses: Floats, _number: int, draw: np.random.Generator) -> tuple[Floats, Floats]:
    """The same poses, each seen by a camera of its own: any height, tilt, lens and distance, the person in view."""
    count = len(poses)
    azimuth, elevation = draw.uniform(0, 360, count), draw.uniform(-20, 50, count)
    turn = _camera_turn(azimuth, elevation, draw.normal(0, 8, count))
    focal, extent = draw.uniform(1.4, 3.2, count), draw.uniform(0.5, 1.3, count)
    depth = focal * HEIGHT / extent
    middle = draw.uniform(-0.3, 0.3, (count, 2))
    place = np.concatenate([middle * (depth / focal)[:, None], depth[:, None]], 1)
    seen = np.einsum("nij,nkj->nki", turn, poses - poses[:, :1]) + place[:, None]
    return seen, _lens(focal)


def _lens(focal: Floats) -> Floats:
    """(N, 9) cameras without distortion, their principal points in the middle."""
    cameras = np.zeros((len(focal), 9))
    cameras[:, :2] = focal[:, None]
    return cameras
