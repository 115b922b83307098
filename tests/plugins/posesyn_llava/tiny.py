"""A tiny LLaVA with random weights, made from its configuration classes and saved as a checkpoint folder."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
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


def make_tokenizer(*, image_last: bool = False) -> PreTrainedTokenizerFast:
    """One token per word; the image's is one of the special ones, or stands behind all of them."""
    words = [*SPECIAL, *PUNCTUATION, *WORDS]
    if image_last:
        words = [*(word for word in words if word != "<image>"), "<image>"]
    vocabulary = {word: number for number, word in enumerate(words)}
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


def save_original(folder: Path, *, with_tower: bool = True) -> tuple[Path, LlavaForConditionalGeneration]:
    """A checkpoint in the layout of LLaVA's own code, as Weizhi Wang publishes his, and the same model as it is.

    Its vision tower lies in the folder's ``clip``, and ``with_tower`` in the checkpoint too; its tokenizer has no token
    for the image, which the model's embeddings have at their end.
    """
    tokenizer = make_tokenizer(image_last=True)
    model = make_model(tokenizer)
    state = {}
    for name, tensor in model.state_dict().items():
        theirs = name.replace("model.language_model.", "model.")
        theirs = theirs.replace("model.vision_tower.", "model.vision_tower.vision_tower.vision_model.")
        theirs = theirs.replace("multi_modal_projector.linear_1", "mm_projector.0")
        theirs = theirs.replace("multi_modal_projector.linear_2", "mm_projector.2")
        words = name.endswith(("embed_tokens.weight", "lm_head.weight"))
        if with_tower or "vision_tower" not in name:
            state[theirs] = (tensor[:-1] if words else tensor).clone()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "pytorch_model.bin")
    llama = model.config.text_config.to_dict()
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "bos_token_id", "eos_token_id", "pad_token_id", "rms_norm_eps", "hidden_act")  # fmt: skip
    config = {
        **{name: llama[name] for name in names}, "vocab_size": len(tokenizer) - 1, "model_type": "llava_llama",
        "architectures": ["LlavaLlamaForCausalLM"], "mm_vision_tower": str(folder / "clip"), "mm_hidden_size": 32,
        "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False, "mm_use_im_patch_token": False, "image_aspect_ratio": "pad",
        "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.31.0",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {word: number for word, number in tokenizer.get_vocab().items() if word != "<image>"}
    bare = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=bare, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        additional_special_tokens=["<|eot_id|>"],
    ).save_pretrained(folder)  # fmt: skip
    tower = CLIPVisionModel(model.config.vision_config)
    tower.load_state_dict(model.model.vision_tower.state_dict())
    tower.save_pretrained(folder / "clip")
    image_processor().save_pretrained(folder / "clip")
    return folder, model


def image_processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})


def save_llava(folder: Path, *, as_xtuner: bool = False) -> Path:
    """A checkpoint folder: whole, or with what xtuner's lacks (no processor_config.json, a template without images)."""
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    images = image_processor()
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
