"""Prompts to embeddings, by diffusers' pipeline with Wan's text encoder: once, then from the file."""

from pathlib import Path

import torch
from diffusers import WanPipeline
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoTokenizer, UMT5EncoderModel

from posesyn_core.errors import UserError
from posesyn_core.files.paths import shown, write_atomic
from posesyn_core.progress import tell
from posesyn_wan.prompts import place_of

TOKENS = 512
"""Of every prompt, zeros behind its own, as the networks were trained."""
NAME = "tokens"


def embedded(folder: Path, prompt: str) -> Tensor:
    """(1, 512, width): from the file, or embedded now and kept. UserError if neither is possible."""
    path = place_of(folder, prompt)
    tokens = _read(path) if path.is_file() else _embed(folder, prompt)
    if not path.is_file():
        try:
            write_atomic(path, save({NAME: tokens.contiguous()}, {"prompt": prompt}))
        except PermissionError:
            tell(f"{shown(path.parent)} can't be written, so the text encoder is needed in every run")
    return pad(tokens, (0, 0, 0, TOKENS - len(tokens)))[None]


def _read(path: Path) -> Tensor:
    try:
        return load_file(path)[NAME]
    except (SafetensorError, KeyError, OSError) as error:
        raise UserError(f"the embedded prompt {shown(path)} can't be read ({error}): delete it") from error


def _embed(folder: Path, prompt: str) -> Tensor:
    """The prompt's own tokens (T, width), in the encoder's precision."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
        encoder = UMT5EncoderModel.from_pretrained(
            str(folder / "text_encoder"), local_files_only=True, use_safetensors=True, dtype="auto"
        )
    except Exception as error:  # transformers raises whatever a damaged folder leads it to
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"Wan's text encoder in {shown(folder)} can't be loaded: {reason}") from error
    pipeline = WanPipeline(tokenizer, encoder, None, None, None)
    with torch.inference_mode():
        tokens, _ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=TOKENS)
    own = int(tokenizer(prompt, truncation=True, max_length=TOKENS, return_tensors="pt").input_ids.shape[1])
    return tokens[0, :own].clone()
