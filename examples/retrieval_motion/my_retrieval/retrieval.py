"""A motion generator without a network: find the recorded moment most like the pose and the text, and go on from it."""

import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from posesyn_core.errors import SampleError, UserError
from posesyn_core.seeds import rng
from posesyn_core.values import Motion

FPS = 20.0
PELVIS, FLOOR = 0, [0, 1, 0]


class Retrieval:
    """Motion generator; fits ``MotionGenerator``."""

    def __init__(self, config):
        """Read the recordings; UserError if the file is missing or malformed."""
        self.config = config
        path = Path(config.motions).expanduser()
        try:
            with np.load(path, allow_pickle=False) as file:
                self.joints, offsets = file["joints"], file["offsets"]
                texts = [json.loads(text) for text in file["texts"]]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{config.motions!r} is not an npz of motions: {error}") from error
        self.first, self.end = offsets[:-1], offsets[1:]
        self.clip_of = np.repeat(np.arange(len(texts)), np.diff(offsets))
        self.left = self.end[self.clip_of] - np.arange(len(self.joints))  # frames from each on to its recording's end
        self.poses = Poses(self.joints)
        self.texts = Texts(texts)

    def generate(self, requests):
        """One motion per request: (L, 22, 3), L from ``min_frames`` to ``max_frames``, on the request's heading.

        SampleError for a request without a usable pose (where the pose guides), or longer than every recording.
        """
        return [self._generate(request) for request in requests]

    def _generate(self, request):
        enough = self.left >= request.min_frames
        if not enough.any():
            raise SampleError(
                f"no recording goes on for {request.min_frames} frames; the longest has {self.left.max()}"
            )
        cost = np.zeros(len(self.joints), np.float32)
        if request.guidance != "pose_only":
            cost -= self.config.text_weight * self.texts.similarity(request.caption)[self.clip_of]
        if request.guidance == "text_only":
            enough &= self.left == (self.end - self.first)[self.clip_of]  # without a pose, from the beginning
        else:
            cost += self.poses.distance(_checked(request.pose))
        start = self._draw(np.where(enough, cost, np.inf), request)
        joints = self.joints[start : start + min(self.left[start], request.max_frames)]
        if request.guidance != "text_only":
            joints = turn(joints, self.poses.heading(request.pose, start))
        return Motion(
            id=request.id,
            sample_id=request.sample_id,
            caption=request.caption,
            joints=joints - joints[0, PELVIS] * [1, 0, 1] - joints[..., 1].min() * np.array(FLOOR),
            fps=FPS,
            seed=request.seed,
            provenance=f"retrieval {self.clip_of[start]} from frame {start - self.first[self.clip_of[start]]}",
        )

    def _draw(self, cost, request):
        """The cheapest frame of one of the ``among`` cheapest recordings."""
        best = np.minimum.reduceat(cost, self.first)  # of each recording
        ranked = [clip for clip in np.argsort(best, kind="stable")[: self.config.among] if np.isfinite(best[clip])]
        clip = ranked[rng(request.seed, request.id, "retrieval").integers(len(ranked))]
        return self.first[clip] + int(np.argmin(cost[self.first[clip] : self.end[clip]]))


class Poses:
    """All recorded poses, ready to be compared with one after the best turn about the vertical and the best scale.

    Ground coordinates are complex numbers z + ix, so that turning by the angle t is a product with e^(it). With pose a
    and recorded pose b, both less their pelvis, |s a e^(it) - b|^2 is least at t = arg(sum conj(a) b) and s =
    overlap / |a|^2, where overlap = sum a_y b_y + |sum conj(a) b|: closed forms, for all poses at once.
    """

    def __init__(self, joints):
        relative = joints - joints[:, PELVIS : PELVIS + 1]
        self.ground, self.up = _ground(relative), relative[..., 1]
        self.square = (relative**2).sum((1, 2))

    def distance(self, pose):
        """Root mean square over the joints, metres, (N,), after the best turn and scale."""
        ground, up = self._split(pose)
        overlap = np.maximum(self.up @ up + np.abs(self.ground @ ground.conj()), 0)
        square = self.square - overlap**2 / ((up**2).sum() + (np.abs(ground) ** 2).sum())
        return np.sqrt(np.maximum(square, 0) / len(up))

    def heading(self, pose, frame):
        """The angle about y that turns the recorded pose ``frame`` onto ``pose``."""
        ground, _ = self._split(pose)
        return float(np.angle((self.ground[frame].conj() * ground).sum()))

    @staticmethod
    def _split(pose):
        relative = (pose - pose[PELVIS]).astype(np.float32)
        return _ground(relative), relative[:, 1]


def _ground(points):
    return points[..., 2] + 1j * points[..., 0]


def turn(joints, angle):
    """Joints (..., 3) turned about the vertical: z towards x."""
    turned = _ground(joints) * np.exp(1j * angle)
    return np.stack([turned.imag, joints[..., 1], turned.real], axis=-1)


class Texts:
    """The recordings' descriptions as tf-idf vectors: rare words count more."""

    def __init__(self, texts):
        """``texts``: a list of descriptions per recording."""
        counts = [Counter(words(" ".join(descriptions))) for descriptions in texts]
        known = Counter(word for count in counts for word in count)
        self.column = {word: number for number, word in enumerate(known)}
        self.weight = np.log((1 + len(texts)) / (1 + np.array(list(known.values())))) + 1
        self.vectors = np.stack([self._vector(count) for count in counts])

    def similarity(self, caption):
        """Cosine (n,) with every recording; 0 for a caption without a known word."""
        return self.vectors @ self._vector(Counter(words(caption)))

    def _vector(self, count):
        vector = np.zeros(len(self.column), np.float32)
        for word, times in count.items():
            if word in self.column:
                vector[self.column[word]] = 1 + np.log(times)
        vector *= self.weight
        return vector / max(np.linalg.norm(vector), 1e-6)


def words(text):
    return re.findall(r"\w+", text.lower())


def _checked(pose):
    if pose is None or not np.isfinite(pose).all() or np.ptp(pose, axis=0).max() == 0:
        raise SampleError("the request has no pose, or one that has no extent or joints that are not finite")
    return pose
