"""What the model is asked (PoseSyn, supplement A), and what is made of its answer."""

import re
from pathlib import Path

from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file

EXAMPLES = (
    "A man kicks something or someone with his left leg.",
    "A person walking forward and then turns around.",
    "A person squats down then jumps.",
    "A person raises their right hand to their face.",
    "He is waving with his right hand.",
    "A person kicks something with their right foot.",
    "A running man hops over something a comes down to a walk.",
    "A man raises both arms, then kneels down.",
    "Person is using their left arm to dodge a punch.",
    "A person raised both their arms and started to clap.",
)
"""The paper's examples (HumanML3D's descriptions, with their slips), which give the answer the words and the length
that T2M-GPT was trained on."""

PAPER_PROMPT = "What is the motion of the someone in the image? Please answer similar to:\n{examples}"
"""The paper's question; ``{examples}`` stands for the list of :data:`EXAMPLES`."""

FEWEST_WORDS = 3
"""A shorter sentence ("Sure!", "Of course.") says nothing of a motion and is passed over, if there is another."""

_LABEL = re.compile(r"^(\W*(assistant|answer|caption|description|motion|output)\W*:)+\s*", re.IGNORECASE)
_BULLET = re.compile(r"^([-*•>#]+|\d+[.)])\s+")
_QUOTED = re.compile(r"[\"“]([^\"“”]+)[\"”]")
_SETTING = re.compile(
    r"^(in|from|based on) (the|this) (image|picture|photo|photograph)( provided)?,?\s+"
    r"|^(the|this) (image|picture|photo|photograph) (shows|depicts|features|captures|is of)\s+",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r".+?(?:[.!?]+(?=\s|$)|$)", re.DOTALL)


def read_prompt(file: str) -> str:
    """The prompt in a text file, or the paper's for "", with the examples filled in; UserError for a bad file."""
    prompt = PAPER_PROMPT
    if file:
        path = existing_file(Path(file).expanduser(), "prompt file")
        try:
            prompt = path.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError as error:
            raise UserError(f"prompt file {file!r} is not UTF-8 text: {error.reason}") from error
        if not prompt:
            raise UserError(f"prompt file {file!r} is empty; write the question to the model into it")
    return prompt.replace("{examples}", "\n".join(f'- "{example}"' for example in EXAMPLES))


def one_sentence(answer: str) -> str:
    """The first sentence that says something, without the trimmings that chat models put about it; "" if there is none.

    Taken off: role and label ("assistant", "Caption:"), lines that only announce ("Here is ...:"), bullets, markup,
    quotation marks, and openings such as "In the image,". The result begins with a capital and ends with a full stop.
    """
    sentences = [sentence for line in answer.splitlines() for sentence in _sentences(line)]
    telling = [sentence for sentence in sentences if len(sentence.split()) >= FEWEST_WORDS]
    return next(iter(telling or sentences), "")


def _sentences(line: str) -> list[str]:
    line = _LABEL.sub("", line.replace("*", "").strip() if "**" in line else line.strip())
    line = _BULLET.sub("", line)
    quoted = _QUOTED.search(line)
    if quoted is not None and len(quoted[1].split()) >= FEWEST_WORDS:
        line = quoted[1]
    if line.endswith(":"):
        return []
    return [clean for found in _SENTENCE.findall(line) if (clean := _clean(found))]


def _clean(sentence: str) -> str:
    """One sentence with single spaces, a capital and a full stop; "" if it has no letters."""
    words = _SETTING.sub("", " ".join(sentence.split()).strip("\"'“”` "))
    if not any(character.isalpha() for character in words):
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?。！？" else ".")
