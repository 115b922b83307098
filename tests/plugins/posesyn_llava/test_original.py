"""Checkpoints in the layout of LLaVA's own code answer as the same model does in transformers' layout."""

import json
from pathlib import Path

import pytest
import torch
from transformers import LlavaProcessor

from posesyn_core.errors import UserError
from posesyn_llava.captioner import Llava, chat_prompt, picture
from posesyn_llava.config import DEFAULT_MODEL, DEFAULT_TOWER, LlavaConfig
from posesyn_llava.original import original_settings
from posesyn_llava.plugin import lacks
from tests.plugins.posesyn_llava.tiny import (
    IMAGE_TEMPLATE,
    PATCH,
    image_processor,
    make_tokenizer,
    save_llava,
    save_original,
)
from tests.tiny import people


def options(folder: Path, **changed: object) -> LlavaConfig:
    return LlavaConfig(**{"model": str(folder), "precision": "fp32", "max_tokens": 10, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("with_tower", [True, False], ids=["tower inside", "tower apart"])
def test_it_answers_as_the_same_model(tmp_path: Path, *, with_tower: bool) -> None:
    folder, model = save_original(tmp_path / "theirs", with_tower=with_tower)
    ours = tmp_path / "ours"
    model.save_pretrained(ours)
    LlavaProcessor(
        image_processor=image_processor(), tokenizer=make_tokenizer(image_last=True), patch_size=PATCH,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=IMAGE_TEMPLATE,
    ).save_pretrained(ours)  # fmt: skip
    loaded, known = Llava(options(folder)), Llava(options(ours))
    assert loaded.prompt.startswith("USER: <image>\nWhat is the motion")
    known.prompt = loaded.prompt
    pictures = [picture(sample, loaded.config) for sample in people(4)]
    answers = loaded.answer(pictures)
    assert answers == known.answer(pictures)
    assert len(set(answers)) > 1
    expected = model.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        rows = len(expected[name]) - (1 if name.endswith(("embed_tokens.weight", "lm_head.weight")) else 0)
        torch.testing.assert_close(tensor[:rows], expected[name][:rows], rtol=0, atol=0)


def test_another_vision_tower_goes_before_the_one_it_names(tmp_path: Path) -> None:
    folder, model = save_original(tmp_path / "theirs", with_tower=False)
    (folder / "clip").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="can't be loaded"):
        Llava(options(folder))
    loaded = Llava(options(folder, vision_tower=str(tmp_path / "elsewhere")))
    theirs = model.model.vision_tower.state_dict()
    for name, tensor in loaded.model.model.vision_tower.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("mm_projector_type", "ldpnetv2", r"mm_projector_type 'ldpnetv2'.*'mlp2x_gelu' is known"),
        ("image_aspect_ratio", "anyres", r"image_aspect_ratio 'anyres'"),
        ("mm_vision_tower", None, "names no mm_vision_tower"),
    ],
)
def test_relatives_that_compute_something_else_are_refused(
    tmp_path: Path, name: str, value: object, complaint: str
) -> None:
    folder, _ = save_original(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: value}))
    with pytest.raises(UserError, match=complaint):
        Llava(options(folder))


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    folder, _ = save_original(tmp_path)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({name: t for name, t in state.items() if "mm_projector" not in name}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"lacks the weights model\.multi_modal_projector.* and 3 more"):
        Llava(options(folder))


def test_layouts_are_told_apart(tmp_path: Path) -> None:
    assert original_settings(str(save_llava(tmp_path / "ours"))) is None
    folder, _ = save_original(tmp_path / "theirs")
    settings = original_settings(str(folder))
    assert settings is not None and settings["mm_hidden_size"] == 32


def test_llama_3_is_asked_in_its_turns() -> None:
    class Processor:
        tokenizer = make_tokenizer()
        chat_template = None
        image_token = "<image>"

    Processor.tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<image>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]}
    )
    assert chat_prompt(Processor, "What?") == (
        "<s><|start_header_id|>user<|end_header_id|>\n\n<image>\nWhat?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_what_the_default_lacks_is_told_with_its_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    told = "\n".join(lacks(LlavaConfig()))
    assert f"hf download {DEFAULT_MODEL}" in told
    assert f"hf download {DEFAULT_TOWER}" in told
