"""What the report says of the training: its data, and the errors before and after."""

import json
from collections.abc import Mapping
from typing import Any

from posesyn_core.body.model import Body
from posesyn_core.drawing.sheets import COLUMNS, ROWS, spread
from posesyn_core.drawing.truth import TRUTH_SHEET, truth_sheet
from posesyn_core.files.images import encode_jpeg
from posesyn_core.pipeline.evaluate import WORST
from posesyn_core.pipeline.finetune import AUGMENTED, POSESYN
from posesyn_core.pipeline.run import Run
from posesyn_core.report import charts, figures
from posesyn_core.report.pictures import Picture, data_uri
from posesyn_core.report.scenes import worst_scenes

_SHORT = {"shipped": "shipped", "real_only": "real only", "posesyn": "PoseSyn"}


def comparison(run: Run, body: Body | None) -> dict[str, Any] | None:
    """The before/after table with a sentence for each difference; None without measurements."""
    found = figures.variants(run)
    if not found:
        return None
    by_name = {variant.name: variant for variant in found}
    bars = [
        charts.Bar(f"{_SHORT.get(v.name, v.name)}: {label}", value, f"{value:.1f} mm", tone)
        for v in found
        for label, value, tone in (("MPJPE", v.mpjpe, "w4"), ("PA-MPJPE", v.pa_mpjpe, "w2"))
    ]
    pairs = [("posesyn", "shipped"), ("posesyn", "real_only"), ("real_only", "shipped")]
    changes = (run.summary("evaluate") or {}).get("differences", {})
    return {
        "variants": found,
        "base": found[0],
        "sentences": [_difference(by_name[a], by_name[b]) for a, b in pairs if a in by_name and b in by_name],
        "chart": charts.bars(bars, "MPJPE and PA-MPJPE in millimetres of every variant"),
        "certainty": [
            _certainty(label, _SHORT.get(variant, variant), change)
            for label, by_variant in changes.items()
            for variant, found in by_variant.items()
            for change in found
            if change["metric"] in ("mpjpe", "pa_mpjpe")
        ],
        "notes": [
            f"{label}: {note}."
            for label, notes in (run.summary("evaluate") or {}).get("notes", {}).items()
            for note in notes
        ],
        "worst": _worst(run),
        "changes": changes,
        "turned": [
            (case.id, f"{case.error:.0f} mm", json.dumps(scene))
            for case, scene in worst_scenes(run, found[-1].name, body)
        ],
        "augmented": _augmented(run),
        "training": run.summary("finetune") or {},
    }


def _certainty(label: str, baseline: str, change: Mapping[str, Any]) -> str:
    """One line on a difference sample by sample, and whether it is more than chance."""
    metric = change["metric"].replace("_", "-").upper()
    interval = f"95 % interval {change['low']:+.1f} to {change['high']:+.1f}"
    chance = ", zero in it: it may be chance" if change["low"] <= 0 <= change["high"] else ""
    difference = change["second"] - change["first"]
    return (
        f"{label}, {metric}: PoseSyn less {baseline} is {difference:+.1f} mm ({interval}{chance}); "
        f"lower on {change['better']:.0f} % of {change['samples']} samples."
    )


def _worst(run: Run) -> list[Picture]:
    """The sheets of worst cases of the last training, or of the estimator as shipped."""
    variant = figures.variants(run)[-1].name
    found = sorted((run.folder / "evaluate" / variant).glob(f"*{WORST}.jpg"))
    return [
        Picture(f"Worst cases of {path.name.removesuffix(f'{WORST}.jpg')}", uri=data_uri(path.read_bytes()))
        for path in found
    ]


def _augmented(run: Run) -> list[Picture]:
    """What the augmenter of the last training says that it made, if there was one."""
    found = sorted((run.folder / "finetune" / POSESYN).glob(f"*{AUGMENTED}"))
    return [
        Picture(f"Augmented: {path.name.removesuffix(AUGMENTED)}", uri=data_uri(path.read_bytes())) for path in found
    ]


def _difference(after: figures.Variant, before: figures.Variant) -> str:
    """One sentence that says what came out, better or worse."""
    change = after.mpjpe - before.mpjpe
    direction = "lower (better)" if change < 0 else "higher (worse)" if change > 0 else "different"
    return (
        f"{after.title}: MPJPE is {abs(change):.1f} mm ({100 * abs(change) / before.mpjpe:.1f} %) {direction} "
        f"than {before.title[0].lower() + before.title[1:]}."
    )


def data(run: Run) -> list[Picture]:
    """A sheet of samples with their labels for every data set that has been read."""
    scored = [name for name, _ in run.scored.column("error")]
    chosen = run.scored.pick(spread(scored, COLUMNS * ROWS))
    mined = truth_sheet([chosen[name].sample for name in scored if name in chosen])
    pictures = []
    if mined is not None:
        pictures.append(Picture(f"Mined: {run.recipe.dataset.label}", uri=data_uri(encode_jpeg(mined))))
    for title, stage in (("Real training data", "finetune"), ("Test data", "evaluate")):
        for path in sorted((run.folder / stage).glob(f"*{TRUTH_SHEET}")):
            label = path.name.removesuffix(TRUTH_SHEET)
            pictures.append(Picture(f"{title}: {label}", uri=data_uri(path.read_bytes())))
    return pictures
