"""What both animators do about a plan: poses at the model's pace on its canvas, and its frames back from there."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from posesyn_core.body.guidance import guidance_maps
from posesyn_core.body.model import Body, load_body
from posesyn_core.body.planning import filled_in, require_drawable
from posesyn_core.engines.memory import rejecting_what_does_not_fit
from posesyn_core.files.images import load_image
from posesyn_core.seeds import seed_of
from posesyn_core.values import ClipPlan, Image
from posesyn_wan.clips import Canvas, places
from posesyn_wan.config import WanConfig
from posesyn_wan.memory import REMEDIES

Frames = NDArray[np.float32]
Video = Callable[[PIL.Image.Image, Sequence[PIL.Image.Image], torch.Generator], Frames]
"""Reference, skeletons of all N poses and where noise comes from -> at least N frames (N, H, W, 3), 0..1."""


class Drawing:
    """Draws plans with a pipeline, one clip at a time; skeletons are drawn by all threads.

    ``kind`` is the guidance map that leads it, ``background`` the grey beside a reference of another shape. A clip
    depends on its plan alone.
    """

    def __init__(
        self, config: WanConfig, size: tuple[int, int], kind: str, background: int, *, swapped: bool = False
    ) -> None:
        """``swapped``: the skeletons' channels are reversed."""
        self.config, self.size, self.kind, self.background, self.swapped = config, size, kind, background, swapped
        self.body: Body = load_body(Path(config.body).expanduser() if config.body else None)
        self.lock = threading.Lock()

    def animate(self, plan: ClipPlan, video: Video) -> Iterator[Image]:
        """One image of the reference's size per frame.

        SampleError for a broken reference, bodies that are not finite or leave the image, and a clip for which memory
        does not suffice.
        """
        image = load_image(plan.reference.image)
        require_drawable(plan, image.shape[:2])
        canvas = Canvas(image.shape[:2], self.size)
        at = places(len(plan.transl), plan.fps, self.config.fps)
        poses = self._skeletons(plan, canvas, at)
        reference = PIL.Image.fromarray(canvas.place(image, self.background))
        noise = torch.Generator().manual_seed(seed_of(plan.seed, plan.id, "wan"))
        subject = f"{len(poses)} frames of {self.size[1]} x {self.size[0]}"
        with self.lock, rejecting_what_does_not_fit(subject, REMEDIES), torch.inference_mode():
            frames = video(reference, poses, noise)
        for place in at:
            yield canvas.cut((frames[place] * 255).round().clip(0, 255).astype(np.uint8))

    def _skeletons(self, plan: ClipPlan, canvas: Canvas, at: NDArray[np.intp]) -> list[PIL.Image.Image]:
        """The skeletons of the plan's poses, which come to stand ``at`` (L,), and of those in between."""
        seen = canvas.seen(plan)
        whole = seen if at[-1] + 1 == len(at) else filled_in(self.body, seen, at)
        drawn = (maps[self.kind] for maps in guidance_maps(self.body, whole, canvas.size, (self.kind,)))
        order = slice(None, None, -1 if self.swapped else 1)
        return [PIL.Image.fromarray(np.ascontiguousarray(picture[..., order])) for picture in drawn]
