"""Stage 7: write the kept frames as data-set files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posesyn_core.components import DatasetWriter, Kind
from posesyn_core.contracts.results import calling, expect, name_of
from posesyn_core.errors import UserError
from posesyn_core.files.paths import atomic_folder, write_atomic
from posesyn_core.pipeline.card import card
from posesyn_core.pipeline.diversity import without_duplicates
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Choice
from posesyn_core.values import LabelledFrame


def export(run: Run) -> dict[str, Any]:
    """Write ``export/<format>/`` for every format of the recipe, with its card; each folder appears when complete.

    The figures are the written frames, the near-duplicates that were left out, and how many files each writer made.
    """
    run.require("filter")
    described, options = card(run), run.recipe.export
    kept = sum(1 for _ in kept_frames(run))
    chosen = {frame.id for frame in without_duplicates(run, options.alike_mm, options.most_alike)}
    written: dict[str, Any] = {"frames": len(chosen)}
    if len(chosen) < kept:
        written["near_duplicates"] = kept - len(chosen)
    for name in options.formats:
        writer: DatasetWriter = run.create(Kind.WRITER, Choice(name), "export")
        with atomic_folder(run.folder / "export" / name) as folder:
            frames = (frame for frame in kept_frames(run) if frame.id in chosen)
            with calling(writer.write):
                files = expect(writer.write(frames, folder), Path, None, writer.write)
            if lost := [file for file in files if not file.is_relative_to(folder) or not file.is_file()]:
                raise UserError(f"{name_of(writer.write)} returned {str(lost[0])!r}, which is no file in its folder")
            written[name] = len(files)
            for file, text in described.items():
                write_atomic(folder / file, text)
    return written


def kept_frames(run: Run) -> Iterator[LabelledFrame]:
    """The frames that passed the filter, in order."""
    return (row.frame for row in run.frames.values() if row.verdict.keep)
