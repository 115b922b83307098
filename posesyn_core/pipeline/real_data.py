"""What a training takes: real data as its estimator wants it, and the synthesised frames that were kept.

Entries are read one by one and kept on disk (:mod:`posesyn_core.files.records`), so that memory holds their places
only, and pictures that readers hand over as bytes don't stay in it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from posesyn_core.components import DatasetReader, Kind, TrainableEstimator
from posesyn_core.contracts.entries import entries
from posesyn_core.drawing.truth import write_truth_sheet
from posesyn_core.errors import UserError
from posesyn_core.files.records import Records
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.pipeline.entries import Usable
from posesyn_core.pipeline.export import kept_frames
from posesyn_core.pipeline.run import Run
from posesyn_core.training.sources import Joined, Weighted
from posesyn_core.values import LabelledFrame, Sample

V = TypeVar("V")
Real = Sequence[Any] | Weighted

SHOWN = 24
"""So many people of a data set, spread over it, are held for its sheet."""


def real_data(run: Run, estimator: TrainableEstimator, usable: Usable | None = None) -> Real:
    """The recipe's real training data: one pool, or data sets with weights.

    The weights are the recipe's, or where it gives none, those of the estimator's published mixture if it knows all
    the labels. What is not ``usable`` is noted there. UserError if some sets have a weight and others none, or if two
    with weights have one label.
    """
    usable = usable or Usable("finetune")
    sets = [(choice.label, _read(run, estimator, at, usable)) for at, choice in enumerate(run.recipe.real)]
    sets = [(label, items) for label, items in sets if len(items)]
    weights = _weights(run, estimator, {label: len(items) for label, items in sets})
    if not weights:
        return Joined([items for _, items in sets])
    if len(dict(sets)) < len(sets):
        raise UserError("two data sets of [[real]] that have weights are called alike: give one another 'label'")
    return Weighted(dict(sets), weights)


def _weights(run: Run, estimator: TrainableEstimator, sizes: dict[str, int]) -> dict[str, float]:
    given = {choice.label: choice.weight for choice in run.recipe.real if choice.weight is not None}
    if given and len(given) < len({choice.label for choice in run.recipe.real}):
        lacking = next(choice.label for choice in run.recipe.real if choice.label not in given)
        raise UserError(f"[[real]] {lacking!r} has no weight, but others have: give each its weight, or none")
    if given:
        return {label: given[label] for label in sizes}
    published = estimator.mixture(sizes) if hasattr(estimator, "mixture") and len(sizes) > 1 else None
    return dict(published) if published else {}


def _read(run: Run, estimator: TrainableEstimator, at: int, usable: Usable) -> Sequence[Any]:
    """One data set of [[real]]: items of the estimator's own kind if the reader has them, else labelled frames."""
    choice, folder = run.recipe.real[at], run.folder / "finetune"
    reader = run.create(Kind.READER, choice, f"real.{at}")
    kind = getattr(estimator, "training_kind", None)
    alike = getattr(reader, "training_kind", None) is kind and run.recipe.finetune.augmenter is None
    held: list[Sample] = []
    if kind is not None and alike:
        records = stored(kind, usable.items(reader.training_items(), choice.label), run)
        held = _first(reader)
    else:
        samples = usable.samples(run, reader, choice.label)
        records = stored(LabelledFrame, map(labelled_frame, _spread(samples, held)), run)
    usable.require(records, choice.label, run.folder)
    write_truth_sheet(held, folder, f"{choice.label}-{at}" if at else choice.label)
    return records


def _first(reader: DatasetReader) -> list[Sample]:
    found: list[Sample] = []
    for entry in entries(reader):
        found += [entry] if isinstance(entry, Sample) else []
        if len(found) == SHOWN:
            break
    return found


def _spread(samples: Iterable[Sample], held: list[Sample]) -> Iterator[Sample]:
    """The samples; ``SHOWN`` or fewer of them, evenly spread, are in ``held`` at the end."""
    step = 1
    for number, sample in enumerate(samples):
        if number % step == 0:
            held.append(sample)
        if len(held) > SHOWN:
            del held[1::2]
            step *= 2
        yield sample


def stored(kind: type[V], items: Iterable[V], run: Run) -> Records[V]:
    """The items on disk, in the run's folder for as long as they are used."""
    records = Records(kind, run.folder / "finetune")
    for item in items:
        records.append(item)
    return records


def kept_records(run: Run) -> Records[LabelledFrame]:
    """The synthesised frames that the filter kept."""
    return stored(LabelledFrame, kept_frames(run), run)


def told(real: Real) -> dict[str, Any]:
    """What the stage's summary says of weights."""
    if not isinstance(real, Weighted):
        return {}
    return {"mixture": {label: round(weight, 4) for label, weight in real.weights.items()}}
