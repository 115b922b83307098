"""The reference people: the bodies of the easy samples, and which of them can be animated (a step of ``animate``).

The scored estimates serve unless the recipe names another estimator in ``[reference]``: the paper analyses its
references with HMR 2.0, whichever estimator it improves. A person whose body can't be animated is rejected with the
reason, as a unit of its own.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, tee
from typing import Any

from posesyn_core.body.completion import complete_all
from posesyn_core.body.model import Body
from posesyn_core.body.planning import reference_fault, turn_to_labels
from posesyn_core.components import Kind
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.errors import SampleError
from posesyn_core.inference.predict import Result, predict
from posesyn_core.pipeline.executor import Executor
from posesyn_core.pipeline.run import EASY, Run, Selected
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work
from posesyn_core.values import PoseEstimate, Sample

Batch = list[Unit[Selected]]


def analyse_references(run: Run, executor: Executor) -> dict[str, Any]:
    """Fill the table ``references``: the body and camera of every easy person, or why they can't be animated."""
    filled = executor.fill(References(run))
    told = {"references_rejected": filled.rejected} | ({"reference_reasons": filled.reasons} if filled.rejected else {})
    return {"references": filled.units - filled.rejected, **told}


class References(Work[Selected, PoseEstimate]):
    """Every easy person's body, as far as it can be animated."""

    stage, part, label = "animate", 256, "references"

    @property
    def table(self) -> Table[PoseEstimate]:
        return self.run.references

    @property
    def batch(self) -> int:
        return self.run.recipe.machine.batch_size

    def units(self) -> list[Unit[Selected]]:
        return [(selected.scored.sample.id, selected) for selected in self.run.of_role(EASY)]

    @cached_property
    def body(self) -> Body:
        return self.run.bodies.body

    @cached_property
    def estimator(self) -> tuple[Any, LoadedNetwork | None] | None:
        """That of ``[reference]`` with its network on its engine; None where the scored estimates serve.

        UserError if the references' bodies are of another body than the run's.
        """
        choice, scorer = self.run.recipe.reference, self.run.recipe.eem
        if choice is None:
            if scorer is not None:
                who = f"[eem] {scorer.name!r}, whose estimates serve as references,"
                self.run.bodies.require(self.run.create(Kind.ESTIMATOR, scorer, "eem"), who, "eem.body")
            return None
        estimator = self.run.create(Kind.ESTIMATOR, choice, "reference")
        return estimator, self.run.network(choice, estimator, "reference")

    def rows(self, batches: Iterator[Batch]) -> Iterator[Row[PoseEstimate]]:
        ahead, behind = tee(batches)
        for results, batch in zip(self._estimates(ahead), behind, strict=True):
            pairs = zip(batch, results, strict=True)
            yield from (_row(self.run, self.body, it.scored.sample, found) for (_, it), found in pairs)

    def _estimates(self, batches: Iterator[Batch]) -> Iterator[Sequence[Result]]:
        """What the estimator says of the people of each batch, as whole bodies."""
        first = next(batches, None)
        if first is None:  # all done by an earlier call: no estimator need be made
            return
        batches = chain([first], batches)
        if self.estimator is None:
            yield from (complete_all(self.body, [selected.pose for _, selected in batch]) for batch in batches)
            return
        estimator, network = self.estimator
        people = ([selected.scored.sample for _, selected in batch] for batch in batches)
        for found in predict(estimator, people, network=network, workers=self.run.recipe.machine.workers):
            yield complete_all(self.body, found)


def _row(run: Run, body: Body, sample: Sample, result: Result) -> Row[PoseEstimate]:
    """The result, turned by the labels if the recipe wants that, if it can be animated."""
    if isinstance(result, SampleError):
        return Row(sample.id, rejected=str(result))
    if run.recipe.animate.turn_reference:
        result = turn_to_labels(body, result, sample)
    fault = reference_fault(body, result, sample)
    return Row(sample.id, result) if fault is None else Row(sample.id, rejected=fault)
