"""Stage 2: pick the hard and the easy samples (EEM, Eq. 2-3)."""

from collections.abc import Iterator
from typing import Any

from posesyn_core.errors import UserError
from posesyn_core.method import eem
from posesyn_core.pipeline.run import EASY, HARD, Run, Selected
from posesyn_core.pipeline.tables import Row
from posesyn_core.seeds import rng


def select(run: Run) -> dict[str, Any]:
    """Fill the table ``select`` with the K_C hardest and K_NC easiest scored samples."""
    run.require("score")
    errors, units = (error for _, error in _rankings(run)), (unit for unit, _ in _rankings(run))
    hard, easy = eem.select(errors, units, run.recipe.score.hard, run.recipe.score.easy)
    if not hard and not easy:
        raise UserError(f"no sample of {str(run.folder)!r} could be scored; see rejected.parquet for the reasons")
    scored = run.scored.pick(unit for unit, _ in hard + easy)
    rows = [
        Row(unit, Selected(role, rank, scored[unit]))
        for role, chosen in ((HARD, hard), (EASY, easy))
        for rank, (unit, _) in enumerate(chosen)
    ]
    run.selected.write_part(0, rows)
    return {"hard": len(hard), "easy": len(easy)}


def _rankings(run: Run) -> Iterator[tuple[str, float]]:
    """(id, what to rank by): the error, or without EEM a number drawn for each sample."""
    for unit, error in run.scored.column("error"):
        random = run.recipe.score.method == "random"
        yield unit, float(rng(run.recipe.seed, unit, "select").random()) if random else error
