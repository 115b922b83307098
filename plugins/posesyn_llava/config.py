"""Options of the captioner; imports nothing heavy."""

from typing import Literal

from attrs import frozen

from posesyn_core import option

DEFAULT_MODEL = "xtuner/llava-llama-3-8b-v1_1-transformers"
"""xtuner's LLaVA-Llama-3-8B v1.1 in the form that transformers reads (about 17 GB).

The paper cites Weizhi Wang's (``weizhiwang/LLaVA-Llama-3-8B``), which comes in the layout of LLaVA's own code: to read
it takes that code. Both follow LLaVA-1.5's recipe on Llama 3 8B.
"""


@frozen
class LlavaConfig:
    """What ``posesyn plugins show llava`` prints."""

    model: str = option(
        DEFAULT_MODEL,
        "hub id or folder of any image-text-to-text model of transformers; the default is xtuner's, not Weizhi Wang's "
        "LLaVA-Llama-3-8B that the paper cites, whose layout transformers can't read",
    )
    prompt: str = option("", "text file with another prompt ({examples} = the paper's examples); empty = the paper's")
    view: Literal["person", "image"] = option("person", "show the square about the person, or all of the image")
    margin: float = option(1.3, "side of that square over the longer side of the person's box", above=0)
    precision: Literal["bf16", "fp16", "fp32", "4bit"] = option(
        "bf16", "of the weights; '4bit' (bitsandbytes' NF4, a CUDA device) needs a third of bf16's memory"
    )
    device: str = option("cpu", "torch device: cpu, cuda, cuda:1, mps")
    batch: int = option(8, "images captioned at once", least=1)
    max_tokens: int = option(60, "longest answer, in tokens", least=1)
