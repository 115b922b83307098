"""What the model is asked, and what is made of its answers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.errors import UserError
from posesyn_llava.wording import EXAMPLES, one_sentence, read_prompt


def test_the_papers_prompt_holds_its_question_and_all_examples() -> None:
    prompt = read_prompt("")
    assert prompt.startswith("What is the motion of the someone in the image?")
    assert len(EXAMPLES) == 10 and all(example in prompt for example in EXAMPLES)


def test_a_prompt_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "prompt.txt"
    own.write_text("Say it as here:\n{examples}\n")
    assert read_prompt(str(own)).startswith('Say it as here:\n- "A man kicks')
    own.write_text("In one word?")
    assert read_prompt(str(own)) == "In one word?"


def test_a_bad_prompt_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"prompt file .*nowhere.* does not exist"):
        read_prompt(str(tmp_path / "nowhere.txt"))
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(UserError, match="is empty"):
        read_prompt(str(tmp_path / "empty.txt"))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match="not UTF-8"):
        read_prompt(str(tmp_path / "binary.txt"))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("A man kicks a ball.", "A man kicks a ball."),
        ("  a man  kicks\ta ball ", "A man kicks a ball."),
        ('"A person is doing a cartwheel."', "A person is doing a cartwheel."),
        ("A man jumps. He then lands on both feet.", "A man jumps."),
        ("Sure! Here is one:\n\n- \"A woman raises her arm.\"\n- \"She waves.\"", "A woman raises her arm."),
        ("assistant\n\nIn the image, a boy is skateboarding!", "A boy is skateboarding!"),
        ("**Caption:** The image shows a man who hops over a fence", "A man who hops over a fence."),
        ("1. A person squats down then jumps.\n2. Another.", "A person squats down then jumps."),
        ('The motion is best described as "A person crawls on the floor."', "A person crawls on the floor."),
        ("Jumping.", "Jumping."),
        ("Человек прыгает через забор. Потом он бежит.", "Человек прыгает через забор."),
        ("彼は右手を振っている。", "彼は右手を振っている。"),
        ("", ""),
        (" ...\n\n- \n\"\"", ""),
    ],
)  # fmt: skip
def test_an_answer_becomes_one_sentence(answer: str, sentence: str) -> None:
    assert one_sentence(answer) == sentence


@given(st.text())
def test_any_answer_becomes_one_line_or_nothing(answer: str) -> None:
    sentence = one_sentence(answer)
    assert len(sentence.splitlines()) <= 1
    assert sentence == "" or any(character.isalpha() for character in sentence)
    assert one_sentence(sentence) == sentence or sentence == ""
