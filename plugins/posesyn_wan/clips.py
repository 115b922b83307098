"""Clips of any length on a model that makes segments of 4n + 1 frames, on a canvas of its own size."""

import cv2
import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from posesyn_core.values import Camera, ClipPlan, Image

TEMPORAL = 4
"""Frames that a latent stands for; the first one has its own."""
LEAST = 5
"""The fewest frames of a segment that goes on from another."""


def places(frames: int, fps: float, wanted: float) -> NDArray[np.intp]:
    """Where the ``frames`` of a motion at ``fps`` come to stand in a video of about ``wanted`` frames a second.

    They stay in their order, each at a place of its own; a motion that is fast enough is left as it is.
    """
    pace = max(wanted / fps, 1.0)
    return np.floor(np.arange(frames) * pace + 0.5).astype(np.intp)


def whole(frames: int) -> int:
    """The least 4n + 1 that is no fewer."""
    return -(-(frames - 1) // TEMPORAL) * TEMPORAL + 1


def mirrored(frames: int, wanted: int) -> NDArray[np.intp]:
    """Which of the ``frames`` stand in ``wanted`` ones: beyond its end, a video goes back and forth."""
    return np.pad(np.arange(frames), (0, wanted - frames), mode="reflect" if frames > 1 else "edge")


@frozen
class Segment:
    """Frames ``start`` .. ``start + length`` of a video, ``known`` of which the segment before has drawn."""

    start: int
    length: int
    known: int


def segments(frames: int, size: int, overlap: int) -> list[Segment]:
    """A video of ``frames`` in segments of at most ``size`` frames, each of 4n + 1, that share ``overlap`` frames.

    The last one may reach beyond the video's end by as much as its length needs.
    """
    found = [Segment(0, min(size, whole(frames)), 0)]
    while (end := found[-1].start + found[-1].length) < frames:
        start = end - overlap
        found.append(Segment(start, min(size, whole(frames - start)), overlap))
    return found


def padded(frames: int, size: int, overlap: int) -> tuple[int, int]:
    """(frames, segment length) for a pipeline that cuts into equal segments itself: what fills them exactly."""
    segment = min(size, max(whole(frames), overlap + TEMPORAL, LEAST))
    rounds = max(-(-(frames - overlap) // (segment - overlap)), 1)
    return overlap + rounds * (segment - overlap), segment


@frozen
class Canvas:
    """A picture of ``picture`` (H, W), shrunk or grown without distortion, in the middle of one of ``size`` (H, W)."""

    picture: tuple[int, int]
    size: tuple[int, int]

    @property
    def inner(self) -> tuple[int, int]:
        """The picture's own (height, width) on it."""
        scale = min(wanted / side for wanted, side in zip(self.size, self.picture, strict=True))
        height, width = (max(round(side * scale), 1) for side in self.picture)
        return min(height, self.size[0]), min(width, self.size[1])

    @property
    def corner(self) -> tuple[int, int]:
        """The picture's first row and column on it."""
        return (self.size[0] - self.inner[0]) // 2, (self.size[1] - self.inner[1]) // 2

    def place(self, image: Image, background: int) -> Image:
        """The picture on a canvas of grey ``background``."""
        canvas = np.full((*self.size, 3), background, np.uint8)
        (top, left), (height, width) = self.corner, self.inner
        canvas[top : top + height, left : left + width] = resized(image, self.inner)
        return canvas

    def cut(self, canvas: Image) -> Image:
        """The picture out of a canvas, at its own size."""
        (top, left), (height, width) = self.corner, self.inner
        return resized(canvas[top : top + height, left : left + width], self.picture)

    def seen(self, plan: ClipPlan) -> ClipPlan:
        """The plan as the canvas shows it: pixel centres have integer coordinates in both."""
        scale = np.array(self.inner[::-1]) / self.picture[::-1]
        shift = 0.5 * scale - 0.5 + self.corner[::-1]
        camera = Camera(plan.camera.focal_length * scale, plan.camera.principal_point * scale + shift)
        return evolve(plan, camera=camera, joints2d=plan.joints2d * scale + shift)


def resized(image: Image, size: tuple[int, int]) -> Image:
    """``image`` brought to ``size`` (H, W), without aliasing when it shrinks."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size[::-1], interpolation=how), np.uint8)
