"""The re-projection animator: the reference's own pixels, moved by the plan's body.

Labels are exact by construction, because the body that is drawn is the body of the plan.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import cast

import numpy as np

from posesyn_core.body.model import load_body
from posesyn_core.body.planning import posed_vertices
from posesyn_core.body.render import composite, interpolate, render, texture_colours, window
from posesyn_core.components import KeypointAbilities
from posesyn_core.errors import UserError
from posesyn_core.values import Camera, ClipPlan, FloatArray, Image, PoseEstimate, Sample
from posesyn_reprojection.config import ReprojectionConfig
from posesyn_reprojection.lifting import Person, Surface, in_front, lift

FINEST, FINE = 2.0, 1.5
"""How much finer than the image a person is drawn at most, and at least for an outline that needs no softening."""


class ReprojectionAnimator:
    """Draws a reference person in the poses of a plan. Thread-safe; people are kept for the clips to come."""

    def __init__(self, config: ReprojectionConfig) -> None:
        """UserError if the component of ``masks`` can't tell any."""
        if config.masks is not None and not hasattr(config.masks, "masks"):
            raise UserError("the component named under 'masks' finds joints but no masks: use 'blazepose'")
        self.config = config
        self.body = load_body(Path(config.body).expanduser() if config.body else None)
        self.surface = Surface(self.body)
        self.people: OrderedDict[tuple[str, bytes], Future[Person]] = OrderedDict()
        self.lock = threading.Lock()

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        """One image of the reference's size per frame. SampleError if the reference has no body to take pixels from."""
        person = self._person(plan.reference, plan.reference_estimate)
        for vertices in posed_vertices(self.body, plan):
            yield draw(person, self.surface, vertices, plan.camera, self.config.resolution)

    def _person(self, reference: Sample, estimate: PoseEstimate) -> Person:
        """The prepared person, made by the first thread that asks for it and awaited by the others."""
        key = (reference.id, estimate.joints2d.tobytes())
        with self.lock:
            known = self.people.get(key)
            future = known or self.people.setdefault(key, Future())
            self.people.move_to_end(key)
            while len(self.people) > self.config.references:
                self.people.popitem(last=False)
        if known is None:
            try:
                future.set_result(self._lifted(reference, estimate))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _lifted(self, reference: Sample, estimate: PoseEstimate) -> Person:
        shown = None
        if self.config.masks is not None:
            (shown,) = cast(KeypointAbilities, self.config.masks).masks([reference])
        return lift(self.body, self.surface, reference, estimate, self.config.resolution, shown)


def draw(person: Person, surface: Surface, vertices: FloatArray, camera: Camera, resolution: int) -> Image:
    """The person with the posed body ``vertices`` (V, 3), over the reference's background: uint8 (H, W, 3)."""
    image = person.background.copy()
    pixels = in_front(vertices, camera)
    limit = np.array(image.shape[1::-1])
    if not len(pixels):
        return image
    x0, y0 = np.clip(np.floor(pixels.min(axis=0)) - 1, 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(pixels.max(axis=0)) + 2, 0, limit).astype(int)
    if x1 <= x0 or y1 <= y0:
        return image
    extent = int(y1 - y0), int(x1 - x0)
    density = min(FINEST, resolution / max(extent))
    size = max(2, round(extent[0] * density)), max(2, round(extent[1] * density))
    seen = render(vertices, surface.faces, window(camera, (int(x0), int(y0)), extent, size), size)
    values = interpolate(seen, surface.faces, np.hstack([person.trust, person.colours]))
    trust, plain = values[:, :1], values[:, 1:]
    colours = plain + trust * (texture_colours(seen, person.uv, person.texture) - plain)
    image[y0:y1, x0:x1] = composite(seen, colours, image[y0:y1, x0:x1], soften=density < FINE)
    return image
