"""The component ``llava``: an image-text-to-text model of transformers describes the hard images (section 3.2)."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.crops import crop
from posesyn_core.values import Image, PoseEstimate, Sample
from posesyn_llava.config import LlavaConfig
from posesyn_llava.original import load_original, original_settings
from posesyn_llava.wording import one_sentence, read_prompt

LARGEST = 1024
"""Pixels: larger squares are scaled down to this before the model's own processor scales them to what it takes."""

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "4bit": torch.bfloat16}

LLAMA3_TURN = "<|start_header_id|>"
END_OF_TURN = ("<|eot_id|>", "<|im_end|>", "<end_of_turn>")
"""Tokens with which chat models end an answer; some checkpoints (LLaVA-Llama-3's) don't list theirs as an end."""


class Llava:
    """Captioner; see :class:`~posesyn_llava.config.LlavaConfig`. Fits ``Captioner``.

    Decoding is greedy: the same batches give the same captions (in half precision, other batches may differ in a word).
    """

    def __init__(self, config: LlavaConfig) -> None:
        """Load the model. UserError for a bad option, a missing package, or a model that isn't there or doesn't fit."""
        _check(config)
        self.config = config
        self.question = read_prompt(config.prompt)
        self.processor, self.model = load_model(config)
        self.prompt = chat_prompt(self.processor, self.question)

    def caption(self, samples: Sequence[Sample], estimates: Sequence[PoseEstimate]) -> list[str]:
        """One sentence per sample, from its image alone. SampleError for a broken image or an answer without words."""
        pictures = [picture(sample, self.config) for sample in samples]  # all first: a broken one costs no computing
        size = self.config.batch
        answers = [
            answer for start in range(0, len(pictures), size) for answer in self.answer(pictures[start : start + size])
        ]
        sentences = [one_sentence(answer) for answer in answers]
        if not all(sentences):
            raise SampleError(f"the model's answer has no sentence: {answers[sentences.index('')]!r}")
        return sentences

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Image]) -> list[str]:
        """The model's answers, as they are, to the prompt about each of the pictures (H, W, 3)."""
        tokenizer = self.processor.tokenizer
        bos, placeholder = tokenizer.bos_token or "", getattr(self.processor, "image_token_id", None)
        inputs = self.processor(
            images=[[image] for image in pictures],
            text=[self.prompt] * len(pictures),
            add_special_tokens=not (bos and self.prompt.startswith(bos)),
            padding=True,
            return_tensors="pt",
        ).to(self.model.device, DTYPES[self.config.precision])
        tokens = self.model.generate(
            **inputs,
            max_new_tokens=self.config.max_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=_ends(self.model, tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=None if placeholder is None else [placeholder],  # new to LLaVA's own checkpoints
        )
        return tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def picture(sample: Sample, config: LlavaConfig) -> Image:
    """What the model gets to see: a square (S, S, 3) about the person, or about the whole image, black outside it.

    Squares, because models of LLaVA's kind cut their input to one, which would cost a standing person head and feet.
    """
    image = load_image(sample.image)
    height, width = image.shape[:2]
    box, margin = (sample.box, config.margin) if config.view == "person" else (np.array([0, 0, width, height]), 1.0)
    side = (box[2:] - box[:2]).max() * margin
    size = int(np.clip(side, 1, LARGEST)) if np.isfinite(side) else 1  # crop refuses a box that is not finite
    return crop(image, box, size, margin)[0]


def load_model(config: LlavaConfig) -> tuple[Any, Any]:
    """Processor and model (in evaluation mode, on its device); UserError if they can't be had."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    source, options = _source(config.model), {"trust_remote_code": False}
    place = {"device_map": config.device} if config.precision == "4bit" else {}
    weights = {"dtype": DTYPES[config.precision], "quantization_config": _quantization(config), **place}
    try:
        settings = original_settings(source)
        if settings is not None:
            processor, model = load_original(source, settings, config.vision_tower, **weights)
        else:
            processor = AutoProcessor.from_pretrained(source, **options)
            model = AutoModelForImageTextToText.from_pretrained(source, **weights, **options)
    except UserError:
        raise
    except Exception as error:  # transformers raises whatever a folder that is no such model leads it to
        raise UserError(f"the captioner's model {config.model!r} can't be loaded: {_first_line(error)}") from error
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise UserError(f"{config.model!r} has no processor for images and text; the captioner needs both")
    _complete(processor, model.config)
    return processor, (model if place else model.to(config.device)).eval()


def _source(model: str) -> str:
    """The folder that ``model`` names, or the hub id that it is; UserError for a path that is no folder."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder)
    if model.startswith(("/", ".", "~")):
        raise UserError(f"the captioner's model folder {model!r} does not exist; give a folder or a hub id")
    return model


def _quantization(config: LlavaConfig) -> Any:
    if config.precision != "4bit":
        return None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=DTYPES[config.precision]
    )


def _complete(processor: Any, config: Any) -> None:
    """Give the processor what older checkpoints (the default one among them) leave out, from the model's config.

    Without the patch size it can't tell how many tokens stand for an image; CLIP's class token counts as one more.
    Answers are generated after the prompts, so these are padded on the left.
    """
    if getattr(processor, "patch_size", 0) is None:
        processor.patch_size = config.vision_config.patch_size
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
        processor.num_additional_image_tokens = int(config.vision_config.model_type == "clip_vision_model")
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token


def chat_prompt(processor: Any, question: str) -> str:
    """The question about one image in the words of the model's chat template.

    A template that knows no images (Llama 3's own, which the default model carries) gets the image's token at the
    beginning of the text. A model without any template gets Llama 3's turns if its tokens are Llama 3's (LLaVA's own
    "llama_3" conversation, without a system's turn), else LLaVA-1.5's "USER: ... ASSISTANT:".
    """
    template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    token = getattr(processor, "image_token", "<image>")
    if not template and LLAMA3_TURN in processor.tokenizer.get_vocab():
        user, assistant = (f"{LLAMA3_TURN}{role}<|end_header_id|>\n\n" for role in ("user", "assistant"))
        return f"{processor.tokenizer.bos_token}{user}{token}\n{question}<|eot_id|>{assistant}"
    if not template:
        return f"USER: {token}\n{question} ASSISTANT:"
    parts: Any = [{"type": "image"}, {"type": "text", "text": question}]
    content = parts if "image" in str(template) else f"{token}\n{question}"
    return processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], chat_template=template, add_generation_prompt=True, tokenize=False
    )


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer: those of the model's settings, the tokenizer's, and its end of turn."""
    configured = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
    vocabulary = tokenizer.get_vocab()
    return sorted((ends - {None}) | {vocabulary[token] for token in END_OF_TURN if token in vocabulary})


def _check(config: LlavaConfig) -> None:
    if config.precision == "4bit":
        for module in ("bitsandbytes", "accelerate"):
            if importlib.util.find_spec(module) is None:
                raise UserError(f"the captioner's precision '4bit' needs {module}; install it: pip install {module}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
