"""Embedded prompts, kept beside the weights: a prompt is embedded once, and the text encoder not needed again.

``prompts/<digest>.safetensors`` in the weights' folder holds the tokens of one prompt. The umT5 encoder is larger than
the small video model, and the prompt is the same for every clip.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from posesyn_core.files.paths import shown
from posesyn_core.files.presence import folder_faults

FOLDER = "prompts"
ENCODER = ("text_encoder", "tokenizer")


def place_of(folder: Path, prompt: str) -> Path:
    """Where an embedded prompt is kept."""
    return folder / FOLDER / f"{hashlib.sha256(prompt.encode()).hexdigest()[:16]}.safetensors"


def faults(folder: Path, prompts: tuple[str, ...], source: str) -> Iterator[str]:
    """A sentence for each part of the text encoder that is missing, if a prompt has not been embedded yet."""
    if all(place_of(folder, prompt).is_file() for prompt in prompts):
        return
    for name in ENCODER:
        if not (folder / name).is_dir():
            yield (
                f"Wan's folder {shown(folder)} lacks {name}, which embeds the prompt once: {source}, or copy "
                f"{FOLDER}/ from a machine on which it was"
            )
        elif name == "text_encoder":
            yield from folder_faults(folder / name, "Wan's text encoder", source, ("config.json",))
