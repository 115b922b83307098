"""What this plugin brings: the captioner ``llava``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Need, Resources
from posesyn_core.files.presence import file_faults, hub_faults
from posesyn_core.hookspecs import hookimpl
from posesyn_llava.config import DEFAULT_MODEL, DEFAULT_TOWER, LlavaConfig

if TYPE_CHECKING:
    from posesyn_llava.captioner import Llava

LICENCE = Licence(
    code="transformers (Apache-2.0)",
    weights=(
        "LLaVA-Llama-3-8B: Llama 3 Community License; LLaVA's training conversations were written by GPT-4 "
        "(OpenAI's terms); others: their model card"
    ),
    data=(
        "captions only lead the motions; Llama 3's licence forbids improving other language models with them; "
        "check your model's card yourself"
    ),
)


def lacks(config: LlavaConfig) -> Iterator[str]:
    """The model, the vision tower that it does not hold itself, or the prompt's file, if it is not there."""
    yield from hub_faults(config.model, "the captioner's model", "about 17 GB for LLaVA-Llama-3-8B")
    tower = config.vision_tower or (DEFAULT_TOWER if config.model == DEFAULT_MODEL else "")
    if tower:
        yield from hub_faults(tower, "the vision tower of the captioner's model", "1.7 GB")
    if config.prompt:
        yield from file_faults(config.prompt, "the captioner's prompt", "name a text file that exists")


def make_captioner(config: LlavaConfig) -> "Llava":
    from posesyn_llava.captioner import Llava

    return Llava(config)


@hookimpl
def register_captioners() -> list[Component]:
    summary = "A vision-language model asked as in the paper (LLaVA-Llama-3-8B, or another by id or folder)"
    need = Need("transformers", "pip install posesyn[llava]", modules=("transformers",))
    captioner = Component(
        Kind.CAPTIONER,
        "llava",
        summary,
        make_captioner,
        LlavaConfig,
        needs=(need,),
        resources=Resources(gpus=1.0, memory_gb=24),
        licence=LICENCE,
        lacks=lacks,
    )
    return [captioner]
