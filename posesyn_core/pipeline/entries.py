"""What the data sets of a recipe say, as its estimators are to see it."""

from collections.abc import Iterator

from posesyn_core.components import DatasetReader
from posesyn_core.inference.neighbours import with_neighbours
from posesyn_core.pipeline.run import Run
from posesyn_core.values import SampleOrRejection


def entries_of(run: Run, reader: DatasetReader) -> Iterator[SampleOrRejection]:
    """A reader's samples, with their neighbours if the recipe wants those hidden."""
    return iter(reader.samples()) if run.recipe.neighbours == "seen" else with_neighbours(reader.samples)
