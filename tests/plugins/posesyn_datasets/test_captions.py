"""Captions from a file."""

import json
from pathlib import Path

import pytest

from posesyn_core import SampleError, UserError
from posesyn_core.components import Captioner, Kind
from posesyn_core.pipeline.work import each_alone
from posesyn_core.registry import Registry
from posesyn_datasets.captions import FileCaptions, FileCaptionsConfig
from tests.tiny import people


def write(path: Path, text: str) -> FileCaptionsConfig:
    path.write_text(text, encoding="utf-8")
    return FileCaptionsConfig(path)


def ids() -> list[str]:
    return [sample.id for sample in people(3)]


WANTED = ["A man kicks a ball.", "Человек прыгает.", 'She says "stop", and waves.']


@pytest.mark.parametrize("form", ["object", "list", "csv", "csv of a spreadsheet"])
def test_every_form_gives_the_same_captions(tmp_path: Path, form: str) -> None:
    pairs = dict(zip(ids(), WANTED, strict=True))
    if form == "object":
        config = write(tmp_path / "captions.json", json.dumps(pairs))
    elif form == "list":
        config = write(tmp_path / "c.json", json.dumps([{"id": a, "caption": b, "by": 1} for a, b in pairs.items()]))
    else:
        rows = ['"{}","{}",x'.format(name, caption.replace('"', '""')) for name, caption in pairs.items()]
        mark, end = ("\ufeff", "\r\n") if "spreadsheet" in form else ("", "\n")
        config = write(tmp_path / "captions.CSV", mark + end.join(["id,caption,by", *rows]))
    captioner = FileCaptions(config)
    assert isinstance(captioner, Captioner)
    assert captioner.caption(people(3), []) == WANTED
    assert captioner.caption(people(3)[::-1], []) == WANTED[::-1]


def test_white_space_is_made_single(tmp_path: Path) -> None:
    config = write(tmp_path / "c.json", json.dumps({ids()[0]: " A man\n  jumps. "}))
    assert FileCaptions(config).caption(people(1), []) == ["A man jumps."]


def test_a_sample_without_caption_is_rejected_alone(tmp_path: Path) -> None:
    first, second, third = ids()
    config = write(tmp_path / "c.json", json.dumps({first: "A man jumps.", second: "  "}))
    captioner = FileCaptions(config)
    rows = each_alone(lambda batch: captioner.caption(batch, []), [(sample.id, sample) for sample in people(3)])
    assert [row.value for row in rows] == ["A man jumps.", None, None]
    assert rows[1].rejected == f"caption file 'c.json' has an empty caption for {second!r}"
    assert rows[2].rejected == f"caption file 'c.json' has no caption for {third!r}"


def test_a_fallback_stands_in_for_missing_captions(tmp_path: Path) -> None:
    config = write(tmp_path / "c.json", json.dumps({ids()[0]: "A man jumps.", ids()[1]: ""}))
    captioner = FileCaptions(FileCaptionsConfig(config.file, fallback="A person moves."))
    assert captioner.caption(people(3), []) == ["A man jumps.", "A person moves.", "A person moves."]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("c.json", '"hello"', "neither an object nor a list"),
        ("c.json", '[["a", "b"]]', "entry 0 .* lacks a text 'id' or 'caption'"),
        ("c.json", '{"a": 3}', "entry 0 .* lacks a text"),
        ("c.json", '{"a": ', "c.json"),
        ("c.json", '[{"id": "a", "caption": "x"}, {"id": "a", "caption": "y"}]', "two captions for 'a'"),
        ("c.csv", "name,text\na,b\n", "header with the columns 'id' and 'caption'"),
        ("c.csv", "", "header with the columns"),
        ("c.csv", "id,caption\na\n", "entry 0 .* lacks"),
        ("c.csv", 'id,caption\na,"b\n', "expected a CSV"),
    ],
)
def test_malformed_files(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        FileCaptions(write(tmp_path / name, text))


def test_a_missing_file_and_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"caption file .* does not exist"):
        Registry.discover().create(Kind.CAPTIONER, "file", {"file": str(tmp_path / "none.json")}, "captioner")
    (tmp_path / "c.csv").write_bytes("id,caption\na,très\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        FileCaptions(FileCaptionsConfig(tmp_path / "c.csv"))


def test_it_is_a_sample_error(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="no caption"):
        FileCaptions(write(tmp_path / "c.json", "{}")).caption(people(1), [])
