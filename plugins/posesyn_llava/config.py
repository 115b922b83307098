"""Options of the captioner; imports nothing heavy."""

from typing import Literal

from attrs import frozen

from posesyn_core import option

DEFAULT_MODEL = "weizhiwang/LLaVA-Llama-3-8B"
"""Weizhi Wang's, which the paper cites, in the layout of LLaVA's own code (see ``posesyn_llava.original``; 17 GB).

``xtuner/llava-llama-3-8b-v1_1-transformers`` follows the same recipe on Llama 3 8B, in the layout of transformers.
"""
DEFAULT_TOWER = "openai/clip-vit-large-patch14-336"
"""The vision tower that its config names: CLIP's, as published (1.7 GB)."""


@frozen
class LlavaConfig:
    """What ``posesyn plugins show llava`` prints."""

    model: str = option(
        DEFAULT_MODEL,
        "hub id or folder of any image-text-to-text model of transformers, or of a checkpoint in the layout of LLaVA's "
        "own code; the default is the one that the paper cites (another: xtuner/llava-llama-3-8b-v1_1-transformers)",
    )
    vision_tower: str = option(
        "", "hub id or folder of CLIP's vision tower, for LLaVA's own layout; empty = the one that the config names"
    )
    prompt: str = option("", "text file with another prompt ({examples} = the paper's examples); empty = the paper's")
    view: Literal["person", "image"] = option("person", "show the square about the person, or all of the image")
    margin: float = option(1.3, "side of that square over the longer side of the person's box", above=0, most=100)
    precision: Literal["bf16", "fp16", "fp32", "4bit"] = option(
        "bf16", "of the weights; '4bit' (bitsandbytes' NF4, a CUDA device) needs a third of bf16's memory"
    )
    device: str = option("cpu", "torch device: cpu, cuda, cuda:1, mps")
    batch: int = option(8, "images captioned at once", least=1, most=4_096)
    max_tokens: int = option(60, "longest answer, in tokens", least=1, most=4_096)
