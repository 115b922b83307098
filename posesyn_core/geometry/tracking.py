"""Who is who in the frames of a film: boxes followed by their overlap.

As SORT does it (Bewley et al., ICIP 2016), with a constant velocity instead of a Kalman filter: each person's box is
moved on as it moved last, and the boxes found are given to those people whom they overlap most, all at once (Kuhn's
Hungarian method). Whoever is not seen for a while is forgotten; whoever then appears is new.
"""

import numpy as np
from attrs import Factory, define
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float64]
LEAST_OVERLAP = 0.15
"""Intersection over union with the box where a person is expected."""
PATIENCE = 1.0
"""Seconds for which somebody may be hidden."""
STEADY = 0.5
"""Share of the old velocity in the new one: a box found trembles."""


@define
class _Track:
    """A person: the box (4,) last seen, its change a second, and when that was."""

    number: int
    box: Boxes
    velocity: Boxes
    seen: float

    def expected(self, time: float) -> Boxes:
        return self.box + self.velocity * (time - self.seen)


@define
class Tracker:
    """Numbers people in the order in which they appear."""

    tracks: list[_Track] = Factory(list)
    known: int = 0

    def follow(self, boxes: ArrayLike, time: float) -> list[int]:
        """The numbers of the people in ``boxes`` (N, 4) x0, y0, x1, y1 of the frame at ``time`` seconds.

        Frames come in their order.
        """
        found = np.asarray(boxes, np.float64).reshape(-1, 4)
        self.tracks = [track for track in self.tracks if time - track.seen <= PATIENCE]
        given = self._given(found, time)
        return [self._seen(box, given.get(at), time) for at, box in enumerate(found)]

    def _given(self, found: Boxes, time: float) -> dict[int, _Track]:
        """Which box goes on which track."""
        from scipy.optimize import linear_sum_assignment

        if not self.tracks or not len(found):
            return {}
        overlaps = overlap(found, np.stack([track.expected(time) for track in self.tracks]))
        pairs = zip(*linear_sum_assignment(-overlaps), strict=True)
        return {int(at): self.tracks[which] for at, which in pairs if overlaps[at, which] >= LEAST_OVERLAP}

    def _seen(self, box: Boxes, track: _Track | None, time: float) -> int:
        if track is None:
            track = _Track(self.known, box, np.zeros(4), time)
            self.known += 1
            self.tracks.append(track)
        elif time > track.seen:
            moved = (box - track.box) / (time - track.seen)
            track.velocity = STEADY * track.velocity + (1 - STEADY) * moved
            track.box, track.seen = box, time
        return track.number


def overlap(first: Boxes, second: Boxes) -> Boxes:
    """Intersection over union (N, M) of boxes (N, 4) with boxes (M, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
