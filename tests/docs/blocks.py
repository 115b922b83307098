"""The code blocks of a Markdown document: what they hold, and what the text says of them.

A comment in the line above a block marks it::

    <!-- only parsed: needs a GPU -->     its commands are parsed, not run; the reason stands in the comment
    <!-- slow -->                         it runs with the slow tests, as does all that follows in the document
    <!-- tolerance: 30 % -->              numbers of its output may differ by so much (usually 5 %)
"""

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")
USUAL = 0.05


@frozen
class Block:
    """A code block: ``language`` and ``title`` (the file that it is) of its info line, and its mark."""

    language: str
    title: str
    text: str
    line: int
    only_parsed: str = ""
    slow: bool = False
    tolerance: float = USUAL

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Of a console block: each command, and the lines of output that are shown after it."""
        command, output = "", []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, output
                command, output = line[2:], []
            elif command.endswith("\\"):
                command = f"{command[:-1]} {line.removeprefix('> ').strip()}"
            elif command:
                output.append(line)
        if command:
            yield command, output


def blocks(document: Path) -> list[Block]:
    """The code blocks of a document in order. ValueError for a mark that means nothing."""
    text = document.read_text()
    return [_block(found, text[: found.start("info")].count("\n") + 1) for found in BLOCK.finditer(text)]


def _block(found: "re.Match[str]", line: int) -> Block:
    language, _, rest = found["info"].partition(" ")
    title = re.search(r'title="([^"]+)"', rest)
    name, _, value = (found["mark"] or "").partition(":")
    if name not in ("", "only parsed", "slow", "tolerance"):
        raise ValueError(f"line {line}: a block can't be marked {found['mark']!r}")
    return Block(
        language,
        title[1] if title else "",
        found["text"],
        line,
        only_parsed=value.strip() if name == "only parsed" else "",
        slow=name == "slow",
        tolerance=float(value.strip(" %")) / 100 if name == "tolerance" else USUAL,
    )


def difference(shown: list[str], printed: list[str], tolerance: float) -> str:
    """The first shown line that was not printed, in order; "" if all were. A line of dots stands for any lines."""
    at, anywhere = 0, False
    for line in shown:
        if line.strip() == "...":
            anywhere = True
            continue
        if not line.strip():
            continue
        rest = [index for index in range(at, len(printed)) if printed[index].strip()]
        candidates = rest if anywhere else rest[:1]
        match = next((index for index in candidates if alike(line, printed[index], tolerance)), None)
        if match is None:
            return f"shown {line!r}, printed {printed[rest[0]] if rest else 'nothing more'!r}"
        at, anywhere = match + 1, False
    return ""


def alike(shown: str, printed: str, tolerance: float) -> bool:
    """Whether two lines are the same but for spaces, and numbers that differ by less than ``tolerance``.

    Three dots stand for anything.
    """
    if "..." in shown:
        pattern = ".*".join(re.escape(" ".join(part.split())) for part in shown.split("..."))
        return re.fullmatch(pattern, " ".join(printed.split())) is not None
    if _words(shown) != _words(printed):
        return False
    pairs = zip(_numbers(shown), _numbers(printed), strict=True)
    return all(abs(a - b) <= tolerance * max(abs(a), abs(b)) for a, b in pairs)


def _words(line: str) -> list[str]:
    return re.sub(r"[━─]+", "─", NUMBER.sub("#", line)).split()


def _numbers(line: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(line)]
