"""What this plugin brings: the captioner ``llava``."""

from typing import TYPE_CHECKING

from posesyn_core.components import Component, Kind, Licence, Need
from posesyn_core.hookspecs import hookimpl
from posesyn_llava.config import LlavaConfig

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


def make_captioner(config: LlavaConfig) -> "Llava":
    from posesyn_llava.captioner import Llava

    return Llava(config)


@hookimpl
def register_captioners() -> list[Component]:
    summary = "A vision-language model asked as in the paper (LLaVA-Llama-3-8B, or another by id or folder)"
    need = Need("transformers", "pip install posesyn[llava]", modules=("transformers",))
    return [Component(Kind.CAPTIONER, "llava", summary, make_captioner, LlavaConfig, needs=(need,), licence=LICENCE)]
