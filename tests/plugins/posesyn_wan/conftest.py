"""A tiny Wan in folders of the published layout, and plans to draw with it."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from posesyn_core.values import Sample
from posesyn_wan.weights import animate_pipeline, vace_pipeline
from tests.plugins.posesyn_champ.conftest import plan_of as plan_of
from tests.tiny import people


def save_text_encoder(folder: Path) -> None:
    """A umT5 that knows 64 words, of as many numbers a token as the random networks take."""
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, **{chr(ord("a") + at): 3 + at for at in range(26)}}
    model = Tokenizer(WordLevel(words, unk_token="<unk>"))
    model.pre_tokenizer = Split("", "isolated")  # a token for each character
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 64}
        UMT5EncoderModel(UMT5Config(**sizes)).save_pretrained(folder / "text_encoder")


def save_folder(folder: Path, kind: str) -> Path:
    """Write the networks of "random" as Wan's are published in diffusers' layout."""
    make = animate_pipeline if kind == "animate" else vace_pipeline
    pipeline = make("random", 5, torch.float32)
    for name in ("transformer", "vae", "scheduler"):
        getattr(pipeline, name).save_pretrained(folder / name)
    if kind == "animate":
        pipeline.image_encoder.save_pretrained(folder / "image_encoder")
        pipeline.image_processor.save_pretrained(folder / "image_processor")
    save_text_encoder(folder)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": type(pipeline).__name__}))
    return folder


@pytest.fixture(scope="session")
def animate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tmp_path_factory.mktemp("wan") / "animate", "animate")


@pytest.fixture(scope="session")
def vace_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tmp_path_factory.mktemp("wan") / "vace", "vace")


@pytest.fixture(scope="session")
def reference() -> Sample:
    return people(2)[0]
