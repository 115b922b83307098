"""Both animators on tiny random networks: lengths, sizes, what the pipelines are given, and what is refused."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from diffusers import WanAnimatePipeline, WanVACEPipeline

from posesyn_core.body.guidance import guidance_maps
from posesyn_core.components import Animator
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.values import Image, Sample
from posesyn_wan.animator import WanAnimator
from posesyn_wan.config import WanAnimateConfig, WanVaceConfig
from posesyn_wan.plugin import register_animators
from posesyn_wan.vace import WanVaceAnimator
from tests.plugins.posesyn_wan.conftest import plan_of

TINY: dict[str, Any] = {"weights": "random", "width": 32, "height": 32, "steps": 1, "precision": "fp32"}
SAMPLING = {"steps": "num_inference_steps", "guidance_scale": "guidance_scale"}
"""Our options whose defaults are the pipelines' own, by their names there."""
Made = WanAnimator | WanVaceAnimator


def animate(**options: Any) -> WanAnimator:
    return WanAnimator(WanAnimateConfig(**{**TINY, **options}))


def vace(**options: Any) -> WanVaceAnimator:
    return WanVaceAnimator(WanVaceConfig(**{**TINY, **options}))


BOTH = pytest.mark.parametrize("make", [animate, vace])


def frames(animator: Made, reference: Sample, count: int = 6) -> Image:
    return np.stack(list(animator.animate(plan_of(reference, count))))


def apart(one: Image, two: Image) -> int:
    return int(np.abs(one.astype(int) - two.astype(int)).max())


class Spy:
    """Stands in front of a pipeline and keeps what it is called with."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline, self.calls = pipeline, list[dict[str, Any]]()
        self.transformer = getattr(pipeline, "transformer", None)

    def __call__(self, **given: Any) -> Any:
        self.calls.append(given)
        return self.pipeline(**given)


def spied(animator: Made) -> list[dict[str, Any]]:
    spy = Spy(animator.pipeline)
    animator.pipeline = spy
    return spy.calls


@BOTH
@pytest.mark.parametrize("count", [1, 2, 13, 14, 30, 77, 120])
def test_a_clip_of_any_length_comes_back_that_long(make: Callable[..., Made], reference: Sample, count: int) -> None:
    animator = make()
    assert isinstance(animator, Animator)
    found = frames(animator, reference, count)
    assert found.shape == (count, *load_image(reference.image).shape) and found.dtype == np.uint8
    if count <= 30:
        assert np.array_equal(found, frames(make(), reference, count))


@BOTH
def test_a_clip_depends_on_its_plan_alone(make: Callable[..., Made], reference: Sample) -> None:
    animator = make()
    drawn = frames(animator, reference)
    with ThreadPoolExecutor(2) as pool:
        assert all(np.array_equal(clip, drawn) for clip in pool.map(lambda _: frames(animator, reference), range(2)))
    plan = plan_of(reference, 6)
    for other in (evolve(plan, seed=1), evolve(plan, id="another")):
        assert apart(drawn, np.stack(list(animator.animate(other)))) > 0


@BOTH
def test_a_photograph_of_another_shape_keeps_its_size(make: Callable[..., Made], reference: Sample) -> None:
    wide = np.pad(load_image(reference.image), ((0, 0), (0, 60), (0, 0)))
    found = frames(make(height=48), evolve(reference, image=encode_png(wide)), 3)
    assert found.shape == (3, 128, 188, 3)


def test_animate_is_called_as_published(reference: Sample) -> None:
    animator = animate()
    calls = spied(animator)
    frames(animator, reference, 60)  # at 20 frames a second: 90 at 30
    (given,) = calls
    assert animator.pipeline.pipeline.scheduler.config.flow_shift == 5
    assert given["mode"] == "animate" and given["segment_frame_length"] == 77 and given["guidance_scale"] == 1
    assert given["prev_segment_conditioning_frames"] == 1
    assert len(given["pose_video"]) == len(given["face_video"]) == 153  # two segments
    assert all(np.asarray(face).max() == 0 for face in given["face_video"])
    assert given["prompt_embeds"].shape == (1, 512, 32) and "negative_prompt_embeds" not in given


def test_the_defaults_are_the_published_ones() -> None:
    animate, vace = WanAnimateConfig(), WanVaceConfig()
    assert (animate.steps, animate.shift, animate.fps, animate.guidance_scale) == (20, 5, 30, 1)
    assert (vace.steps, vace.shift, vace.fps, vace.guidance_scale) == (50, 16, 16, 5)
    assert (animate.segment_frames, animate.overlap_frames, vace.segment_frames) == (77, 1, 81)


@pytest.mark.parametrize(
    ("pipeline", "config", "theirs"),
    [
        (WanAnimatePipeline, WanAnimateConfig, {**SAMPLING, "segment_frames": "segment_frame_length",
                                                "overlap_frames": "prev_segment_conditioning_frames"}),
        (WanVACEPipeline, WanVaceConfig, {**SAMPLING, "segment_frames": "num_frames",
                                          "conditioning_scale": "conditioning_scale"}),
    ],
)  # fmt: skip
def test_the_installed_pipelines_take_what_they_are_given(
    pipeline: type, config: type[WanAnimateConfig] | type[WanVaceConfig], theirs: dict[str, str], reference: Sample
) -> None:
    """Names and defaults of the installed diffusers: of calls, of parts by their order, and of what offloads."""
    made = animate(guidance_scale=2.0) if config is WanAnimateConfig else vace()
    calls = spied(made)
    frames(made, reference, 2)
    taken = inspect.signature(pipeline.__call__).parameters
    assert set(calls[0]) <= set(taken)
    needed = {name for name, given in taken.items() if given.default is given.empty} - {"self"}
    assert needed <= set(calls[0])
    for mine, other in theirs.items():
        assert getattr(config(), mine) == taken[other].default, mine
    parts = ["vae", "scheduler", "image_processor", "image_encoder", "transformer"]
    order = [name for name in inspect.signature(pipeline.__init__).parameters if name in parts]
    assert order == [part for part in parts if config is WanAnimateConfig or not part.startswith("image")]
    for method, names in {
        "enable_model_cpu_offload": {"device"},
        "enable_group_offload": {"onload_device", "offload_type", "num_blocks_per_group", "offload_to_disk_path"},
    }.items():
        assert names <= set(inspect.signature(getattr(pipeline, method)).parameters)


def test_the_skeletons_are_those_of_the_labels(reference: Sample) -> None:
    """Each of the plan's poses is drawn as the guidance has it, others in between; VACE's with channels reversed."""
    plan = plan_of(reference, 4)
    for animator, kind in (
        (animate(width=128, height=128), "wan_pose"),
        (vace(width=128, height=128, fps=30), "dwpose"),
    ):
        calls = spied(animator)
        list(animator.animate(plan))
        video = calls[0]["pose_video" if kind == "wan_pose" else "video"]
        wanted = [maps[kind] for maps in guidance_maps(animator.body, plan, (128, 128), (kind,))]
        for place, picture in zip([0, 2, 3, 5], wanted, strict=True):
            given = np.asarray(video[place])
            assert np.array_equal(given if kind == "wan_pose" else given[..., ::-1], picture)
        assert apart(np.asarray(video[1]), np.asarray(video[0])) > 0 < apart(np.asarray(video[1]), np.asarray(video[2]))


def test_vace_goes_on_from_the_frames_before(reference: Sample) -> None:
    animator = vace(segment_frames=9, fps=0)
    calls = spied(animator)
    assert frames(animator, reference, 14).shape[0] == 14
    assert [call["num_frames"] for call in calls] == [9, 9, 9]
    assert all(call["num_frames"] % 4 == 1 and len(call["video"]) == len(call["mask"]) for call in calls)
    black = [sum(np.asarray(mask).max() == 0 for mask in call["mask"]) for call in calls]
    assert black == [0, 5, 5] and calls[0]["guidance_scale"] == 5
    assert {"prompt_embeds", "negative_prompt_embeds"} <= set(calls[0])
    (canvas,) = calls[0]["reference_images"]
    assert canvas.size == (32, 32)


def test_vace_shows_the_reference_on_white(reference: Sample) -> None:
    animator = vace(height=64)
    calls = spied(animator)
    frames(animator, reference, 2)
    canvas = np.asarray(calls[0]["reference_images"][0])
    assert (canvas[:16] == 255).all() and (canvas[48:] == 255).all() and (canvas[16:48] < 255).any()


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {"offload": "model"},
        {"offload": "sequential"},
        {"offload": "group"},
        {"offload": "group", "group_folder": "here"},
    ],
    ids=str,
)
def test_offloading_changes_nothing(
    make: Callable[..., Made], reference: Sample, options: dict[str, Any], tmp_path: Path
) -> None:
    if "group_folder" in options:
        options = {**options, "group_folder": str(tmp_path)}
    assert apart(frames(make(**options), reference), frames(make(), reference)) <= 1
    if "group_folder" in options:
        assert any(tmp_path.rglob("*.safetensors"))


@BOTH
def test_half_precision_and_guidance(make: Callable[..., Made], reference: Sample) -> None:
    drawn = frames(make(), reference)
    assert np.abs(frames(make(precision="bf16"), reference).astype(int) - drawn).mean() < 12
    assert apart(frames(make(guidance_scale=9.0), reference), drawn) > 0
    assert frames(make(vae_tiling=True), reference).shape == drawn.shape


@BOTH
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()], ids=type)
def test_out_of_memory_rejects_the_clip(make: Callable[..., Made], reference: Sample, error: Exception) -> None:
    def exhausted(**_given: Any) -> Any:
        raise error

    animator = make()
    exhausted.transformer = animator.pipeline.transformer  # type: ignore[attr-defined]
    animator.pipeline = exhausted
    with pytest.raises(SampleError, match=r"out of memory for [69] frames of 32 x 32: lower segment_frames"):
        frames(animator, reference)


@BOTH
def test_bodies_that_can_not_be_drawn_are_refused(make: Callable[..., Made], reference: Sample) -> None:
    animator, plan = make(), plan_of(reference, 3)
    pose = plan.body_pose.copy()
    pose[1, 3, 0] = np.nan
    with pytest.raises(SampleError, match="not finite"):
        next(animator.animate(evolve(plan, body_pose=pose)))
    with pytest.raises(SampleError, match="leaves the image"):
        next(animator.animate(evolve(plan, joints2d=plan.joints2d + 10_000)))
    with pytest.raises(SampleError, match="not an image"):
        next(animator.animate(evolve(plan, reference=evolve(reference, image=b"no picture"))))


@BOTH
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"width": 100}, "multiple of 16"),
        ({"segment_frames": 30}, r"4n \+ 1"),
        ({"steps": 0}, "at least 1"),
        ({"device": "cuda:77"}, "can't be used"),
        ({"weights": "nowhere"}, "does not exist"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(make: Callable[..., Made], options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        make(**options)


def test_segments_must_go_on() -> None:
    with pytest.raises(UserError, match="more than overlap_frames"):
        vace(segment_frames=9, overlap_frames=9)


def test_the_plugin_offers_both() -> None:
    assert [component.name for component in register_animators()] == ["wan_animate", "wan_vace"]
