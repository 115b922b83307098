"""What the report says of motions, clips and the frames that the filter kept."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from attrs import frozen
from markupsafe import Markup

from posesyn_core.drawing.sheets import Overlay, spread
from posesyn_core.pipeline.run import HARD, FilteredFrame, Run
from posesyn_core.report import charts, figures
from posesyn_core.report.pictures import Card, Picture, person
from posesyn_core.values import Motion, Sample, ScoredSample

MOTIONS_SHOWN, CLIPS_SHOWN, FRAMES_SHOWN = 24, 12, 3


@frozen
class MotionCard:
    """A hard sample's photograph, caption and motion."""

    picture: Picture
    title: str
    caption: str
    strip: Markup | None = None
    note: str = ""


@frozen
class ClipCard:
    """A clip: its reference person, frames that were kept, and frames that were not."""

    reference: Card
    title: str
    caption: str
    note: str
    kept: Sequence[Card]
    dropped: Sequence[Card]


def motions(run: Run) -> dict[str, Any]:
    """Caption and motion of the hardest samples, the first motion of each."""
    hard = [selected.scored for selected in run.of_role(HARD)]
    captions = {captioned.sample_id: captioned.caption for captioned in run.captions.values()}
    shown = [scored for scored in hard if scored.sample.id in captions][:MOTIONS_SHOWN]
    by_sample: dict[str, list[Motion]] = {}
    for motion in run.motions.values():
        by_sample.setdefault(motion.sample_id, []).append(motion)
    cards = [_motion_card(s, captions[s.sample.id], by_sample.get(s.sample.id, [])) for s in shown]
    return {"cards": cards, "total": len(captions)}


def _motion_card(scored: ScoredSample, caption: str, motions: Sequence[Motion]) -> MotionCard:
    sample = scored.sample
    picture = person(sample, [], f"Photograph of {sample.id}", side=192)
    if not motions:
        return MotionCard(picture, sample.id, caption)
    motion = motions[0]
    way = np.linalg.norm(np.diff(motion.joints[:, 0, [0, 2]], axis=0), axis=-1).sum()
    more = f", 1 of {len(motions)} motions" if len(motions) > 1 else ""
    seconds = len(motion.joints) / motion.fps
    note = f"{len(motion.joints)} frames, {seconds:.1f} s, {way:.1f} m on the ground{more}"
    strip = charts.motion_strip(motion.joints, f"Eight moments of the motion made from: {caption}")
    return MotionCard(picture, sample.id, caption, strip, note)


def clips(run: Run, judged: Sequence[figures.Judged]) -> dict[str, Any]:
    """Clips spread evenly over all, each with some kept and some dropped frames."""
    by_clip = {clip: list(frames) for clip, frames in groupby(judged, key=lambda frame: frame.clip)}
    names = spread(list(by_clip), CLIPS_SHOWN)
    chosen = {
        name: [spread([f for f in by_clip[name] if f.keep is keep], FRAMES_SHOWN) for keep in (True, False)]
        for name in names
    }
    clips = run.clips.pick(names)
    frames = run.frames.pick(f.unit for groups in chosen.values() for group in groups for f in group)
    cards, left_out = [], False
    for name in names:
        plan = clips[name].plan
        kept, dropped = ([frames[frame.unit] for frame in group] for group in chosen[name])
        there = [frame for frame in dropped if _on_disk(frame)]
        left_out = left_out or len(there) < len(dropped)
        passed = sum(frame.keep for frame in by_clip[name])
        note = f"{passed} of {len(by_clip[name])} frames kept; joints -> SMPL residual {plan.residual_mm:.1f} mm"
        shown = ([_frame_card(frame) for frame in group] for group in (kept, there))
        cards.append(ClipCard(_reference_card(plan.reference), name, plan.caption, note, *shown))
    shape = (run.summary("animate") or {}).get("shape", "")
    return {"cards": cards, "total": len(by_clip), "left_out": left_out, "shape": shape}


def _on_disk(filtered: FilteredFrame) -> bool:
    """Dropped frames are written only where the recipe wants it."""
    image = filtered.frame.image
    return isinstance(image, bytes) or image.exists()


def _reference_card(reference: Sample) -> Card:
    return Card(person(reference, [], f"Reference photograph {reference.id}", side=192), "reference", id=reference.id)


def _frame_card(filtered: FilteredFrame) -> Card:
    frame, verdict = filtered.frame, filtered.verdict
    tone = "kept" if verdict.keep else "dropped"
    alt = f"Synthesised frame {filtered.index} of {filtered.clip} with its label, {tone}"
    picture = person(frame, [Overlay(frame.joints2d, frame.joint_set, frame.confidence > 0)], alt, side=192)
    error = f", {verdict.error:.0f} mm" if np.isfinite(verdict.error) else ""
    return Card(picture, tone + error, verdict.reason, tone=tone)


def passing(run: Run, judged: Sequence[figures.Judged]) -> dict[str, Any] | None:
    """Share of the judged frames that pass at every tau; None if none was judged."""
    if not judged:
        return None
    errors = figures.frame_errors(judged)
    options = figures.filter_options(run)
    high = max(240.0, 1.2 * (options.tau or 0))
    grid = np.linspace(0, high, 161)
    paper = options.reduction == "mean"  # the paper's numbers fit a mean over joints
    dots = np.array(list(figures.PAPER_PASS.items()), np.float64) if paper else np.empty((0, 2))
    chosen = [] if options.tau is None else [options.tau]
    marks = [charts.Mark(tau, f"tau = {tau:g} mm", "tau") for tau in chosen]
    alt = "Share of the frames that pass the filter against its threshold tau"
    points = np.stack([grid, figures.pass_rate(errors, grid)], -1)
    taus = sorted({*map(float, figures.PAPER_PASS), *chosen}, reverse=True)
    return {
        "chart": charts.curve(points, dots, marks, "tau (mm)", "frames kept (%)", alt),
        "rows": figures.thresholds(run, errors, taus),
        "median": float(np.median(errors)),
        "frames": len(errors),
        "paper": paper,
        "tau": options.tau,
        "reduction": options.reduction,
    }
