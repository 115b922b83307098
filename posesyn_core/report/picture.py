"""One picture of what runs made: hard images, what the estimator saw, the frames made for them, before and after."""

from collections.abc import Sequence

import cv2
import numpy as np
from attrs import evolve

from posesyn_core.components import Kind
from posesyn_core.drawing.sheets import LABELLED, PREDICTED, Overlay, spread, tile
from posesyn_core.errors import UserError
from posesyn_core.geometry.joints import known_joints
from posesyn_core.inference.predict import predict
from posesyn_core.pipeline.finetune import POSESYN, weights_of
from posesyn_core.pipeline.run import HARD, FilteredFrame, Run, Selected
from posesyn_core.report.mining import seen
from posesyn_core.values import Image, PoseEstimate, Sample

SIDE, FRAMES, ROWS = 200, 4, 2
HEADINGS = ("hard image, its 2D label", "what the estimator saw", *("",) * FRAMES, "after fine-tuning")
MADE = "synthesised for it, with exact 3D labels"
HEADING, FONT, SCALE = 26, cv2.FONT_HERSHEY_SIMPLEX, 0.45


def picture(runs: Sequence[Run], rows: int = ROWS, skip: int = 0) -> Image:
    """``rows`` hard images of each finished run, hardest first, after the first ``skip``, under a line of headings.

    A row: the image with its label, with what the estimator saw, ``FRAMES`` kept frames of one clip that was made for
    it, and the image with what the fine-tuned estimator sees. UserError if no run has a row to show.
    """
    found = [row for run in runs for row in _rows(run, rows, skip)]
    if not found:
        raise UserError(f"no run has a hard image for which {FRAMES} frames were kept, so there is no picture to make")
    return np.vstack([_headings(), *found])


def _rows(run: Run, rows: int, skip: int) -> list[Image]:
    clips = _clips(run)
    chosen = [selected for selected in run.of_role(HARD) if selected.scored.sample.id in clips][skip : skip + rows]
    after = _after(run, [selected.scored.sample for selected in chosen])
    return [
        _row(selected, clips[selected.scored.sample.id], estimate)
        for selected, estimate in zip(chosen, after, strict=True)
    ]


def _clips(run: Run) -> dict[str, list[FilteredFrame]]:
    """The kept frames of a clip, by the hard sample that it was made for; clips with too few are left out."""
    kept: dict[str, list[FilteredFrame]] = {}
    for item in run.frames.values():
        if item.verdict.keep:
            kept.setdefault(item.clip, []).append(item)
    plans = (clip.plan for clip in run.clips.values())
    return {plan.sample_id: kept[plan.id] for plan in plans if len(kept.get(plan.id, ())) >= FRAMES}


def _after(run: Run, samples: Sequence[Sample]) -> list[PoseEstimate | None]:
    """What the fine-tuned estimator sees in the samples; None where it was not trained, or fails."""
    path = weights_of(run, POSESYN)
    if not samples or not path.exists():
        return [None] * len(samples)
    choice = evolve(run.recipe.estimator, options={**run.recipe.estimator.options, "weights": str(path)})
    estimator = run.create(Kind.ESTIMATOR, choice, "estimator")
    (results,) = predict(estimator, [list(samples)])
    return [result if isinstance(result, PoseEstimate) else None for result in results]


def _row(selected: Selected, kept: Sequence[FilteredFrame], after: PoseEstimate | None) -> Image:
    sample, overlays = selected.scored.sample, seen(selected.scored)
    return np.hstack(
        [
            tile(sample, [overlays["labelled"]], SIDE),
            tile(sample, [overlays["predicted"]], SIDE),
            *(
                tile(item.frame, [Overlay(item.frame.joints2d, item.frame.joint_set, colours=LABELLED)], SIDE)
                for item in spread(kept, FRAMES)
            ),
            tile(sample, [] if after is None else [_predicted(after)], SIDE),
        ]
    )


def _predicted(estimate: PoseEstimate) -> Overlay:
    return Overlay(estimate.joints2d, estimate.joint_set, known_joints(estimate, 2), PREDICTED)


def _headings() -> Image:
    line = np.full((HEADING, SIDE * len(HEADINGS), 3), 255, np.uint8)
    words = [(text, SIDE * at, SIDE) for at, text in enumerate(HEADINGS)]
    for text, left, width in (*words, (MADE, 2 * SIDE, FRAMES * SIDE)):
        (wide, high), _ = cv2.getTextSize(text, FONT, SCALE, 1)
        place = left + (width - wide) // 2, (HEADING + high) // 2
        cv2.putText(line, text, place, FONT, SCALE, (40, 40, 40), 1, cv2.LINE_AA)
    return line
