"""Captions from a file: written by hand, or by any model that ran elsewhere.

A JSON object of captions by sample id, or a list of objects with ``id`` and ``caption``::

    {"folder/all/beach/001.jpg-0": "A man kicks a ball."}
    [{"id": "folder/all/beach/001.jpg-0", "caption": "A man kicks a ball."}]

or a CSV with a header that names the columns ``id`` and ``caption``. Ids are those of the run's tables (``unit``).
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import NOTHING, define

from posesyn_core import option
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.paths import existing_file
from posesyn_core.files.reading import read_text, reading
from posesyn_core.values import PoseEstimate, Sample
from posesyn_datasets.readers.annotations import load_json

EXPECTED = "an object of captions by sample id, or a list of objects with 'id' and 'caption'"


@define
class FileCaptionsConfig:
    """Where the captions lie."""

    file: Path = option(NOTHING, "JSON or CSV file with captions by sample id")
    fallback: str = option("", "caption of samples that the file has none for; empty = reject them")


class FileCaptions:
    """Captioner that looks every caption up. Fits ``Captioner``."""

    def __init__(self, config: FileCaptionsConfig) -> None:
        """Read the file; UserError if it is missing or malformed, or names a sample twice."""
        self.config = config
        path = existing_file(config.file.expanduser(), "caption file")
        pairs = _csv_pairs(path) if path.suffix.lower() == ".csv" else _json_pairs(path)
        self.captions: dict[str, str] = {}
        for name, caption in pairs:
            if name in self.captions:
                raise UserError(f"caption file {str(path)!r} has two captions for {name!r}; remove one")
            self.captions[name] = " ".join(caption.split())

    def caption(self, samples: Sequence[Sample], estimates: Sequence[PoseEstimate]) -> list[str]:
        """One caption per sample. SampleError for one without, unless there is a fallback."""
        return [self._caption(sample.id) for sample in samples]

    def _caption(self, sample_id: str) -> str:
        caption = self.captions.get(sample_id) or self.config.fallback
        if not caption:
            lack = "an empty caption" if sample_id in self.captions else "no caption"
            raise SampleError(f"caption file {self.config.file.name!r} has {lack} for {sample_id!r}")
        return caption


def _json_pairs(path: Path) -> Iterable[tuple[str, str]]:
    document = load_json(path, EXPECTED)
    if isinstance(document, dict):
        document = [{"id": name, "caption": caption} for name, caption in document.items()]
    if not isinstance(document, list):
        raise UserError(f"caption file {str(path)!r} holds neither an object nor a list; expected {EXPECTED}")
    return [_pair(path, number, entry) for number, entry in enumerate(document)]


def _csv_pairs(path: Path) -> Iterable[tuple[str, str]]:
    text = read_text(path, "caption file", "a CSV in UTF-8")
    with reading(path, "caption file", "a CSV with the columns 'id' and 'caption'"):
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if not {"id", "caption"} <= set(rows.fieldnames or ()):
            raise UserError(f"caption file {str(path)!r} must have a header with the columns 'id' and 'caption'")
        return [_pair(path, number, row) for number, row in enumerate(rows)]


def _pair(path: Path, number: int, entry: Any) -> tuple[str, str]:
    name, caption = (entry.get("id"), entry.get("caption")) if isinstance(entry, dict) else (None, None)
    if not (isinstance(name, str) and isinstance(caption, str)):
        raise UserError(f"entry {number} of caption file {str(path)!r} lacks a text 'id' or 'caption'; {EXPECTED}")
    return name, caption
