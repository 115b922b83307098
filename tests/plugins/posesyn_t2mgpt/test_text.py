"""Text encoders."""

import importlib.util

import pytest
import torch

from posesyn_core.errors import UserError
from posesyn_t2mgpt.text import HashedText, make_text_encoder


def test_hashed_features_are_the_same_everywhere() -> None:
    feature = HashedText().encode(["a person jumps"])[0]
    filled = {int(k): round(float(feature[k]), 3) for k in feature.nonzero().flatten()}
    assert filled == {5: -4.472, 67: 4.472, 348: 4.472, 374: -4.472, 396: 4.472}


def test_similar_texts_have_similar_features() -> None:
    encoded = HashedText().encode(["A person kicks a ball.", "a person kicks the ball", "Someone is sleeping"])
    assert encoded.shape == (3, 512) and encoded.dtype == torch.float32
    torch.testing.assert_close(encoded.norm(dim=-1), torch.full((3,), 10.0))
    cosine = torch.nn.functional.cosine_similarity(encoded[:1], encoded[1:])
    assert cosine[0] > 0.4 > 0.2 > cosine[1]


def test_word_order_matters() -> None:
    first, second = HashedText().encode(["left then right", "right then left"])
    assert not torch.allclose(first, second)


def test_texts_of_any_kind() -> None:
    encoded = HashedText().encode(["", "  ...  ", "человек прыгает", "人が跳ぶ", "word " * 500])
    assert not encoded[:2].any()
    torch.testing.assert_close(encoded[2:].norm(dim=-1), torch.full((3,), 10.0))
    assert HashedText().encode([]).shape == (0, 512)


def test_unknown_encoder() -> None:
    with pytest.raises(UserError, match="hashed"):
        make_text_encoder("bert", "")


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="transformers is installed")
def test_clip_without_transformers() -> None:
    with pytest.raises(UserError, match=r"posesyn\[clip\]"):
        make_text_encoder("clip", "openai/clip-vit-base-patch32")
