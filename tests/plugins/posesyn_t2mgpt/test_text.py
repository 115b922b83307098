"""Text encoders."""

import sys
from pathlib import Path

import pytest
import torch

from posesyn_core.errors import UserError
from posesyn_core.values import MotionRequest
from posesyn_t2mgpt.config import T2MGptConfig
from posesyn_t2mgpt.generator import T2MGpt
from posesyn_t2mgpt.text import ClipText, HashedText, make_text_encoder


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


WORDS = ("a", "person", "jumps", "kicks", "left")


def save_clip(folder: Path, projection_dim: int = 512) -> Path:
    """A CLIP text tower with random weights, made from its configuration class; words and bytes are its tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
    terms = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)])
    vocabulary = {term: number for number, term in enumerate([*terms, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=77).save_pretrained(folder)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=projection_dim, bos_token_id=len(vocabulary) - 2, eos_token_id=len(vocabulary) - 1,
    )  # fmt: skip
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipText:
    encoder = make_text_encoder("clip", str(save_clip(tmp_path_factory.mktemp("clip"))))
    assert isinstance(encoder, ClipText)
    return encoder


def tokens(clip: ClipText, text: str) -> list[int]:
    return clip.tokenizer(text, truncation=True, max_length=77)["input_ids"]


def test_clip_projects_the_feature_of_the_end_token(clip: ClipText) -> None:
    """Against the definition: the last layer's feature at the end token, normalised and projected."""
    (encoded,) = clip.encode(["A person  jumps"])
    ids = tokens(clip, "a person jumps")
    assert len(ids) == 5
    with torch.inference_mode():
        hidden = clip.model.text_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
        torch.testing.assert_close(encoded, clip.model.text_projection(hidden), rtol=1e-4, atol=1e-5)
    assert encoded.shape == (512,) and encoded.dtype == torch.float32


def test_clip_features_do_not_depend_on_the_batch(clip: ClipText, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a person jumps", "a person kicks left " * 9, "", "a"]
    together = clip.encode(texts)
    assert not torch.allclose(together[0], together[3])
    torch.testing.assert_close(together, torch.cat([clip.encode([text]) for text in texts]))
    monkeypatch.setattr("posesyn_t2mgpt.text.CLIP_BATCH", 3)
    torch.testing.assert_close(together, clip.encode(texts))
    assert clip.encode([]).shape == (0, 512)


def test_clip_keeps_75_tokens_of_a_longer_text(clip: ClipText) -> None:
    """As T2M-GPT's clip.tokenize(truncate=True): cut, and the last place given to the end token."""
    long = "jumps kicks " * 60
    ids = tokens(clip, long)
    start, end = clip.tokenizer.bos_token_id, clip.tokenizer.eos_token_id
    assert (len(ids), ids[0], ids[-1]) == (77, start, end) and end not in ids[:-1]
    first75 = "jumps kicks " * 37 + "jumps"
    assert tokens(clip, first75) == ids
    torch.testing.assert_close(clip.encode([long]), clip.encode([first75]))
    assert not torch.allclose(clip.encode([long]), clip.encode(["jumps kicks " * 37]))


def test_clip_takes_any_text(clip: ClipText) -> None:
    assert tokens(clip, "") == tokens(clip, "  \n") == [clip.tokenizer.bos_token_id, clip.tokenizer.eos_token_id]
    encoded = clip.encode(["", "человек прыгает", "人が跳ぶ", "\x00 🤸"])
    assert encoded.isfinite().all() and len({tuple(row.tolist()) for row in encoded}) == 4


def test_a_motion_is_generated_under_clip(clip: ClipText) -> None:
    """Both encoders behind one protocol: the generator takes either."""
    generator = T2MGpt(T2MGptConfig(text_encoder="clip", clip=clip.model.config._name_or_path))
    request = MotionRequest("m", "s", "a person jumps", 0, guidance="text_only", min_frames=8, max_frames=8)
    (motion,) = generator.generate([request])
    assert motion.joints.shape == (8, 22, 3)


def test_what_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="projects to 64 numbers, not 512"):
        make_text_encoder("clip", str(save_clip(tmp_path / "narrow", projection_dim=64)))
    with pytest.raises(UserError, match=r"CLIP folder .*nowhere.* does not exist"):
        make_text_encoder("clip", str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no CLIP text model at .*empty"):
        make_text_encoder("clip", str(tmp_path / "empty"))
    folder = save_clip(tmp_path / "truncated")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"no CLIP text model at .*truncated"):
        make_text_encoder("clip", str(folder))


def test_clip_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"posesyn\[clip\]"):
        make_text_encoder("clip", "openai/clip-vit-base-patch32")
