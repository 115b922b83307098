"""Checkpoints in the layout of LLaVA's own code, such as Weizhi Wang's LLaVA-Llama-3-8B, which the paper cites.

Their config names the class ``LlavaLlamaForCausalLM`` (``model_type`` "llava_llama"), which transformers does not know:
a Llama's config with LLaVA's settings beside (``mm_*``). The weights are the Llama's, ``model.mm_projector.*``, and,
where it was trained along, the vision tower's as ``model.vision_tower.vision_tower.*``; else that is the published CLIP
that ``mm_vision_tower`` names. What is computed is LLaVA-1.5, which transformers has: names and settings are
translated.
"""

from collections.abc import Mapping
from typing import Any

from posesyn_core.errors import UserError

ARCHITECTURE = "LlavaLlamaForCausalLM"
PROJECTOR = "mlp2x_gelu"
"""LLaVA-1.5's: two layers with a GELU between."""
STRATEGIES = {"patch": "default", "cls_patch": "full"}
"""transformers' words for which of the tower's tokens are looked at."""
IMAGE = "<image>"
"""Stands for the image; these tokenizers don't have it, as the original code cuts it out of the text before."""

NAMES: Mapping[str, str] = {
    r"^model\.mm_projector\.0\.": "model.multi_modal_projector.linear_1.",
    r"^model\.mm_projector\.2\.": "model.multi_modal_projector.linear_2.",
    r"^model\.vision_tower\.vision_tower\.(vision_model\.)?": "model.vision_tower.",
    r"^model\.(layers|embed_tokens|norm)\.": r"model.language_model.\1.",
}
"""The original names of weights (as patterns) and transformers' ones."""


def original_settings(source: str) -> dict[str, Any] | None:
    """The config of a folder or hub id if it is in the original layout, else None."""
    from transformers import PreTrainedConfig

    found, _ = PreTrainedConfig.get_config_dict(source)
    settings: dict[str, Any] = found
    return settings if ARCHITECTURE in (settings.get("architectures") or ()) else None


def load_original(source: str, settings: Mapping[str, Any], vision_tower: str = "", **options: Any) -> tuple[Any, Any]:
    """Processor and model; ``options`` are for ``from_pretrained``, ``vision_tower`` goes before the one it names.

    UserError for settings of LLaVA's relatives that compute something else.
    """
    from transformers import (
        AutoImageProcessor,
        AutoTokenizer,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    _check(source, settings)
    tower = vision_tower or settings["mm_vision_tower"]
    strategy = STRATEGIES[settings.get("mm_vision_select_feature", "patch")]
    config = LlavaConfig(
        vision_config=CLIPVisionConfig.from_pretrained(tower),
        text_config=LlamaConfig(**{name: value for name, value in settings.items() if name not in _OWN}),
        vision_feature_layer=settings.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy=strategy,
    )
    model, told = LlavaForConditionalGeneration.from_pretrained(
        source, config=config, key_mapping=dict(NAMES), output_loading_info=True, **options
    )
    _complete(source, model, told["missing_keys"], tower, options.get("dtype"))
    tokenizer = AutoTokenizer.from_pretrained(source)
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    config.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
    model.config.image_token_id = config.image_token_id
    if config.image_token_id >= model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(config.image_token_id + 1, mean_resizing=False)
    processor = LlavaProcessor(
        image_processor=AutoImageProcessor.from_pretrained(tower),
        tokenizer=tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=strategy,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )
    return processor, model


_OWN = frozenset({"architectures", "model_type", "_name_or_path", "torch_dtype", "dtype", "transformers_version"})
"""Entries of the config that are not settings of its Llama."""


def _check(source: str, settings: Mapping[str, Any]) -> None:
    for name, wanted in (
        ("mm_projector_type", (PROJECTOR,)),
        ("mm_vision_select_feature", (*STRATEGIES, None)),
        ("image_aspect_ratio", ("pad", "square", None)),
    ):
        if settings.get(name) not in wanted:
            raise UserError(
                f"the captioner's model {source!r} has {name} {settings.get(name)!r}, and only LLaVA-1.5's "
                f"{wanted[0]!r} is known here; give a checkpoint in the layout of transformers"
            )
    if not settings.get("mm_vision_tower"):
        raise UserError(f"the config of the captioner's model {source!r} names no mm_vision_tower")


def _complete(source: str, model: Any, missing: Any, tower: str, dtype: Any) -> None:
    """Take the vision tower's weights from its own checkpoint where the model's file has none."""
    from transformers import CLIPVisionModel

    towers = {name for name in missing if ".vision_tower." in name}
    others = sorted(set(missing) - towers)
    if others:
        raise UserError(f"the captioner's model {source!r} lacks the weights {others[0]} and {len(others) - 1} more")
    if towers:
        whole = CLIPVisionModel.from_pretrained(tower, dtype=dtype)
        model.model.vision_tower.load_state_dict(whole.state_dict())
