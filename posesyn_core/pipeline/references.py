"""The reference people: the bodies of the easy samples, and which of them can be animated (a step of ``animate``).

The scored estimates serve unless the recipe names another estimator in ``[reference]``: the paper analyses its
references with HMR 2.0, whichever estimator it improves. A person whose body can't be animated is rejected with the
reason, as a unit of its own.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, tee
from typing import Any

from posesyn_core.body.completion import complete_all
from posesyn_core.body.model import Body
from posesyn_core.body.planning import reference_fault, turn_to_labels
from posesyn_core.components import Kind
from posesyn_core.errors import SampleError
from posesyn_core.inference.predict import Result, predict
from posesyn_core.pipeline.executor import Unit, fill
from posesyn_core.pipeline.run import EASY, Run, Selected
from posesyn_core.pipeline.tables import Row
from posesyn_core.values import PoseEstimate, Sample

PART = 256
Batch = list[Unit[Selected]]


def analyse_references(run: Run, body: Body) -> dict[str, Any]:
    """Fill the table ``references``: the body and camera of every easy person, or why they can't be animated."""
    units = [(selected.scored.sample.id, selected) for selected in run.of_role(EASY)]

    def work(batches: Iterator[Batch]) -> Iterator[Row[PoseEstimate]]:
        first = next(batches, None)
        if first is None:  # all done by an earlier call: no estimator need be made
            return
        ahead, behind = tee(chain([first], batches))
        for results, batch in zip(_estimates(run, body, ahead), behind, strict=True):
            yield from (_row(run, body, it.scored.sample, found) for (_, it), found in zip(batch, results, strict=True))

    batch = run.recipe.machine.batch_size
    total, rejected = fill(run.references, units, work, part=PART, batch=batch, label="references", total=len(units))
    return {"references": total - rejected, "references_rejected": rejected}


def _estimates(run: Run, body: Body, batches: Iterator[Batch]) -> Iterable[list[Result]]:
    """What the estimator in ``[reference]``, or else the scoring one, says of each batch, as whole bodies."""
    choice = run.recipe.reference
    if choice is None:
        return ([selected.pose for _, selected in batch] for batch in batches)
    estimator = run.create(Kind.ESTIMATOR, choice, "reference")
    network = run.network(choice, estimator, "reference")
    people = ([selected.scored.sample for _, selected in batch] for batch in batches)
    found = predict(estimator, people, network=network, workers=run.recipe.machine.workers)
    return (complete_all(body, results) for results in found)


def _row(run: Run, body: Body, sample: Sample, result: Result) -> Row[PoseEstimate]:
    """The result, turned by the labels if the recipe wants that, if it can be animated."""
    if isinstance(result, SampleError):
        return Row(sample.id, rejected=str(result))
    if run.recipe.animate.turn_reference:
        result = turn_to_labels(body, result, sample)
    fault = reference_fault(body, result, sample)
    return Row(sample.id, result) if fault is None else Row(sample.id, rejected=fault)
