"""``report.html``: one self-contained page about a run, finished or not.

Everything on the page follows from the run directory alone (no dates, no paths of the machine beyond the recipe's), so
the same run gives the same bytes. Long tables are shown in part, and the page says so: it stays below about 8 MB.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import tomli_w
from attrs import frozen
from markupsafe import Markup, escape

from posesyn_core.components import Kind
from posesyn_core.drawing.sheets import COLUMNS, LABELLED, PREDICTED, ROWS, Overlay, spread
from posesyn_core.drawing.skeletons import LEFT, MIDDLE, RIGHT, Colour
from posesyn_core.drawing.truth import BOX, TRUTH, TRUTH_SHEET, truth_sheet
from posesyn_core.errors import UserError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import write_atomic
from posesyn_core.geometry.joints import known_joints
from posesyn_core.method import eem
from posesyn_core.pipeline.run import EASY, HARD, FilteredFrame, Run, Selected
from posesyn_core.recipe import Choice, unstructure
from posesyn_core.report import charts, figures
from posesyn_core.report.pictures import Picture, data_uri, person
from posesyn_core.values import Motion, Sample, ScoredSample

HARD_SHOWN, EASY_SHOWN, MOTIONS_SHOWN, CLIPS_SHOWN, FRAMES_SHOWN = 24, 12, 24, 12, 3


@frozen
class Card:
    """A picture with what there is to say about it, in bold, plainly, and as an id; ``tone`` is a style class."""

    picture: Picture
    head: str
    note: str = ""
    id: str = ""
    tone: str = ""


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
    rejected: Sequence[Card]


def write_report(run: Run) -> Path:
    """Write ``report.html`` atomically and return its path; stages that have not run say so in their section."""
    judged = list(figures.judged_frames(run))
    page = template("report.html").render(
        name=run.recipe.name,
        seed=run.recipe.seed,
        parts=list(_components(run)),
        funnel=figures.funnel(run, judged),
        rejections=figures.rejections(run),
        weakness=_weakness(run),
        comparison=_comparison(run),
        mining=_mining(run),
        motions=_motions(run),
        clips=_clips(run, judged),
        passing=_passing(run, judged),
        data=_data(run),
        crop=eem.CROP,
        unit=unit_of(run),
        recipe=tomli_w.dumps(unstructure(run.recipe)),
        missing={stage: not table.parts() for stage, table in run.tables().items()},
        colours=colours(),
    )
    target = run.folder / "report.html"
    write_atomic(target, page)
    return target


@cache
def template(name: str) -> jinja2.Template:
    """A page of this folder, strict about what it is given."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    environment.filters["breakable"] = lambda name: escape(name).replace("/", Markup("/<wbr>"))
    return environment.get_template(name)


def unit_of(run: Run) -> str:
    """What the run's Eq. 1 measures in: pixels of the crop, or mm where 3D joints stood in for the labels."""
    return "mm" if run.recipe.score.labels == "estimated_3d" else "px"


def colours() -> dict[str, list[str]]:
    """The colours of skeletons, as the style sheet wants them."""
    return {
        "labelled": _css(LABELLED),
        "predicted": _css(PREDICTED),
        "truth": _css(TRUTH),
        "box": _css([BOX]),
        "sides": _css((LEFT, RIGHT, MIDDLE)),
    }


def _css(shades: Sequence[Colour]) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in shades]


def _components(run: Run) -> Iterator[tuple[str, str, str]]:
    """(part, component, its summary) of everything that the recipe chose."""
    recipe = run.recipe
    chosen: list[tuple[str, Kind, Choice | None]] = [
        ("data set", Kind.READER, recipe.dataset),
        ("estimator", Kind.ESTIMATOR, recipe.estimator),
        ("estimator in EEM", Kind.ESTIMATOR, recipe.eem),
        ("captioner", Kind.CAPTIONER, recipe.captioner),
        ("motion generator", Kind.MOTION, recipe.motion),
        ("estimator of references", Kind.ESTIMATOR, recipe.reference),
        ("animator", Kind.ANIMATOR, recipe.animator),
        ("filter", Kind.FILTER, recipe.filter),
        *(("real training data", Kind.READER, choice) for choice in recipe.real),
        *(("test data", Kind.READER, choice) for choice in recipe.test),
    ]
    for part, kind, choice in chosen:
        if choice is None:
            continue
        try:
            summary = run.registry.find(kind, choice.name).component.summary
        except UserError:  # a plugin that is no longer installed
            summary = "not installed here"
        engine = "" if choice.engine.name == "torch" else f" on {choice.engine.name}"
        yield part, choice.name + engine, summary


def _weakness(run: Run) -> dict[str, Any] | None:
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


def _comparison(run: Run) -> dict[str, Any] | None:
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
        "worst": _worst(run),
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
    found = sorted((run.folder / "evaluate" / variant).glob("*-worst.jpg"))
    return [
        Picture(f"Worst cases of {path.name.removesuffix('-worst.jpg')}", uri=data_uri(path.read_bytes()))
        for path in found
    ]


_SHORT = {"shipped": "shipped", "real_only": "real only", "posesyn": "PoseSyn"}


def _difference(after: figures.Variant, before: figures.Variant) -> str:
    """One sentence that says what came out, better or worse."""
    change = after.mpjpe - before.mpjpe
    direction = "lower (better)" if change < 0 else "higher (worse)" if change > 0 else "different"
    return (
        f"{after.title}: MPJPE is {abs(change):.1f} mm ({100 * abs(change) / before.mpjpe:.1f} %) {direction} "
        f"than {before.title[0].lower() + before.title[1:]}."
    )


def _mining(run: Run) -> dict[str, Any]:
    """The hardest and the easiest samples (the paper's Fig. 3)."""
    hard, easy = run.of_role(HARD), run.of_role(EASY)
    return {
        "hard": [_mined_card(run, s) for s in hard[:HARD_SHOWN]],
        "easy": [_mined_card(run, s) for s in easy[:EASY_SHOWN]],
        "hard_total": len(hard),
        "easy_total": len(easy),
        "random": run.recipe.score.method == "random",
    }


def _mined_card(run: Run, selected: Selected) -> Card:
    scored = selected.scored
    sample, estimate = scored.sample, scored.estimate
    overlays = [
        Overlay(sample.keypoints2d, sample.joint_set, sample.confidence > 0, LABELLED),
        Overlay(estimate.joints2d, estimate.joint_set, known_joints(estimate, 2), PREDICTED),
    ]
    alt = f"{sample.id} with the labelled and the predicted skeleton"
    note = f"{figures.mean_joint_error(scored):.1f} {unit_of(run)} a joint"
    return Card(person(sample, overlays, alt), f"error {scored.error:.1f}", note, sample.id)


def _motions(run: Run) -> dict[str, Any]:
    """Caption and motion of the hardest samples, the first motion of each."""
    hard = [selected.scored for selected in run.of_role(HARD)]
    captions = {captioned.sample_id: captioned.caption for captioned in run.captions.values()}
    shown = [scored for scored in hard if scored.sample.id in captions][:MOTIONS_SHOWN]
    motions: dict[str, list[Motion]] = {}
    for motion in run.motions.values():
        motions.setdefault(motion.sample_id, []).append(motion)
    cards = [_motion_card(s, captions[s.sample.id], motions.get(s.sample.id, [])) for s in shown]
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


def _clips(run: Run, judged: Sequence[figures.Judged]) -> dict[str, Any]:
    """Clips spread evenly over all, each with some kept and some rejected frames."""
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
        kept, rejected = ([frames[frame.unit] for frame in group] for group in chosen[name])
        there = [frame for frame in rejected if _on_disk(frame)]
        left_out = left_out or len(there) < len(rejected)
        passed = sum(frame.keep for frame in by_clip[name])
        note = f"{passed} of {len(by_clip[name])} frames kept; joints -> SMPL residual {plan.residual_mm:.1f} mm"
        shown = ([_frame_card(frame) for frame in group] for group in (kept, there))
        cards.append(ClipCard(_reference_card(plan.reference), name, plan.caption, note, *shown))
    return {"cards": cards, "total": len(by_clip), "left_out": left_out}


def _on_disk(filtered: FilteredFrame) -> bool:
    """Dropped frames are written only where the recipe wants it."""
    image = filtered.frame.image
    return isinstance(image, bytes) or image.exists()


def _data(run: Run) -> list[Picture]:
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


def _reference_card(reference: Sample) -> Card:
    return Card(person(reference, [], f"Reference photograph {reference.id}", side=192), "reference", id=reference.id)


def _frame_card(filtered: FilteredFrame) -> Card:
    frame, verdict = filtered.frame, filtered.verdict
    tone = "kept" if verdict.keep else "rejected"
    alt = f"Synthesised frame {filtered.index} of {filtered.clip} with its label, {tone}"
    picture = person(frame, [Overlay(frame.joints2d, frame.joint_set, frame.confidence > 0)], alt, side=192)
    error = f", {verdict.error:.0f} mm" if np.isfinite(verdict.error) else ""
    return Card(picture, tone + error, verdict.reason, tone=tone)


def _passing(run: Run, judged: Sequence[figures.Judged]) -> dict[str, Any] | None:
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
