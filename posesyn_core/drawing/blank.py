"""The animator ``none``: no picture is drawn, the frames are their labels alone."""

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from posesyn_core.values import ClipPlan, Image

GREY = 128


@frozen
class BlankConfig:
    """It has no options."""


@frozen
class Blank:
    """Gives plain grey pictures of the reference's size, for estimators that look at none (``needs_picture`` False)."""

    config: BlankConfig
    draws = False

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        """See :class:`posesyn_core.components.Animator`."""
        from posesyn_core.files.images import read_encoded, upright_size

        if plan.reference.image == b"":
            width, height = np.round(2 * plan.camera.principal_point).astype(int).tolist()
        else:
            width, height = upright_size(read_encoded(plan.reference.image))
        picture: Image = np.full((height, width, 3), GREY, np.uint8)
        for _ in plan.transl:
            yield picture
