"""WebDataset: tar shards with a .jpg and a .json (:func:`posesyn_datasets.readers.labels.frame_labels`) per frame."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

from attrs import define

from posesyn_core import option
from posesyn_core.files.paths import atomic_path
from posesyn_core.files.writing import jpeg_of
from posesyn_core.values import LabelledFrame
from posesyn_datasets.readers.labels import frame_labels


@define
class WebDatasetWriterConfig:
    """How the shards are cut."""

    frames_per_shard: int = option(1000, "frames in a tar file", least=1)


@define
class WebDatasetWriter:
    """Writes ``frames-000000.tar`` and so on, one frame in memory at a time; keys count the frames."""

    config: WebDatasetWriterConfig

    def write(self, frames: Iterable[LabelledFrame], folder: Path) -> list[Path]:
        """See :class:`posesyn_core.components.DatasetWriter`."""
        numbered = enumerate(frames)
        shards = itertools.groupby(numbered, key=lambda pair: pair[0] // self.config.frames_per_shard)
        return [_write_shard(folder / f"frames-{number:06d}.tar", members) for number, members in shards]


def _write_shard(path: Path, frames: Iterable[tuple[int, LabelledFrame]]) -> Path:
    from webdataset.writer import TarWriter

    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as stream,
        TarWriter(stream, user="posesyn", group="posesyn", mtime=0, encoder=False) as tar,
    ):
        for number, frame in frames:
            jpeg, width, height = jpeg_of(frame)
            labels = {**frame_labels(frame), "width": width, "height": height}
            tar.write({"__key__": f"{number:08d}", "jpg": jpeg, "json": json.dumps(labels).encode()})
    return path
