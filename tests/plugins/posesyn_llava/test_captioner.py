"""The captioner on transformers' real path: a tiny LLaVA, saved and loaded as a user would."""

from pathlib import Path

import attrs
import numpy as np
import pytest

from posesyn_core import SampleError, UserError
from posesyn_core.components import Captioner, Kind
from posesyn_core.files.images import encode_png
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.values import FloatArray, Sample
from posesyn_llava.captioner import LARGEST, Llava, chat_prompt, picture
from posesyn_llava.config import DEFAULT_MODEL, LlavaConfig
from posesyn_llava.wording import EXAMPLES
from tests.hard import hard_run
from tests.plugins.posesyn_llava.tiny import TEXT_TEMPLATE, WORDS, make_tokenizer, save_llava
from tests.tiny import people


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llava(tmp_path_factory.mktemp("llava"))


def config(checkpoint: Path, **options: object) -> LlavaConfig:
    return LlavaConfig(**{"model": str(checkpoint), "precision": "fp32", "max_tokens": 10, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def llava(checkpoint: Path) -> Llava:
    return Llava(config(checkpoint))


def test_captions_are_sentences_that_depend_on_the_image(llava: Llava) -> None:
    captions = llava.caption(people(4), [])
    assert isinstance(llava, Captioner)
    assert len(captions) == 4 and len(set(captions)) > 1
    for caption in captions:
        assert caption[0].isupper() and caption.endswith(".")
        assert set(caption.rstrip(".").lower().split()) <= set(WORDS)
    assert llava.caption([], []) == []


def test_captions_do_not_depend_on_the_batch(checkpoint: Path, llava: Llava) -> None:
    samples = people(4)
    together = llava.caption(samples, [])
    assert [llava.caption([sample], [])[0] for sample in samples] == together
    assert Llava(config(checkpoint, batch=3)).caption(samples, []) == together


def test_the_prompt_asks_for_one_image_and_shows_the_examples(llava: Llava) -> None:
    assert llava.prompt.count("<image>") == llava.prompt.count("<s>") == 1
    assert llava.prompt.endswith("ASSISTANT:") and EXAMPLES[9] in llava.prompt


def test_an_older_checkpoint_is_completed(tmp_path: Path) -> None:
    """xtuner's folder has no processor_config.json, and a chat template that knows no images."""
    older = Llava(config(save_llava(tmp_path, as_xtuner=True)))
    assert not (tmp_path / "processor_config.json").exists()
    assert older.prompt.startswith("<s>USER <image>\nWhat is the motion")
    assert older.processor.num_additional_image_tokens == 1
    assert len(set(older.caption(people(4), []))) > 1


def test_a_model_without_chat_template_is_asked_as_llava_15() -> None:
    class Processor:
        tokenizer = make_tokenizer()
        chat_template = None
        image_token = "<image>"

    assert chat_prompt(Processor, "What?") == "USER: <image>\nWhat? ASSISTANT:"
    Processor.tokenizer.chat_template = TEXT_TEMPLATE
    assert chat_prompt(Processor, "What?") == "<s>USER <image>\nWhat?<|eot_id|>ASSISTANT:"


def test_half_precision(checkpoint: Path) -> None:
    half = Llava(config(checkpoint, precision="bf16"))
    assert half.model.dtype.itemsize == 2
    assert half.caption(people(2), []) == half.caption(people(2), [])


def test_four_bits_without_bitsandbytes(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs bitsandbytes; install it: pip install bitsandbytes"):
        Llava(config(checkpoint, precision="4bit"))


def floats(values: object) -> FloatArray:
    return np.array(values, np.float32)


def stripes(width: int, height: int, box: list[float]) -> Sample:
    """A red image with a green person that fills its box."""
    image = np.full((height, width, 3), [200, 0, 0], np.uint8)
    x0, y0, x1, y1 = np.array(box, int)
    image[max(y0, 0) : y1, max(x0, 0) : x1] = [0, 200, 0]
    return Sample("made/up", encode_png(image), floats(box), "smpl24", floats([[0, 0]] * 24), floats([0] * 24))


def test_the_person_is_shown_whole_in_a_square(checkpoint: Path) -> None:
    """Tall people keep head and feet, whatever the processor cuts to its square."""
    shown = picture(stripes(200, 200, [80, 20, 120, 180]), config(checkpoint, margin=1.25))
    assert shown.shape == (200, 200, 3)
    green = (shown == [0, 200, 0]).all(-1)
    assert green.any(1).sum() == pytest.approx(160, abs=2) and green.any(0).sum() == pytest.approx(40, abs=2)
    bare = picture(stripes(200, 200, [80, 20, 120, 180]), config(checkpoint, margin=1.0))
    assert bare.shape == (160, 160, 3)


def test_the_whole_image_is_shown_if_so_wished(checkpoint: Path) -> None:
    shown = picture(stripes(300, 100, [10, 10, 30, 50]), config(checkpoint, view="image"))
    assert shown.shape == (300, 300, 3)
    assert not shown[:99].any() and not shown[202:].any() and shown[101:199].any(-1).all()
    assert picture(stripes(3000, 1000, [0, 0, 9, 9]), config(checkpoint, view="image")).shape == (LARGEST, LARGEST, 3)


def test_a_broken_image_is_a_sample_error(llava: Llava) -> None:
    broken = attrs.evolve(people(1)[0], image=b"no image")
    with pytest.raises(SampleError, match="not an image"):
        llava.caption([broken], [])
    with pytest.raises(SampleError, match="outside the image"):
        llava.caption([attrs.evolve(people(1)[0], box=floats([900, 900, 950, 950]))], [])
    with pytest.raises(SampleError, match="not finite"):
        llava.caption([attrs.evolve(people(1)[0], box=floats([0, 0, np.nan, 9]))], [])


def test_an_answer_without_words_is_a_sample_error(llava: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llava, "answer", lambda pictures: ["...\n"])
    with pytest.raises(SampleError, match=r"no sentence: '\.\.\.\\n'"):
        llava.caption(people(1), [])


def test_models_that_do_not_fit(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(UserError, match=r"model folder .*nowhere.* does not exist"):
        Llava(config(tmp_path / "nowhere"))
    make_tokenizer().save_pretrained(tmp_path / "words")
    (tmp_path / "words/config.json").write_text('{"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2}')
    with pytest.raises(UserError, match="words"):
        Llava(config(tmp_path / "words"))
    with pytest.raises(UserError, match="batch must be at least 1"):
        Llava(config(checkpoint, batch=0))


def test_a_truncated_weight_file(tmp_path: Path) -> None:
    folder = save_llava(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="can't be loaded"):
        Llava(config(folder))


def test_its_own_code_is_never_run(tmp_path: Path) -> None:
    folder = save_llava(tmp_path)
    (folder / "evil.py").write_text("raise SystemExit('its code ran')")
    text = (folder / "config.json").read_text()
    remote = '"auto_map": {"AutoConfig": "evil.C", "AutoModelForImageTextToText": "evil.M"}, "model_type": "unheard_of"'
    (folder / "config.json").write_text(text.replace('"model_type": "llava"', remote))
    with pytest.raises(UserError, match="can't be loaded"):
        Llava(config(folder))


def test_it_is_listed_with_the_papers_model() -> None:
    registered = Registry.discover().find(Kind.CAPTIONER, "llava")
    assert registered.component.config().model == DEFAULT_MODEL == "weizhiwang/LLaVA-Llama-3-8B"
    assert registered.missing == ()


def test_a_run_captions_once(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = f"captioner={{name='llava', model='{checkpoint}', precision='fp32', max_tokens=8}}"
    run = hard_run(tmp_path / "run", 3, [setting])
    assert run_stage(run, "caption") == {"captions": 3, "rejected": 0}
    captions = [row.caption for row in run.captions.values()]
    assert captions == run.create(Kind.CAPTIONER, run.recipe.captioner, "captioner").caption(people(3), [])

    def never(*_arguments: object) -> None:
        raise AssertionError("captioned again")

    monkeypatch.setattr(Llava, "answer", never)
    (run.folder / "caption/done.json").unlink()  # as if killed before the stage was marked complete
    assert run_stage(run, "caption") == {"captions": 3, "rejected": 0}
    assert [row.caption for row in run.captions.values()] == captions
