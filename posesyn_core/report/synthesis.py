"""What the report says of motions, clips and the frames that the filter kept."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from attrs import frozen
from markupsafe import Markup

from posesyn_core.body.model import Body
from posesyn_core.drawing.sheets import Overlay, spread
from posesyn_core.pipeline.run import HARD, FilteredFrame, Run, Selected
from posesyn_core.report import charts, figures
from posesyn_core.report.large import Beside, Panel, zoom
from posesyn_core.report.mining import seen
from posesyn_core.report.pictures import Card, Picture, person
from posesyn_core.report.scenes import clip_scene, fitted_poses, motion_scene
from posesyn_core.values import FloatArray, Motion, Sample, ScoredSample, Url

MOTIONS_PAGE, MOTIONS_MOST = 12, 600
CLIPS_PAGE, CLIPS_MOST, FRAMES_SHOWN = 12, 600, 3
"""On a page, on all pages, and of a clip's frames: kept ones, and dropped ones."""


@frozen
class MotionCard:
    """A hard sample's photograph, caption and motion; ``scene`` is what can be turned, as JSON."""

    picture: Picture
    title: str
    caption: str
    strip: Markup | None = None
    note: str = ""
    scene: str = ""


@frozen
class ClipCard:
    """A clip: the photograph that it is made for, its reference person, frames that were kept, and that were not.

    ``unwritten`` says that dropped frames are not on disk; ``scene`` is what can be turned, as JSON.
    """

    hard: Card | None
    reference: Card
    title: str
    caption: str
    note: str
    kept: Sequence[Card]
    dropped: Sequence[Card]
    unwritten: bool
    scene: str


def motions(run: Run, body: Body | None) -> dict[str, Any]:
    """Caption and motion of the hardest samples, the first motion of each, in ``pages`` of cards."""
    captions = {captioned.sample_id: captioned.caption for captioned in run.captions.values()}
    hard = [selected for selected in run.of_role(HARD) if selected.scored.sample.id in captions][:MOTIONS_MOST]
    by_sample: dict[str, list[Motion]] = {}
    for motion in run.motions.values():
        by_sample.setdefault(motion.sample_id, []).append(motion)
    pages = (
        _motion_page(run, body, hard[at : at + MOTIONS_PAGE], captions, by_sample)
        for at in range(0, len(hard), MOTIONS_PAGE)
    )
    return {"pages": pages, "count": -(-len(hard) // MOTIONS_PAGE), "shown": len(hard), "total": len(captions)}


def _motion_page(
    run: Run,
    body: Body | None,
    hard: Sequence[Selected],
    captions: Mapping[str, str],
    motions: Mapping[str, Sequence[Motion]],
) -> list[MotionCard]:
    fitted = fitted_poses(run, body, hard)
    return [
        _motion_card(one, captions[one.scored.sample.id], motions.get(one.scored.sample.id, ()), pose)
        for one, pose in zip(hard, fitted, strict=True)
    ]


def _motion_card(selected: Selected, caption: str, motions: Sequence[Motion], fitted: FloatArray | None) -> MotionCard:
    sample = selected.scored.sample
    picture = person(sample, [], f"Photograph of {sample.id}", side=192)
    if not motions:
        return MotionCard(picture, sample.id, caption)
    motion = motions[0]
    way = np.linalg.norm(np.diff(motion.joints[:, 0, [0, 2]], axis=0), axis=-1).sum()
    more = f", 1 of {len(motions)} motions" if len(motions) > 1 else ""
    seconds = len(motion.joints) / motion.fps
    note = f"{len(motion.joints)} frames, {seconds:.1f} s, {way:.1f} m on the ground{more}"
    strip = charts.motion_strip(motion.joints, f"Eight moments of the motion made from: {caption}")
    scene = json.dumps(motion_scene(selected, fitted, motion))
    return MotionCard(picture, sample.id, caption, strip, note, scene)


def clips(run: Run, judged: Sequence[figures.Judged], beside: Beside) -> dict[str, Any]:
    """Clips in ``pages`` of cards, spread evenly over all if there are too many for that."""
    by_clip = {clip: list(frames) for clip, frames in groupby(judged, key=lambda frame: frame.clip)}
    names = spread(list(by_clip), CLIPS_MOST)
    pages = (
        _clip_page(run, {name: by_clip[name] for name in names[at : at + CLIPS_PAGE]}, beside)
        for at in range(0, len(names), CLIPS_PAGE)
    )
    shape = (run.summary("animate") or {}).get("shape", "")
    count = -(-len(names) // CLIPS_PAGE)
    return {"pages": pages, "count": count, "shown": len(names), "total": len(by_clip), "shape": shape}


def some_clips(run: Run, judged: Sequence[figures.Judged], beside: Beside, count: int) -> list[ClipCard]:
    """Cards of at most ``count`` clips, spread evenly over those of which a frame was kept."""
    kept = spread(list(dict.fromkeys(frame.clip for frame in judged if frame.keep)), count)
    return _clip_page(run, {name: [frame for frame in judged if frame.clip == name] for name in kept}, beside)


def _clip_page(run: Run, judged: Mapping[str, Sequence[figures.Judged]], beside: Beside) -> list[ClipCard]:
    """A card for each clip, with some of its kept and some of its dropped frames."""
    chosen = {
        name: [spread([f for f in frames if f.keep is keep], FRAMES_SHOWN) for keep in (True, False)]
        for name, frames in judged.items()
    }
    clips = run.clips.pick(judged)
    frames = run.frames.pick(f.unit for groups in chosen.values() for group in groups for f in group)
    hard = run.scored.pick(clip.plan.sample_id for clip in clips.values())
    cards = []
    for name, (kept, dropped) in chosen.items():
        plan = clips[name].plan
        there = [frame for frame in (frames[one.unit] for one in dropped) if _on_disk(frame)]
        passed = sum(frame.keep for frame in judged[name])
        real = _real_panel(beside, hard.get(plan.sample_id))
        cards.append(
            ClipCard(
                hard=None if plan.sample_id not in hard else _hard_card(hard[plan.sample_id], real),
                reference=_reference_card(plan.reference, beside),
                title=name,
                caption=plan.caption,
                note=f"{passed} of {len(judged[name])} frames kept; joints -> SMPL residual {plan.residual_mm:.1f} mm",
                kept=[_frame_card(frames[one.unit], beside, real) for one in kept],
                dropped=[_frame_card(frame, beside, real) for frame in there],
                unwritten=len(there) < len(dropped),
                scene=json.dumps(clip_scene(plan)),
            )
        )
    return cards


def _real_panel(beside: Beside, scored: ScoredSample | None) -> Panel | None:
    if scored is None:
        return None
    return beside.panel(scored.sample, f"Real: the photograph that is hard (error {scored.error:.0f})", seen(scored))


def _hard_card(scored: ScoredSample, panel: Panel | None) -> Card:
    sample = scored.sample
    picture = person(sample, list(seen(scored).values()), f"The hard photograph {sample.id}", side=192)
    return Card(picture, "hard photograph", f"error {scored.error:.0f}", sample.id, zoom=zoom([panel]))


def _on_disk(filtered: FilteredFrame) -> bool:
    """Dropped frames are written only where the recipe wants it."""
    image = filtered.frame.image
    return isinstance(image, bytes | Url) or image.exists()


def _reference_card(reference: Sample, beside: Beside) -> Card:
    picture = person(reference, [], f"Reference photograph {reference.id}", side=192)
    large = zoom([beside.panel(reference, f"The reference person {reference.id}")])
    return Card(picture, "reference", id=reference.id, zoom=large)


def _frame_card(filtered: FilteredFrame, beside: Beside, real: Panel | None) -> Card:
    frame, verdict = filtered.frame, filtered.verdict
    tone = "kept" if verdict.keep else "dropped"
    alt = f"Synthesised frame {filtered.index} of {filtered.clip} with its label, {tone}"
    label = Overlay(frame.joints2d, frame.joint_set, frame.confidence > 0)
    error = f", {verdict.error:.0f} mm" if np.isfinite(verdict.error) else ""
    made = beside.panel(frame, f"Synthesised: frame {filtered.index}, {tone}{error}", {"synthesised label": label})
    large = zoom([real, made]) if made is not None else ""
    return Card(person(frame, [label], alt, side=192), tone + error, verdict.reason, tone=tone, zoom=large)


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
