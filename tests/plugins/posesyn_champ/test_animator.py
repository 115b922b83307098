"""The animator: frames of the reference's size that depend on the plan alone, and clips that are refused."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from posesyn_champ.animator import REMEMBERED, ChampAnimator, compiler
from posesyn_champ.config import ChampConfig
from posesyn_champ.pipeline import DENOISER, UNCONDITIONAL
from posesyn_champ.plugin import register_animators
from posesyn_core.components import Animator, Kind
from posesyn_core.contracts.engines import Accelerated, EngineConfig
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.inference.verification import load, verify_accelerated
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import Image, Sample
from tests.plugins.posesyn_champ.conftest import plan_of

TINY: Mapping[str, Any] = {
    "width": 64, "height": 64, "steps": 2, "context_frames": 4, "context_overlap": 2, "vae_chunk": 3
}  # fmt: skip


def made(folder: Path, **options: Any) -> ChampAnimator:
    return ChampAnimator(ChampConfig(str(folder), **{**TINY, **options}))


@pytest.fixture(scope="module")
def animator(folder: Path) -> ChampAnimator:
    return made(folder)


def frames(animator: ChampAnimator, reference: Sample, count: int = 5) -> Image:
    return np.stack(list(animator.animate(plan_of(reference, count))))


@pytest.fixture(scope="module")
def drawn(animator: ChampAnimator, reference: Sample) -> Image:
    """Five frames: windows of four, the second around the end."""
    return frames(animator, reference)


def apart(one: Image, two: Image) -> int:
    return int(np.abs(one.astype(int) - two.astype(int)).max())


def test_the_plugin_offers_it(animator: ChampAnimator) -> None:
    (component,) = register_animators()
    assert component.kind is Kind.ANIMATOR and component.name == "champ" and component.weights is not None
    assert isinstance(animator, Animator) and isinstance(animator, Accelerated)


def test_a_photograph_is_animated_through_the_stages(folder: Path, shared: Path, tmp_path: Path) -> None:
    """A real COCO photograph, all stages up to ``animate``, on the CPU."""
    (tmp_path / "recipe.toml").write_text(
        f'dataset = {{ name = "coco", root = "{shared}/data/images/coco", annotations = "test_coco.json" }}\n'
        "[score]\nhard = 1\neasy = 1\n[synthesize]\nmax_frames = 48\n[animate]\nframe_stride = 8\n"
        f'[animator]\nname = "champ"\nweights = "{folder}"\nwidth = 64\nheight = 64\nsteps = 2\n'
        "context_frames = 4\ncontext_overlap = 2\n"
    )
    run = create_run(tmp_path / "run", load_recipe(tmp_path / "recipe.toml"), Registry.discover())
    for stage in STAGES[: STAGES.index("animate") + 1]:
        figures = run_stage(run, stage)
    assert figures["clips"] == 1 and figures["rejected"] == 0 and figures["frames"] >= 4
    (clip,) = run.clips.values()
    photograph = load_image(clip.plan.reference.image)
    assert (clip.height, clip.width) == photograph.shape[:2]
    assert all(frame.image.is_file() == frame.judgement.keep for frame in clip.frames)
    assert clip.guidance == ("depth", "normal", "semantic_map", "dwpose")


def test_frames_follow_the_plan_and_the_reference(animator: ChampAnimator, reference: Sample, drawn: Image) -> None:
    assert drawn.shape == (5, *load_image(reference.image).shape) and drawn.dtype == np.uint8
    assert apart(drawn[0], drawn[-1]) > 0  # the arm moved
    plan = plan_of(reference, 5)
    other = next(iter(animator.animate(evolve(plan, seed=1))))
    assert apart(drawn[0], other) > 0


def test_a_clip_depends_on_its_plan_alone(animator: ChampAnimator, reference: Sample, drawn: Image) -> None:
    with ThreadPoolExecutor(2) as pool:
        clips = list(pool.map(lambda _: frames(animator, reference), range(2)))
    assert all(np.array_equal(clip, drawn) for clip in clips)


def test_a_clip_of_one_frame(animator: ChampAnimator, reference: Sample) -> None:
    assert frames(animator, reference, 1).shape == (1, *load_image(reference.image).shape)


@pytest.mark.parametrize(
    "options",
    [
        {"offload": "model"},
        {"offload": "sequential"},
        {"attention_frames": 1},
        {"guidance_chunk": 2, "vae_chunk": 1},
        pytest.param({"compile": "eager"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_memory_options_change_nothing_that_is_seen(
    folder: Path, reference: Sample, drawn: Image, options: dict[str, Any]
) -> None:
    assert apart(frames(made(folder, **options), reference), drawn) <= 1


def test_half_precision_is_close(folder: Path, reference: Sample, drawn: Image) -> None:
    found = frames(made(folder, precision="bf16"), reference)
    assert 0 < np.abs(found.astype(int) - drawn).mean() < 12


def test_large_frames_may_be_decoded_in_tiles(folder: Path, reference: Sample, drawn: Image) -> None:
    found = frames(made(folder, vae_tiling=True), reference)
    assert found.shape == drawn.shape and apart(found, drawn) > 0  # norms see a tile alone


def test_fewer_maps_and_other_windows_and_no_classifier_free_guidance(
    folder: Path, reference: Sample, drawn: Image
) -> None:
    for options in ({"guidance": ["normal"]}, {"closed_loop": False}, {"guidance_scale": 1.0}, {"shift_windows": True}):
        found = made(folder, **options)
        assert apart(frames(found, reference), drawn) > 0
    assert made(folder, guidance=["normal", "depth"]).guidance == ("normal", "depth")


def test_an_engine_takes_the_denoiser_over(folder: Path, reference: Sample, drawn: Image) -> None:
    animator = made(folder)
    networks = animator.networks()
    assert [network.name for network in networks] == [DENOISER, UNCONDITIONAL]
    engine = TorchEngine(EngineConfig(batch=(1, 2)))
    agreement = verify_accelerated(animator, networks, load(networks, engine), "fp32")
    assert agreement.accepted
    assert apart(frames(animator, reference), drawn) <= 1
    with pytest.raises(SampleError, match="windows of 4; set the animator's context_frames"):
        frames(animator, reference, 3)
    assert len(made(folder, guidance_scale=1.0).networks()) == 1


@pytest.mark.slow
def test_the_denoiser_exports_and_agrees(folder: Path) -> None:
    onnx = pytest.importorskip("posesyn_onnx.engine")
    pytest.importorskip("onnxruntime")
    animator = made(folder, guidance_scale=1.0)
    (network,) = animator.networks()
    registry = Registry.discover()
    engine = registry.create(Kind.ENGINE, "onnx", {"batch": [1, 2]}, "test")
    assert isinstance(engine, onnx.OnnxEngine)
    assert verify_accelerated(animator, [network], load([network], engine), "fp32").accepted


def hungry(_inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {"velocity": torch.empty(1 << 50)}


def exhausted(_inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("call", [hungry, exhausted])
def test_out_of_memory_in_the_denoiser_rejects_the_clip(folder: Path, reference: Sample, call: Callable) -> None:
    animator = made(folder)
    animator.use({DENOISER: call, UNCONDITIONAL: call})
    with pytest.raises(SampleError, match="out of memory for 5 frames of 64 x 64: lower context_frames"):
        frames(animator, reference)


def test_other_errors_are_not_taken_for_it(folder: Path, reference: Sample) -> None:
    def broken(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        raise RuntimeError("shapes do not match")

    animator = made(folder)
    animator.use({DENOISER: broken, UNCONDITIONAL: broken})
    with pytest.raises(RuntimeError, match="shapes"):
        frames(animator, reference)


def test_bodies_that_can_not_be_drawn_are_refused(animator: ChampAnimator, reference: Sample) -> None:
    plan = plan_of(reference, 3)
    pose = plan.body_pose.copy()
    pose[1, 3, 0] = np.nan
    with pytest.raises(SampleError, match="not finite"):
        next(animator.animate(evolve(plan, body_pose=pose)))
    pixels = plan.joints2d.copy()
    pixels[2] += 10_000
    with pytest.raises(SampleError, match="leaves the image: no joint is in it in frame 2 of 3"):
        next(animator.animate(evolve(plan, joints2d=pixels)))
    with pytest.raises(SampleError, match="not an image"):
        next(animator.animate(evolve(plan, reference=evolve(reference, image=b"no picture"))))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"width": 100}, "multiples of 64"),
        ({"context_frames": 40}, "at most 32"),
        ({"context_overlap": 4}, "more than context_overlap"),
        ({"steps": 0}, "at least 1"),
        ({"closed_loop": False, "context_stride": 2}, "leave closed_loop on"),
        ({"device": "cuda:77"}, "can't be used"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(folder: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        made(folder, **options)


def test_unknown_guidance_is_refused() -> None:
    with pytest.raises(ValueError, match="guidance must name"):
        ChampConfig(guidance=("depth", "outline"))


def test_sequential_offload_leaves_nothing_to_export(folder: Path) -> None:
    with pytest.raises(UserError, match="offload to 'none'"):
        made(folder, offload="sequential").networks()


def test_a_reference_is_looked_at_once_for_all_of_its_clips(folder: Path, reference: Sample, drawn: Image) -> None:
    animator, seen = made(folder), []
    animator.champ.reference.register_forward_hook(lambda *_: seen.append(1))
    first = frames(animator, reference)
    again = frames(animator, reference)
    assert len(seen) == 1
    np.testing.assert_array_equal(first, drawn)
    np.testing.assert_array_equal(again, drawn)
    darker = evolve(reference, image=encode_png(load_image(reference.image) // 2))
    assert apart(frames(animator, darker), drawn) > 0
    assert len(seen) == 2
    for number in range(REMEMBERED):
        frames(animator, evolve(reference, image=encode_png(load_image(reference.image) // (number + 3))), 1)
    np.testing.assert_array_equal(frames(animator, reference), drawn)
    assert len(seen) == REMEMBERED + 3  # forgotten meanwhile


def test_the_denoiser_is_compiled_where_that_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = ChampConfig(device="cuda:1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "triton" else None)
    assert [compiler(c) for c in (gpu, ChampConfig(), evolve(gpu, offload="sequential"), evolve(gpu, compile=""))] == [
        "inductor", "", "", ""
    ]  # fmt: skip
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert compiler(gpu) == ""
    assert compiler(ChampConfig(compile="eager")) == "eager"
