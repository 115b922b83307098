"""Stage 3: say what the people in the hard images do (the text of Eq. 5)."""

from collections.abc import Iterator, Sequence
from typing import Any

from posesyn_core.components import Captioner, Kind
from posesyn_core.pipeline.executor import Unit, each_alone, fill
from posesyn_core.pipeline.run import HARD, Captioned, Run, Selected
from posesyn_core.pipeline.tables import Row

PART = 32


def caption(run: Run) -> dict[str, Any]:
    """Fill the table ``caption``: one sentence for every hard sample."""
    run.require("select")
    captioner: Captioner = run.create(Kind.CAPTIONER, run.recipe.captioner, "captioner")

    def describe(batch: Sequence[Selected]) -> list[Captioned]:
        sentences = captioner.caption([s.scored.sample for s in batch], [s.pose for s in batch])
        return [Captioned(s.scored.sample.id, sentence) for s, sentence in zip(batch, sentences, strict=True)]

    def work(batches: Iterator[list[Unit[Selected]]]) -> Iterator[Row[Captioned]]:
        for batch in batches:
            yield from each_alone(describe, batch)

    units = [(s.scored.sample.id, s) for s in run.of_role(HARD)]
    total, rejected = fill(run.captions, units, work, part=PART, batch=PART, label="caption", total=len(units))
    return {"captions": total, "rejected": rejected}
