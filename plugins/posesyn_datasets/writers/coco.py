"""COCO-style JSON: COCO's 17 keypoints for tools that read COCO, and the 3D labels as fields of our own.

``annotations.json`` beside ``images/<number>.jpg``. Each annotation has COCO's fields (``keypoints`` with visibility 2
or 0: the face points can't be derived from SMPL's joints and are 0) and those of
:func:`posesyn_datasets.readers.labels.frame_labels`, with the frame's own id as ``frame_id``. Pixels count from 0 at
the centre of the first one.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from attrs import define

from posesyn_core.files.paths import atomic_path
from posesyn_core.files.writing import COCO_PERSON, coco_annotation, write_jpeg
from posesyn_core.geometry.skeletons import COCO17
from posesyn_core.values import LabelledFrame
from posesyn_datasets.readers.labels import frame_labels

CATEGORY = {
    "id": COCO_PERSON,
    "name": "person",
    "supercategory": "person",
    "keypoints": list(COCO17.joints),
    "skeleton": [[parent + 1, child + 1] for parent, child in COCO17.bones],
}


@define
class CocoWriterConfig:
    """The COCO writer has no options."""


@define
class CocoWriter:
    """Writes ``annotations.json`` and ``images/``, one frame in memory at a time."""

    config: CocoWriterConfig

    def write(self, frames: Iterable[LabelledFrame], folder: Path) -> list[Path]:
        """See :class:`posesyn_core.components.DatasetWriter`."""
        written = []
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "annotations.json"
        # The annotations wait in a file of their own, because the format wants all images before them.
        with (
            atomic_path(target) as temporary,
            temporary.open("w", encoding="utf-8") as document,
            tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder) as annotations,
        ):
            document.write('{"info": {"description": "frames synthesised by PoseSyn"},\n"images": [')
            for number, frame in enumerate(frames, start=1):
                image = folder / "images" / f"{number:012d}.jpg"
                width, height = write_jpeg(frame, image)
                entry = {"id": number, "file_name": image.name, "width": width, "height": height}
                _append(document, number, entry)
                _append(annotations, number, _annotation(number, frame))
                written.append(image)
            document.write('],\n"annotations": [')
            annotations.seek(0)
            shutil.copyfileobj(annotations, document)
            document.write(f'],\n"categories": [{json.dumps(CATEGORY)}]}}\n')
        return [target, *written]


def _append(file: IO[str], number: int, entry: dict[str, Any]) -> None:
    """Write one element of a JSON list, the first of which has the number 1."""
    file.write(("\n" if number == 1 else ",\n") + json.dumps(entry))


def _annotation(number: int, frame: LabelledFrame) -> dict[str, Any]:
    labels = frame_labels(frame)
    del labels["id"]  # COCO's own is the number
    return coco_annotation(number, frame, COCO17.name) | labels
