"""A tiny LLaVA with random weights, made from its configuration classes and saved as a checkpoint folder."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

WORDS = ["a", "person", "man", "kicks", "jumps", "runs", "raises", "both", "his", "left", "right", "arm", "leg", "then"]
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "<|eot_id|>"]
PUNCTUATION = [".", "?", ":", "USER", "ASSISTANT"]
SIZE, PATCH = 28, 14

IMAGE_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %} ASSISTANT:"
)
TEXT_TEMPLATE = (  # as Llama 3's: knows strings only, and would print a list as it is
    "{{ bos_token }}{% for message in messages %}USER {{ message['content'] | trim }}<|eot_id|>{% endfor %}ASSISTANT:"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *PUNCTUATION, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        additional_special_tokens=["<image>", "<|eot_id|>"],
    )  # fmt: skip


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlavaForConditionalGeneration:
    """Weights so large that answers depend on the image; special tokens are never said."""
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**small, image_size=SIZE, patch_size=PATCH, initializer_range=0.5),
        text_config=LlamaConfig(
            **small, vocab_size=len(tokenizer), initializer_range=0.5, bos_token_id=1, eos_token_id=2, pad_token_id=3
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config)
    torch.nn.init.normal_(model.lm_head.weight, std=1.0)
    with torch.no_grad():
        model.lm_head.weight[: len(SPECIAL) + len(PUNCTUATION)] = 0
    return model


def save_llava(folder: Path, *, as_xtuner: bool = False) -> Path:
    """A checkpoint folder: whole, or with what xtuner's lacks (no processor_config.json, a template without images)."""
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    if as_xtuner:
        tokenizer.chat_template = TEXT_TEMPLATE
        tokenizer.save_pretrained(folder)
        images.save_pretrained(folder)
        return folder
    LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=IMAGE_TEMPLATE,
    ).save_pretrained(folder)
    return folder
