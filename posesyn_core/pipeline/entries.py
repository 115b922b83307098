"""What the data sets of a recipe say, as its estimators are to see it; what they reject is recorded."""

import json
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field

from posesyn_core.components import DatasetReader
from posesyn_core.contracts.entries import entries
from posesyn_core.errors import NothingLeft
from posesyn_core.files.paths import write_atomic
from posesyn_core.inference.neighbours import with_neighbours
from posesyn_core.parallel.processes import process_place
from posesyn_core.pipeline.rejections import REJECTED_ENTRIES, most_frequent, reasons_text
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.work import Unit
from posesyn_core.values import Sample, SampleOrRejection

Item = TypeVar("Item")


def entries_of(run: Run, reader: DatasetReader) -> Iterator[SampleOrRejection]:
    """A reader's samples, with their neighbours if the recipe wants those hidden; what can't be used is rejected."""
    guarded: Callable[[], Iterator[SampleOrRejection]] = partial(entries, reader)
    return guarded() if run.recipe.neighbours == "seen" else with_neighbours(guarded)


@define
class Usable:
    """The usable entries of the data sets that a stage reads beside the mined one; it notes those that are not.

    ``rejected`` holds the reason by data set and id; :meth:`record` writes them where ``rejected.parquet`` finds them.
    """

    stage: str
    rejected: dict[str, str] = field(factory=dict)

    def samples(self, run: Run, reader: DatasetReader, label: str) -> Iterator[Sample]:
        """The samples of the data set called ``label``."""
        return self.items(entries_of(run, reader), label)

    def items(self, given: Iterable[Item | tuple[str, str]], label: str) -> Iterator[Item]:
        """The entries that are no (id, reason)."""
        for entry in given:
            if isinstance(entry, tuple):
                self.rejected[f"{label}: {entry[0]}"] = entry[1]
            else:
                yield entry

    def require(self, found: Sized, label: str, folder: Path) -> None:
        """NothingLeft with the most frequent reasons, which are recorded, if nothing of a data set could be used."""
        reasons = [reason for name, reason in self.rejected.items() if name.startswith(f"{label}: ")]
        if len(found) or not reasons:
            return
        self.record(folder)
        raise NothingLeft(
            f"nothing is left of the data set {label!r}, which {self.stage} reads: {len(reasons)} entries rejected, "
            f"most often for: {reasons_text(most_frequent(reasons))}; mend it, or take it out of the recipe"
        )

    def record(self, folder: Path) -> dict[str, Any]:
        """Write what was rejected below the run's ``folder``; return the figures for the stage's summary."""
        if process_place()[0] == 0:
            lines = "".join(json.dumps(pair) + "\n" for pair in self.rejected.items())
            write_atomic(folder / self.stage / REJECTED_ENTRIES, lines)
        if not self.rejected:
            return {}
        return {
            "entries_rejected": len(self.rejected),
            "entry_reasons": most_frequent(self.rejected.values()),
        }


def with_unique_ids(entries: Iterator[SampleOrRejection]) -> Iterator[Unit[Sample | str]]:
    """(id, sample or reason); a repeated id is rejected under a name of its own."""
    seen: dict[str, int] = {}
    for entry in entries:
        name, content = (entry.id, entry) if isinstance(entry, Sample) else entry
        count = seen[name] = seen.get(name, 0) + 1
        if count == 1:
            yield name, content
        else:
            yield f"{name} (repeat {count})", "the data set has this id more than once; only the first is used"
