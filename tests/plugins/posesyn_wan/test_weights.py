"""Published folders: loaded as they are, their prompts embedded once, and what they lack told before."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core.errors import UserError
from posesyn_core.values import Sample
from posesyn_wan.animator import WanAnimator
from posesyn_wan.config import WanAnimateConfig, WanVaceConfig
from posesyn_wan.embedding import embedded
from posesyn_wan.plugin import animate_lacks, vace_lacks
from posesyn_wan.prompts import place_of
from posesyn_wan.vace import WanVaceAnimator
from posesyn_wan.weights import animate_pipeline
from tests.plugins.posesyn_wan.conftest import plan_of


@pytest.fixture
def folder(animate_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(animate_folder, tmp_path / "wan"))


def config(folder: Path, **options: object) -> WanAnimateConfig:
    sizes = {"width": 32, "height": 32, "steps": 1, "precision": "fp32"}
    return WanAnimateConfig(**{"weights": str(folder), **sizes, **options})  # type: ignore[arg-type]


def test_a_folder_draws_without_its_text_encoder_once_the_prompt_is_embedded(folder: Path, reference: Sample) -> None:
    plan = plan_of(reference, 3)
    assert not list(animate_lacks(config(folder)))
    first = np.stack(list(WanAnimator(config(folder)).animate(plan)))
    for name in ("text_encoder", "tokenizer"):
        shutil.rmtree(folder / name)
    assert not list(animate_lacks(config(folder)))
    assert np.array_equal(np.stack(list(WanAnimator(config(folder)).animate(plan))), first)
    lacking = list(animate_lacks(config(folder, prompt="another")))
    assert len(lacking) == 2 and "which embeds the prompt once" in lacking[0] and "hf download Wan-AI/" in lacking[0]
    with pytest.raises(UserError, match="text encoder in"):
        WanAnimator(config(folder, prompt="another"))


def test_vace_from_a_folder(vace_folder: Path, reference: Sample) -> None:
    options = WanVaceConfig(weights=str(vace_folder), width=32, height=32, steps=1, precision="fp32")
    assert not list(vace_lacks(options))
    assert len(list(WanVaceAnimator(options).animate(plan_of(reference, 3)))) == 3
    assert place_of(vace_folder, options.negative_prompt).is_file()


def test_an_embedding_has_the_prompts_tokens_and_zeros_behind(folder: Path) -> None:
    tokens = embedded(folder, "walks")
    assert tokens.shape == (1, 512, 32)
    known = tokens[0].abs().sum(dim=1) > 0
    assert 0 < known.sum() < 10 and not known[known.sum() :].any()
    assert torch.equal(tokens, embedded(folder, "walks"))
    assert not torch.equal(tokens, embedded(folder, "sits"))
    place_of(folder, "walks").write_bytes(b"damaged")
    with pytest.raises(UserError, match="delete it"):
        embedded(folder, "walks")


def test_weights_are_those_of_the_folder(folder: Path) -> None:
    loaded, made = (animate_pipeline(weights, 3.0, torch.float32) for weights in (str(folder), "random"))
    mine, wanted = (pipeline.transformer.state_dict() for pipeline in (loaded, made))
    assert mine.keys() == wanted.keys() and all(torch.equal(mine[name], tensor) for name, tensor in wanted.items())
    assert loaded.scheduler.config.flow_shift == 3 and not loaded.vae.training


@pytest.mark.parametrize("name", ["transformer", "vae", "scheduler", "image_encoder", "image_processor"])
def test_a_missing_part_is_told_with_where_to_get_it(folder: Path, name: str) -> None:
    shutil.rmtree(folder / name)
    (fault,) = animate_lacks(config(folder))
    assert name in fault and "hf download Wan-AI/Wan2.2-Animate-14B-Diffusers" in fault
    with pytest.raises(UserError, match=name):
        WanAnimator(config(folder))


def test_a_partial_download_is_told(folder: Path) -> None:
    (file,) = (folder / "transformer").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    (fault,) = animate_lacks(config(folder))
    assert "ends early" in fault
    with pytest.raises(UserError, match="is the download complete"):
        WanAnimator(config(folder))


def test_a_missing_shard_is_told(folder: Path) -> None:
    (file,) = (folder / "transformer").glob("*.safetensors")
    index = folder / "transformer/diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": file.name, "b": "second.safetensors"}}))
    (fault,) = animate_lacks(config(folder))
    assert "second.safetensors" in fault
    index.write_text("{}")
    (fault,) = animate_lacks(config(folder))
    assert "can't be used" in fault


def test_nothing_at_all_is_told_once() -> None:
    (fault,) = animate_lacks(WanAnimateConfig(weights="nowhere"))
    assert "nowhere" in fault and "hf download" in fault
    assert not list(animate_lacks(WanAnimateConfig(weights="random")))
