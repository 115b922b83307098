"""Text encoders: a sentence -> the 512 numbers that condition the transformer (e_text of Eq. 5)."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from posesyn_core.errors import UserError
from posesyn_t2mgpt.transformer import TEXT_DIM

CLIP_TOKENS = 77
"""Places of CLIP's text tower, start and end token included."""

CLIP_BATCH = 256
"""Texts encoded at once: a training set has tens of thousands."""


class TextEncoder(Protocol):
    """What turns captions into conditions."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, 512) float32, not normalised: lengths are of the order of 10, as CLIP's."""
        ...


class HashedText:
    """Words and pairs of neighbouring words, hashed into 512 signed counts (the starter's encoder; no weights).

    Texts that share words get similar features. The hash is a checksum, the same on every machine. A word said often
    counts as 1 + log(times). A text without words is zero, which is also how the transformer learns to go without.
    """

    norm = 10.0

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, 512) of length 10, or zero."""
        return torch.stack([self._one(text) for text in texts]) if texts else torch.zeros(0, TEXT_DIM)

    def _one(self, text: str) -> Tensor:
        words = re.findall(r"\w+", text.lower())
        pairs = [f"{first} {second}" for first, second in pairwise(words)]
        counts = Counter(words + pairs)
        feature = torch.zeros(TEXT_DIM)
        for term, count in counts.items():
            code = zlib.crc32(term.encode())
            feature[code % TEXT_DIM] += (1 + math.log(count)) * (1 if code & 0x8000_0000 else -1)
        return feature * (self.norm / feature.norm().clamp(min=1e-6))


class ClipText:
    """CLIP's text tower with its projection, through transformers.

    ``source`` is a folder or a hub id ("openai/clip-vit-base-patch32" is what T2M-GPT was trained with). As with
    T2M-GPT's ``clip.tokenize(text, truncate=True)``, a longer text keeps its first 75 tokens between the start and the
    end token; an empty one is those two. CLIP was trained on English: other languages mean little to it.
    """

    def __init__(self, source: str, device: str = "cpu") -> None:
        """Load the model. UserError if transformers is missing, or ``source`` is no CLIP that projects to 512."""
        try:
            from transformers import AutoTokenizer, CLIPTextModelWithProjection
        except ImportError as error:
            raise UserError(
                "the text encoder 'clip' needs transformers; install it with: pip install posesyn[clip]"
            ) from error
        folder = Path(source).expanduser()
        if not folder.is_dir() and source.startswith(("/", ".", "~")):
            raise UserError(f"the CLIP folder {source!r} does not exist; give a folder or a hub id")
        found = str(folder) if folder.is_dir() else source
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(found, trust_remote_code=False)
            self.model: Any = CLIPTextModelWithProjection.from_pretrained(found).to(device).eval()
        except Exception as error:  # transformers raises whatever a folder that is no CLIP leads it to
            raise UserError(f"no CLIP text model at {source!r}: {str(error).strip().splitlines()[0]}") from error
        if self.model.config.projection_dim != TEXT_DIM:
            raise UserError(f"{source!r} projects to {self.model.config.projection_dim} numbers, not {TEXT_DIM}")

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, 512): the projected feature of the end token."""
        parts = [self._some(texts[start : start + CLIP_BATCH]) for start in range(0, len(texts), CLIP_BATCH)]
        return torch.cat(parts) if parts else torch.zeros(0, TEXT_DIM)

    @torch.inference_mode()
    def _some(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=CLIP_TOKENS, return_tensors="pt"
        )
        return self.model(**tokens.to(self.model.device)).text_embeds.float().cpu()


def make_text_encoder(name: str, clip: str, device: str = "cpu") -> TextEncoder:
    """The encoder "hashed", or "clip" from the folder or hub id ``clip``; UserError for another name."""
    if name == "hashed":
        return HashedText()
    if name == "clip":
        return ClipText(clip, device)
    raise UserError(f"text_encoder {name!r} is neither 'hashed' nor 'clip'")
