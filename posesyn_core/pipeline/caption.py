"""Stage 3: say what the people in the hard images do (the text of Eq. 5)."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from posesyn_core.components import Captioner, Kind
from posesyn_core.contracts.entries import printable
from posesyn_core.contracts.results import expect, rejecting
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.run import HARD, Captioned, Run, Selected
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work, each_alone


def caption(run: Run, executor: Executor = LOCAL) -> dict[str, Any]:
    """Fill the table ``caption``: one sentence for every hard sample."""
    run.require("select")
    filled = executor.fill(Captions(run))
    return {"captions": filled.units, **filled.figures()}


class Captions(Work[Selected, Captioned]):
    """Every hard sample gets a sentence."""

    stage, part = "caption", 32

    @property
    def table(self) -> Table[Captioned]:
        return self.run.captions

    def units(self) -> Iterator[Unit[Selected]]:
        return ((s.scored.sample.id, s) for s in self.run.stream_of_role(HARD))

    @cached_property
    def captioner(self) -> Captioner:
        return self.run.create(Kind.CAPTIONER, self.run.recipe.captioner, "captioner")

    def rows(self, batches: Iterator[list[Unit[Selected]]]) -> Iterator[Row[Captioned]]:
        for batch in batches:
            yield from map(_checked, each_alone(self._describe, batch))

    def _describe(self, batch: Sequence[Selected]) -> list[Captioned]:
        given = [s.scored.sample for s in batch], [s.pose for s in batch]
        with rejecting(self.captioner.caption):
            sentences = expect(self.captioner.caption(*given), str, len(batch), self.captioner.caption)
        return [Captioned(s.scored.sample.id, sentence) for s, sentence in zip(batch, sentences, strict=True)]


def _checked(row: Row[Captioned]) -> Row[Captioned]:
    """Rejected if there is no text in it that a table can store."""
    said = "" if row.value is None else row.value.caption
    fault = "the caption is empty" if not said.strip() else None
    if printable(said) != said:
        fault = "the caption has characters that are none in UTF-8"
    return row if row.value is None or fault is None else Row(row.unit, rejected=fault)
