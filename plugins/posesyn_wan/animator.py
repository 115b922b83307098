"""The component ``wan_animate``: Wan2.2-Animate through diffusers' ``WanAnimatePipeline``."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import PIL.Image
import torch

from posesyn_core.engines.precision import DTYPES
from posesyn_core.errors import UserError
from posesyn_core.values import ClipPlan, Image
from posesyn_wan.clips import mirrored, padded
from posesyn_wan.config import WanAnimateConfig
from posesyn_wan.drawing import Drawing, Frames
from posesyn_wan.memory import settle
from posesyn_wan.weights import animate_pipeline, prompts_of


class WanAnimator:
    """Draws a reference person in the poses of a plan, as published for the mode "animate".

    The reference's latent, the skeletons (``wan_pose``) and, from the second segment on, the last frames of the one
    before lead the denoising. There is no face to copy expressions from: its video is black, which is what the
    pipeline's own unconditional branch sees. Fits ``Animator``; thread-safe.
    """

    reference_crop: ClassVar[Literal["person", "image"]] = "person"
    """A person who is small in a large photograph has no pixels left in the model's."""
    guidance: ClassVar[tuple[str, ...]] = ("wan_pose",)

    def __init__(self, config: WanAnimateConfig) -> None:
        """Load the networks; embed the prompts unless that is done. UserError for what is missing or does not fit."""
        if config.segment_frames <= config.overlap_frames:
            raise UserError("the animator's segment_frames must be more than overlap_frames")
        self.config = config
        self.drawing = Drawing(config, (config.height, config.width), self.guidance[0], background=0)
        self.body = self.drawing.body
        self.prompts = prompts_of(config.weights, config.prompt, config.negative_prompt, config.guidance_scale)
        self.pipeline = animate_pipeline(config.weights, config.shift, DTYPES[config.precision])
        settle(self.pipeline, config)

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        """One image of the reference's size per frame; see :meth:`Drawing.animate`."""
        return self.drawing.animate(plan, self._video)

    def _video(self, reference: PIL.Image.Image, poses: Sequence[PIL.Image.Image], noise: torch.Generator) -> Frames:
        """The pipeline's frames, at least one for each pose: it gets as many as its segments hold.

        Left to itself it pads as well, but fails for one frame, and for fewer than it conditions on.
        """
        config = self.config
        frames, segment = padded(len(poses), config.segment_frames, config.overlap_frames)
        side = self.pipeline.transformer.config.motion_encoder_size
        black = PIL.Image.new("RGB", (side, side))
        found: Frames = self.pipeline(
            image=reference,
            pose_video=[poses[at] for at in mirrored(len(poses), frames)],
            face_video=[black] * frames,
            height=config.height,
            width=config.width,
            segment_frame_length=segment,
            num_inference_steps=config.steps,
            mode="animate",
            prev_segment_conditioning_frames=config.overlap_frames,
            motion_encode_batch_size=config.face_batch,
            guidance_scale=config.guidance_scale,
            generator=noise,
            **{name: prompt.to(config.device) for name, prompt in self.prompts.items()},
            output_type="np",
        ).frames[0]
        return found
