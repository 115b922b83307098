"""Stage 2: pick the hard and the easy samples (EEM, Eq. 2-3)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import evolve

from posesyn_core.body.completion import complete, is_whole
from posesyn_core.contracts.structuring import Count
from posesyn_core.errors import SampleError
from posesyn_core.method import eem
from posesyn_core.pipeline.rejections import most_frequent
from posesyn_core.pipeline.run import EASY, HARD, Run, Selected
from posesyn_core.pipeline.tables import Row, part_number
from posesyn_core.seeds import rng
from posesyn_core.values import PoseEstimate

PART = 1024
"""Rows of a part: the stages that follow have one in memory at a time."""


def select(run: Run) -> dict[str, Any]:
    """Fill the table ``select`` with the K_C hardest and K_NC easiest scored samples."""
    run.require("score")
    hard, easy = _extremes(run).selected()
    parts = sorted({number for (_, number), _ in hard + easy})
    scored = run.scored.pick((unit for (unit, _), _ in hard + easy), map(run.scored.part, parts))
    chosen = [
        Selected(role, rank, scored[unit])
        for role, ranked in ((HARD, hard), (EASY, easy))
        for rank, ((unit, _), _) in enumerate(ranked)
    ]
    rows = _whole(run, chosen)
    for number, at in enumerate(range(0, max(len(rows), 1), PART)):
        run.selected.write_part(number, rows[at : at + PART])
    return _summary([row.value for row in rows], [row.rejected for row in rows if row.rejected is not None])


def _how_many(run: Run, count: Count) -> int:
    """The number that a key asks for; a share is of the samples that were scored, and at least one."""
    return int(count) if count >= 1 else max(1, round(count * sum(1 for _ in run.scored.column("error"))))


def _summary(rows: Sequence[Selected | None], reasons: Sequence[str]) -> dict[str, Any]:
    """How many of each role, and if bodies had to be fitted: how many, how well, and how many could not be, and why."""
    kept = [row for row in rows if row is not None]
    fitted = [row.whole.residual_mm for row in kept if row.whole is not None and row.whole.residual_mm is not None]
    summary: dict[str, Any] = {role: sum(row.role == role for row in kept) for role in (HARD, EASY)}
    if fitted:
        summary |= {"fitted": len(fitted), "mean_residual_mm": round(float(np.mean(fitted)), 2)}
    return {**summary, "rejected": len(reasons), "reasons": most_frequent(reasons)} if reasons else summary


def _whole(run: Run, chosen: Sequence[Selected]) -> list[Row[Selected]]:
    """The selected with their estimates completed to whole SMPL poses; rejected if too little is known of a hard one.

    An easy one stays: another estimator may look at it as a reference. UserError if the joint set is too poor.
    """
    estimates = [each.scored.estimate for each in chosen]
    poor = [at for at, estimate in enumerate(estimates) if not is_whole(estimate)]
    found = complete(run.bodies.body, [estimates[at] for at in poor]) if poor else []
    completed = dict(zip(poor, found, strict=True))
    return [_row(each, completed.get(at)) for at, each in enumerate(chosen)]


def _row(selected: Selected, whole: PoseEstimate | SampleError | None) -> Row[Selected]:
    unit = selected.scored.sample.id
    if isinstance(whole, SampleError):
        return Row(unit, selected) if selected.role == EASY else Row(unit, rejected=str(whole))
    return Row(unit, evolve(selected, whole=whole))


def _extremes(run: Run) -> eem.Extremes[tuple[str, int]]:
    """The hardest and the easiest units with the numbers of their parts, merged part by part.

    Memory grows with how many are selected alone. A part that can't have one of them is known by its footer, and its
    rows are not read.
    """
    score = run.recipe.score
    extremes = eem.Extremes[tuple[str, int]](*(_how_many(run, count) for count in (score.hard, score.easy)))
    by_error = score.method == "eem"
    for part in run.scored.parts():
        if by_error and not extremes.may_take(*run.scored.bounds(part, "error")):
            continue
        rows = list(run.scored.column_of(part, "error"))
        values = [error if by_error else rng(run.recipe.seed, unit, "select").random() for unit, error in rows]
        extremes.add(np.array(values, np.float64), [(unit, part_number(part)) for unit, _ in rows])
    return extremes
