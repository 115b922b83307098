"""How a picture is stored, and how it is meant to be seen: EXIF's eight orientations, decided here for all formats.

Everything downstream sees pictures upright. Pixel centres have integer coordinates, so the right neighbour of the last
column of a picture W pixels wide is at x = W, and mirroring takes x to W - 1 - x.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from posesyn_core.geometry.skeletons import JointSet
from posesyn_core.values import FloatArray, Image

TAG = 0x0112
UPRIGHT = 1
_STEPS: Mapping[int, tuple[bool, bool, bool]] = {
    1: (False, False, False), 2: (False, True, False), 3: (False, True, True), 4: (False, False, True),
    5: (True, False, False), 6: (True, True, False), 7: (True, True, True), 8: (True, False, True),
}  # fmt: skip
"""By EXIF's number: exchange the axes, then mirror in x, then in y, to see the stored picture as it is meant."""


def orientation(exchanged: bool, mirror_x: bool, mirror_y: bool) -> int:
    """EXIF's number of the orientation that is seen right after exchanging the axes, then mirroring in x, then in y."""
    return next(tag for tag, steps in _STEPS.items() if steps == (exchanged, mirror_x, mirror_y))


def known(tag: Any) -> int:
    """EXIF's number of an orientation, 1 for anything that is none."""
    return tag if isinstance(tag, int) and tag in _STEPS else UPRIGHT


@frozen
class Storage:
    """How a picture is stored: EXIF's ``orientation``, and its ``width`` and ``height`` as stored, in pixels."""

    orientation: int
    width: int
    height: int

    @property
    def lying(self) -> bool:
        """Whether width and height are exchanged."""
        return _STEPS[self.orientation][0]

    @property
    def mirrored(self) -> bool:
        """Whether the stored picture is a mirror image."""
        return sum(_STEPS[self.orientation]) % 2 == 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as it is meant to be seen."""
        return (self.height, self.width) if self.lying else (self.width, self.height)

    def pixels(self, stored: Image) -> Image:
        """The stored picture (H, W, 3) upright."""
        exchanged, mirror_x, mirror_y = _STEPS[self.orientation]
        turned = stored.transpose(1, 0, 2) if exchanged else stored
        return np.ascontiguousarray(turned[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1])

    def points(self, stored: ArrayLike) -> FloatArray:
        """Points (..., 2) in pixels of the stored picture, in those of the upright one."""
        exchanged, mirror_x, mirror_y = _STEPS[self.orientation]
        points = np.asarray(stored, np.float32)
        points = points[..., ::-1] if exchanged else points
        width, height = self.upright_size
        x, y = points[..., 0], points[..., 1]
        return np.stack([width - 1 - x if mirror_x else x, height - 1 - y if mirror_y else y], -1)

    def box(self, stored: ArrayLike) -> FloatArray:
        """A box (4,) x0, y0, x1, y1 in pixels of the stored picture, in those of the upright one."""
        corners = self.points(np.asarray(stored, np.float32).reshape(2, 2))
        return np.concatenate([corners.min(0), corners.max(0)])

    def order(self, joints: JointSet) -> NDArray[np.intp]:
        """(J,) which of the joints that were labelled on the stored picture is which on the upright one.

        Whoever sees a mirror image takes the person's left for the right.
        """
        return joints.flip if self.mirrored else np.arange(len(joints))
