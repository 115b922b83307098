"""The reference people: whose they are, their bodies, and which of them can be animated (a step of ``animate``).

They are the easy samples, people of a data set of their own (``[reference.dataset]``: PoseSyn's appendix B and
Fig. 9), or those whom the animator brings (:mod:`posesyn_core.pipeline.casting`). The scored estimates serve unless the
recipe names another estimator in ``[reference]``: the paper analyses its references with HMR 2.0, whichever estimator
it improves. People of another data set, whom nobody has looked at yet, are analysed by the estimator that is trained if
it names none. A person whose body can't be animated is rejected with the reason, as a unit of its own.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, tee
from typing import Any

import numpy as np
from attrs import frozen

from posesyn_core.body.completion import complete_all
from posesyn_core.body.cropping import reference_square, seen_in
from posesyn_core.body.model import Body
from posesyn_core.body.planning import reference_fault, turn_to_labels
from posesyn_core.components import Kind
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.files.paths import write_atomic
from posesyn_core.geometry.crops import warp
from posesyn_core.inference.predict import Result, predict
from posesyn_core.pipeline.casting import brings_people, cast
from posesyn_core.pipeline.entries import entries_of, with_unique_ids
from posesyn_core.pipeline.executor import Executor
from posesyn_core.pipeline.people import Reference
from posesyn_core.pipeline.run import EASY, Run
from posesyn_core.pipeline.seals import fingerprint
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work
from posesyn_core.progress import tell
from posesyn_core.recipe import Choice
from posesyn_core.seeds import rng
from posesyn_core.values import PoseEstimate, Sample

PAPERS = "hmr2"
"""The estimator that the paper analyses its references with."""


@frozen
class Candidate:
    """Somebody who may become a reference, with the scored ``pose`` if there is one."""

    sample: Sample
    pose: PoseEstimate | None


Batch = list[Unit[Candidate | str]]


def analyse_references(run: Run, executor: Executor) -> dict[str, Any]:
    """Fill the table ``references``: the body and camera of every candidate, or why they can't be animated."""
    if brings_people(run):
        return cast(run, executor)
    analyst = _analyst(run)[0].name
    if analyst != PAPERS:
        tell(f"references: their bodies are those that {analyst!r} sees; the paper takes HMR 2.0's ([reference])")
    filled = executor.fill(References(run))
    told = {"references_rejected": filled.rejected} | ({"reference_reasons": filled.reasons} if filled.rejected else {})
    return {"references": filled.units - filled.rejected, "references_by": analyst, **told}


def _analyst(run: Run) -> tuple[Choice, str]:
    """The estimator whose bodies the references have, and the section that it stands in."""
    recipe = run.recipe
    if recipe.reference is not None:
        return recipe.reference, "reference"
    if recipe.eem is not None and recipe.reference_dataset is None:
        return recipe.eem, "eem"
    return recipe.estimator, "estimator"


class References(Work[Candidate | str, Reference]):
    """Every candidate's body, as far as it can be animated."""

    stage, part, label = "animate", 256, "references"

    @property
    def table(self) -> Table[Reference]:
        return self.run.references

    @property
    def batch(self) -> int:
        return self.run.recipe.machine.batch_size

    def units(self) -> list[Unit[Candidate | str]]:
        return self._candidates

    @cached_property
    def _candidates(self) -> list[Unit[Candidate | str]]:
        """The easy samples; or of the data set as many as ``score.easy`` wants, drawn by the run's seed."""
        choice, wanted = self.run.recipe.reference_dataset, self.run.recipe.score.easy
        if choice is None:
            easy = self.run.of_role(EASY)
            return [(each.scored.sample.id, Candidate(each.scored.sample, each.pose)) for each in easy]
        reader = self.run.create(Kind.READER, choice, "reference.dataset")
        entries = list(with_unique_ids(entries_of(self.run, reader)))
        if not entries:
            raise UserError(f"the data set of [reference.dataset] ({choice.name!r}) is empty; name one with people")
        drawn = np.sort(rng(self.run.recipe.seed, choice.label, "references").permutation(len(entries))[:wanted])
        chosen = (entries[at] for at in drawn)
        return [(name, it if isinstance(it, str) else Candidate(it, None)) for name, it in chosen]

    @cached_property
    def body(self) -> Body:
        return self.run.bodies.body

    @cached_property
    def estimator(self) -> tuple[Any, LoadedNetwork | None] | None:
        """The one that looks at the candidates, with its network on its engine; None where the scored poses serve.

        UserError if the references' bodies are of another body than the run's.
        """
        choice, where = _analyst(self.run)
        if where != "reference" and self.run.recipe.reference_dataset is None:
            if where == "eem":
                who = f"[eem] {choice.name!r}, whose estimates serve as references,"
                self.run.bodies.require(self.run.create(Kind.ESTIMATOR, choice, where), who, "eem.body")
            return None
        estimator = self.run.create(Kind.ESTIMATOR, choice, where)
        return estimator, self.run.network(choice, estimator, where)

    def rows(self, batches: Iterator[Batch]) -> Iterator[Row[Reference]]:
        ahead, behind = tee(batches)
        for results, batch in zip(self._results(ahead), behind, strict=True):
            found = iter(results)
            for name, it in batch:
                yield Row(name, rejected=it) if isinstance(it, str) else _row(self.run, self.body, it, next(found))

    def _results(self, batches: Iterator[Batch]) -> Iterator[Sequence[Result]]:
        """What the estimator says of the people of each batch, as whole bodies; of broken entries nothing."""
        first = next(batches, None)
        if first is None:  # all done by an earlier call: no estimator need be made
            return
        people = ([it for _, it in batch if isinstance(it, Candidate)] for batch in chain([first], batches))
        if self.estimator is None:
            yield from (complete_all(self.body, [it.pose for it in batch if it.pose is not None]) for batch in people)
            return
        estimator, network = self.estimator
        samples = ([it.sample for it in batch] for batch in people)
        for found in predict(estimator, samples, network=network, workers=self.run.recipe.machine.workers):
            yield complete_all(self.body, found)


def _row(run: Run, body: Body, candidate: Candidate, result: Result) -> Row[Reference]:
    """The result, turned by the labels if the recipe wants that, if it can be animated."""
    sample = candidate.sample
    if isinstance(result, SampleError):
        return Row(sample.id, rejected=str(result))
    if run.recipe.animate.turn_reference:
        result = turn_to_labels(body, result, sample)
    fault = reference_fault(body, result, sample)
    return Row(sample.id, Reference(sample, result)) if fault is None else Row(sample.id, rejected=fault)


def cut_out(run: Run, body: Body, reference: Reference) -> Reference:
    """The reference in a square about the person, whose picture is written to ``animate/squares``.

    SampleError for a broken picture.
    """
    size, image = run.recipe.animate.reference_size, load_image(reference.sample.image)
    height, width = image.shape[:2]
    matrix = reference_square(body, reference.sample, reference.estimate, width, height, size)
    path = run.folder / "animate" / "squares" / f"{fingerprint(reference.sample.id, matrix.tolist(), size)}.png"
    if not path.exists():
        write_atomic(path, encode_png(warp(image, matrix, size)))
    return Reference(*seen_in(matrix, path, reference.sample, reference.estimate))
