"""What the report says of the estimator's weakness, and of the images mined for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from posesyn_core.drawing.groups import Member, everybody
from posesyn_core.drawing.sheets import LABELLED, PREDICTED, Overlay
from posesyn_core.geometry.joints import known_joints
from posesyn_core.method import eem
from posesyn_core.pipeline.run import EASY, HARD, Run, Selected
from posesyn_core.report import charts, figures
from posesyn_core.report.figures import unit_of
from posesyn_core.report.large import Beside, zoom
from posesyn_core.report.pictures import Card, encoded, person
from posesyn_core.values import ScoredSample

HARD_SHOWN, EASY_SHOWN, GROUPS_SHOWN = 24, 12, 6
GROUP_SIDE = 560
"""Pixels of the longer side of a picture of several people."""


def weakness(run: Run) -> dict[str, Any] | None:
    """How far off the estimator is on the mined images: the numbers of the table ``score``."""
    scores = figures.score_figures(run)
    if scores is None:
        return None
    bars = [
        charts.Bar(joint, error, f"{error:.1f}", _weight_tone(weight)) for joint, error, weight in _joint_errors(scores)
    ]
    selected = list(run.selected.values())
    return {
        "scores": scores,
        "samples": len(scores.errors),
        "mean": float(np.mean(scores.errors)),
        "median": float(np.median(scores.errors)),
        "histogram": _error_histogram(run, scores, selected),
        "joints": charts.bars(bars, f"Mean error of every joint, {unit_of(run)}"),
        "tones": sorted({bar.tone for bar in bars}, reverse=True),
    }


READINGS = {
    "estimated_2d": (
        "Errors are against the 2D joints that {} is sure of (0.3 or more), in crop pixels, not against annotations: "
        "the paper's Table 7 with 2D pseudo-labels, as it is read here."
    ),
    "estimated_3d": (
        "Errors are against the root-relative 3D joints of {}, in mm, weighted as annotations are: the paper's Table 7 "
        "with 3D pseudo-labels, as it is read here."
    ),
}
"""How Table 7's variants are read, by ``score.labels``."""


def _labeller(run: Run) -> str:
    return "nobody" if run.recipe.labeller is None else run.recipe.labeller.name


def _joint_errors(scores: figures.ScoreFigures) -> list[tuple[str, float, float]]:
    """(joint, mean error in the unit of Eq. 1, weight in Eq. 1), worst first; several joint sets are told apart."""
    found = []
    for name, joints in scores.joints.items():
        suffix = f" ({name})" if len(scores.joints) > 1 else ""
        weights = eem.joint_weights(name)
        for at, joint in enumerate(figures.joint_names(name)):
            if joints.count[at]:
                found.append((joint + suffix, float(joints.total[at] / joints.count[at]), float(weights[at])))
    return sorted(found, key=lambda row: (-row[1], row[0]))


def _weight_tone(weight: float) -> str:
    """The style class of a joint's bar: the darker, the more the joint weighs in Eq. 1."""
    return next(tone for least, tone in ((1, "w4"), (0.5, "w3"), (1e-9, "w2"), (0, "w1")) if weight >= least)


def _error_histogram(run: Run, scores: figures.ScoreFigures, selected: Sequence[Selected]) -> Markup:
    marks = []
    if run.recipe.score.method == "eem":  # a random choice has no thresholds
        hard = [s.scored.error for s in selected if s.role == HARD]
        easy = [s.scored.error for s in selected if s.role == EASY]
        if easy:
            marks.append(charts.Mark(max(easy), f"easy: up to {max(easy):.0f}", EASY))
        if hard:
            marks.append(charts.Mark(min(hard), f"hard: from {min(hard):.0f}", HARD))
    alt = f"Histogram of the Eq. 1 error of {len(scores.errors)} samples" + "".join(f", {m.text}" for m in marks)
    return charts.histogram(scores.errors, marks, f"Eq. 1 error ({unit_of(run)})", "samples", alt)


def mined(run: Run, beside: Beside) -> dict[str, Any]:
    """The hardest and the easiest samples (the paper's Fig. 3)."""
    hard, easy = run.of_role(HARD), run.of_role(EASY)
    return {
        "hard": [_card(run, s, beside) for s in hard[:HARD_SHOWN]],
        "easy": [_card(run, s, beside) for s in easy[:EASY_SHOWN]],
        "hard_total": len(hard),
        "easy_total": len(easy),
        "random": run.recipe.score.method == "random",
        "reading": READINGS.get(run.recipe.score.labels, "").format(_labeller(run)),
        "joint_set": (hard or easy)[0].scored.estimate.joint_set if hard or easy else None,
        "masked": run.recipe.neighbours == "masked",
        "groups": [_group_card(run, members) for members in _groups(run, hard)],
        "residuals": [s.whole.residual_mm for s in (*hard, *easy) if s.whole and s.whole.residual_mm is not None],
    }


def _card(run: Run, selected: Selected, beside: Beside) -> Card:
    scored = selected.scored
    overlays = seen(scored)
    alt = f"{scored.sample.id} with the labelled and the predicted skeleton"
    note = f"{figures.mean_joint_error(scored):.1f} {unit_of(run)} a joint"
    head = f"error {scored.error:.1f}"
    large = zoom([beside.panel(scored.sample, f"{head}, {note}", overlays)])
    return Card(person(scored.sample, list(overlays.values()), alt), head, note, scored.sample.id, zoom=large)


def seen(scored: ScoredSample) -> dict[str, Overlay]:
    """The labelled and the predicted skeleton of a sample, by name."""
    sample, estimate = scored.sample, scored.estimate
    return {
        "labelled": Overlay(sample.keypoints2d, sample.joint_set, sample.confidence > 0, LABELLED),
        "predicted": Overlay(estimate.joints2d, estimate.joint_set, known_joints(estimate, 2), PREDICTED),
    }


def _groups(run: Run, hard: Sequence[Selected]) -> list[list[ScoredSample]]:
    """The scored people of pictures that have several, one a hard one: by the hardest, each picture's hardest first."""
    paths = [str(selected.scored.sample.image) for selected in hard if isinstance(selected.scored.sample.image, Path)]
    wanted = dict.fromkeys(paths)
    people: dict[str, list[str]] = {path: [] for path in wanted}
    for unit, path in run.scored.column("sample.image.path") if wanted else ():
        if path in people:
            people[path].append(unit)
    chosen = [units for units in people.values() if len(units) > 1][:GROUPS_SHOWN]
    scored = run.scored.pick(unit for units in chosen for unit in units)
    return [sorted((scored[unit] for unit in units), key=lambda each: -each.error) for units in chosen]


def _group_card(run: Run, people: Sequence[ScoredSample]) -> Card:
    """One picture with everybody in it; the note tells who has which number."""
    members = [
        Member(
            each.sample.box,
            Overlay(each.estimate.joints2d, each.estimate.joint_set, known_joints(each.estimate, 2)),
            f"{number}: {each.error:.0f}",
        )
        for number, each in enumerate(people, 1)
    ]
    image = people[0].sample.image
    alt = f"{len(people)} people in {Path(str(image)).name}, as the estimator sees them"
    note = ", ".join(f"{number} {each.sample.id}" for number, each in enumerate(people, 1))
    picture = encoded(lambda: everybody(image, members, GROUP_SIDE), alt)
    return Card(picture, f"{len(people)} people, errors {people[0].error:.1f} to {people[-1].error:.1f}", note)
