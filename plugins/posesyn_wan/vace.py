"""The component ``wan_vace``: Wan2.1-VACE through diffusers' ``WanVACEPipeline``, small enough for small GPUs."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
import PIL.Image
import torch

from posesyn_core.engines.precision import DTYPES
from posesyn_core.errors import UserError
from posesyn_core.values import ClipPlan, Image
from posesyn_wan.clips import Segment, mirrored, segments
from posesyn_wan.config import WanVaceConfig
from posesyn_wan.drawing import Drawing, Frames
from posesyn_wan.memory import settle
from posesyn_wan.weights import prompts_of, vace_pipeline

WHITE = 255


class WanVaceAnimator:
    """Draws a reference person in the poses of a plan: the skeletons are the video that VACE is to repaint.

    The reference stands on a white canvas, as in VACE's training. A long clip comes in segments: the frames that a
    segment shares with the one before are given with a black mask (to be kept), all others with a white one. The
    skeletons are DWPose's with reversed channels, as VACE's own preprocessing writes them. Fits ``Animator``;
    thread-safe.
    """

    reference_crop: ClassVar[Literal["person", "image"]] = "person"
    """A person who is small in a large photograph has no pixels left in the model's."""
    guidance: ClassVar[tuple[str, ...]] = ("dwpose",)

    def __init__(self, config: WanVaceConfig) -> None:
        """Load the networks; embed the prompts unless that is done. UserError for what is missing or does not fit."""
        if config.segment_frames <= config.overlap_frames:
            raise UserError("the animator's segment_frames must be more than overlap_frames")
        self.config = config
        self.drawing = Drawing(config, (config.height, config.width), self.guidance[0], background=WHITE, swapped=True)
        self.body = self.drawing.body
        self.prompts = prompts_of(config.weights, config.prompt, config.negative_prompt, config.guidance_scale)
        self.pipeline = vace_pipeline(config.weights, config.shift, DTYPES[config.precision])
        settle(self.pipeline, config)

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        """One image of the reference's size per frame; see :meth:`Drawing.animate`."""
        return self.drawing.animate(plan, self._video)

    def _video(self, reference: PIL.Image.Image, poses: Sequence[PIL.Image.Image], noise: torch.Generator) -> Frames:
        """One frame for each pose, segment by segment."""
        drawn = np.empty((0, self.config.height, self.config.width, 3), np.float32)
        for segment in segments(len(poses), self.config.segment_frames, self.config.overlap_frames):
            found = self._segment(reference, poses, drawn, segment, noise)
            drawn = np.concatenate([drawn, found[segment.known :]])
        return drawn

    def _segment(
        self,
        reference: PIL.Image.Image,
        poses: Sequence[PIL.Image.Image],
        drawn: Frames,
        segment: Segment,
        noise: torch.Generator,
    ) -> Frames:
        """The frames of one segment, the ``known`` ones among them. Its length is 4n + 1: for others, the pipeline
        returns fewer frames than it is asked for, and says nothing."""
        config = self.config
        keep, paint = (PIL.Image.new("RGB", reference.size, colour) for colour in ("black", "white"))
        before = (drawn[segment.start : segment.start + segment.known] * 255).round().astype(np.uint8)
        own = poses[segment.start : segment.start + segment.length]
        rest = [own[at] for at in mirrored(len(own), segment.length)[segment.known :]]
        found: Frames = self.pipeline(
            video=[*map(PIL.Image.fromarray, before), *rest],
            mask=[keep] * segment.known + [paint] * (segment.length - segment.known),
            reference_images=[reference],
            conditioning_scale=config.conditioning_scale,
            height=config.height,
            width=config.width,
            num_frames=segment.length,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance_scale,
            generator=noise,
            **{name: prompt.to(config.device) for name, prompt in self.prompts.items()},
            output_type="np",
        ).frames[0]
        return found
