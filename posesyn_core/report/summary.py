"""What happened in a run, and what to do next, in about twenty words."""

from collections.abc import Mapping, Sequence
from typing import Any

from posesyn_core.pipeline.finetune import POSESYN, REAL_ONLY
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import HARD, Run
from posesyn_core.report import figures

Comparison = Mapping[str, Any]


def summary(run: Run, judged: Sequence[figures.Judged], comparison: Comparison | None) -> str:
    """Two sentences: the result, and the next step."""
    begun = any(run.scored.parts())
    if not begun:
        return "Nothing has been scored yet. Next: find the images on which the estimator fails with posesyn score."
    following = next((stage for stage in STAGES[:-1] if run.summary(stage) is None), None)
    return f"{_made(run, judged)} {_next(following, judged, comparison)}"


def _made(run: Run, judged: Sequence[figures.Judged]) -> str:
    hard = sum(role == HARD for _, role in run.selected.column("role"))
    kept = sum(frame.keep for frame in judged)
    if judged:
        return f"{hard} hard images became {kept} labelled frames."
    return f"{sum(1 for _ in run.scored.column('error'))} people were scored, {hard} chosen as hard."


def _next(following: str | None, judged: Sequence[figures.Judged], comparison: Comparison | None) -> str:
    if judged and not any(frame.keep for frame in judged):
        return "No frame passed the filter: raise filter.tau, or look at the dropped frames below."
    if following is not None and comparison is None:
        return f"The run is not finished: posesyn resume goes on with {following}."
    found = {} if comparison is None else {variant.name: variant for variant in comparison["variants"]}
    if POSESYN not in found or len(found) < 2:
        return "No 3D test data says whether training helped: name some under test, and evaluate."
    base = next(variant for variant in found.values() if variant.name != POSESYN)
    change = found[POSESYN].mpjpe - base.mpjpe
    control = found.get(REAL_ONLY, base)
    share = 100 * abs(change) / base.mpjpe
    if change < 0 and control is not base and control.mpjpe <= found[POSESYN].mpjpe:
        alone = base.mpjpe - control.mpjpe
        return f"Training cut the error by {-change:.1f} mm, real data alone by {alone:.1f}: try a stricter filter.tau."
    if not _certain(comparison, base.name):
        return f"Training moved the error by {change:+.1f} mm, which may be chance: test more images and seeds."
    if change >= 0:
        return f"Training on them raised the error by {change:.1f} mm: lower filter.tau or the learning rate."
    beside = "" if control is base else f", real data alone by {base.mpjpe - control.mpjpe:.1f}"
    return f"Training cut the error by {-change:.1f} mm ({share:.0f} %){beside}: confirm with other seeds."


def _certain(comparison: Comparison | None, baseline: str) -> bool:
    """Whether the intervals of the MPJPE's difference to ``baseline``, on all test sets, leave zero out."""
    changes: Mapping[str, Any] = {} if comparison is None else comparison["changes"]
    found = [
        change
        for by_variant in changes.values()
        for change in by_variant.get(baseline, ())
        if change["metric"] == "mpjpe"
    ]
    return bool(found) and all(change["low"] > 0 or change["high"] < 0 for change in found)
