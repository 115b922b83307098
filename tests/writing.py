"""What every data-set writer must do, as checks that the writers' tests call."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from posesyn_core import LabelledFrame, SampleError
from posesyn_core.components import DatasetWriter


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of every file below ``folder``, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def same_frames_same_bytes(
    writer: DatasetWriter, frames: list[LabelledFrame], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer repeats itself an hour later, and returns every file that it wrote."""
    import time

    reported = writer.write(iter(frames), folder / "first")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    writer.write(iter(frames), folder / "second")
    first = files_of(folder / "first")
    assert first == files_of(folder / "second")
    assert sorted(first) == sorted(str(path.relative_to(folder / "first")) for path in reported)


def nothing_half_written(writer: DatasetWriter, frames: list[LabelledFrame], folder: Path) -> None:
    """If the second image is gone, there is an error and no file but images."""

    def failing() -> Iterator[LabelledFrame]:
        yield frames[0]
        yield evolve(frames[1], image=folder / "gone.jpg")

    with pytest.raises(SampleError, match="gone"):
        writer.write(failing(), folder / "out")
    assert not [name for name in files_of(folder / "out") if not name.startswith("images/")]
