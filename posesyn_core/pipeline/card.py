"""The card of an exported data set: what it is, from which images, by which models, how filtered, with which faults.

Every export gets it as ``README.md``, and beside it ``sources.csv``: for every clip of which frames were kept the image
with the hard pose, the image of the person who was animated, the caption, and how many frames there are.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.pipeline.parts import Part, parts
from posesyn_core.pipeline.rejections import most_frequent
from posesyn_core.pipeline.run import HARD, Run
from posesyn_core.recipe import Choice

CARD, SOURCES = "README.md", "sources.csv"
MADE_BY = ("data set", "reference people", "estimator", "estimator of references", "captioner", "motion generator",
           "animator", "filter")  # fmt: skip
"""The parts of a run that made the frames; others train or measure with them."""
IDS_NAMED = 5


@frozen
class Source:
    """What a clip with kept frames comes from."""

    clip: str
    hard: str
    reference: str
    caption: str
    frames: int


def card(run: Run) -> dict[str, str]:
    """The texts of the card's files by their names."""
    kept = Counter(clip for (_, clip), keep in _verdicts(run) if keep)
    found = list(_sources(run, kept))
    return {CARD: _text(run, found), SOURCES: _table(found)}


def _verdicts(run: Run) -> Iterator[tuple[tuple[str, str], bool]]:
    """((frame, clip), whether it is kept) of all judged frames."""
    for pair, (_, keep) in zip(run.frames.column("clip"), run.frames.column("verdict.keep"), strict=True):
        yield pair, keep


def _sources(run: Run, kept: Counter[str]) -> Iterator[Source]:
    names = ("plan.sample_id", "plan.reference.id", "plan.caption")
    for (clip, hard), (_, reference), (_, caption) in zip(*map(run.clips.column, names), strict=True):
        if kept[clip]:
            yield Source(clip, hard, reference, caption, kept[clip])


def _table(found: Sequence[Source]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["clip", "hard_image", "reference_image", "caption", "frames"])
    writer.writerows([s.clip, s.hard, s.reference, s.caption, s.frames] for s in found)
    return text.getvalue()


def _text(run: Run, found: Sequence[Source]) -> str:
    sections = {
        f"{run.recipe.name}: people synthesised by PoseSyn": _WHAT.format(pictures=sum(s.frames for s in found)),
        "From which images": _images(run, found),
        "Made with": _models(run),
        "How it was filtered": _filtered(run),
        "Counts": _counts(run, found),
        "Known faults": _faults(run),
    }
    return "\n".join(f"{'##' if at else '#'} {title}\n\n{text}\n" for at, (title, text) in enumerate(sections.items()))


_WHAT = """\
{pictures} pictures of people with exact 3D labels: joints, SMPL parameters and camera. A photograph on which a pose
estimator fails gave the pose, a generator the motion about it, and a person whom the estimator sees well was animated
with it (PoseSyn, ICCV 2025, arXiv:2503.13025). No label was made by hand.

Pixels count from 0 at the centre of the first one. 3D joints are metres in the camera's frame (x right, y down, z
away), relative to the root; SMPL parameters are axis-angle in radians, the translation in metres."""


def _images(run: Run, found: Sequence[Source]) -> str:
    hard, references = (list(dict.fromkeys(ids)) for ids in ((s.hard for s in found), (s.reference for s in found)))
    lines = [
        f"- {len(hard)} images gave the poses: {_named(hard)}",
        f"- {len(references)} images gave the people and the backgrounds that can be seen: {_named(references)}",
        f"\n`{SOURCES}` lists both for every clip, with its caption.",
    ]
    return "\n".join(lines)


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - IDS_NAMED} more" if len(ids) > IDS_NAMED else ""
    return ", ".join(f"`{name}`" for name in ids[:IDS_NAMED]) + more


def _models(run: Run) -> str:
    rows = ["| part | component | weights | licence of the code | of the weights | of the data made with it |"]
    rows.append("|" + "---|" * 6)
    rows += [_row(run, part) for part in parts(run) if part.name in MADE_BY]
    body = run.bodies.body
    whose = "the free body (MakeHuman, CC0)" if body.shape_space == "free" else "SMPL (for research only)"
    return "\n".join([*rows, f"\nThe labels pose {whose}. What a licence says of data binds whoever uses this folder."])


def _row(run: Run, part: Part) -> str:
    licence = None if part.component is None else part.component.licence
    stated = ("not stated",) * 3 if licence is None else (licence.code, licence.weights, licence.data)
    weights = part.choice.options.get("weights") or getattr(_config(run, part), "weights", "-")
    cells = (part.name, f"`{part.choice.name}`", str(weights).replace("\\", "/").rsplit("/", 1)[-1], *stated)
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _config(run: Run, part: Part) -> Any:
    """The part's options with its defaults; None if they can't be had here any more."""
    try:
        return run.registry.check(part.kind, part.choice.name, part.choice.options, part.name)
    except UserError:  # the plugin, or what it needs, is gone: the card is made all the same
        return None


def _filtered(run: Run) -> str:
    filters = []
    for part in (part for part in parts(run) if part.kind == Kind.FILTER):
        config = _config(run, part)
        chosen = part.choice.options if config is None else attrs.asdict(config, recurse=False)
        options = ", ".join(f"{name} = {_shown(value)}" for name, value in chosen.items())
        filters.append(f"`{part.choice.name}` ({options})")
    verdicts, errors = _verdicts(run), run.frames.column("verdict.error")
    kept = np.array([error for (_, keep), (_, error) in zip(verdicts, errors, strict=True) if keep])
    told = ""
    if len(kept) and np.isfinite(kept).all():
        low, middle, high = np.percentile(kept, (5, 50, 95))
        told = f" Their errors: median {middle:.0f} mm, 5 % below {low:.0f} mm, 5 % above {high:.0f} mm."
    agrees = "a frame is kept if the estimator, looking at it afresh, agrees with its label."
    if len(filters) > 1:
        agrees = "a frame is kept if it passes each of them. The errors are those of the first."
    return f"{' and '.join(filters)}: {agrees}{told}"


def _shown(value: Any) -> str:
    """An option's value; of a component, its name and options."""
    return f"{value.name!r} {dict(value.options) or ''}".strip() if isinstance(value, Choice) else repr(value)


def _counts(run: Run, found: Sequence[Source]) -> str:
    judged = Counter(keep for _, keep in _verdicts(run))
    hard = sum(role == HARD for _, role in run.selected.column("role"))
    rows = {
        "hard images chosen": hard,
        "motions": sum(1 for _ in run.motions.column("fps")),
        "clips drawn": sum(1 for _ in run.clips.column("width")),
        "clips with kept frames": len(found),
        "frames judged": judged.total(),
        "frames kept (in this folder)": judged[True],
        "frames dropped by the filter": judged[False],
    }
    return "\n".join(["| | |", "|---|---:|", *(f"| {name} | {count} |" for name, count in rows.items())])


def _faults(run: Run) -> str:
    lines = [*_ALWAYS]
    residuals = [value for _, value in run.clips.column("plan.residual_mm")]
    if residuals:
        lines.append(f"Poses were fitted to the motions' joints with {np.mean(residuals):.0f} mm left on average.")
    for stage, table in run.tables().items():
        reasons = most_frequent(reason for _, reason in table.rejections())
        lines += [f"Rejected in the stage {stage}: {reason} ({count})" for reason, count in reasons.items()]
    return "\n".join(f"- {line}" for line in lines)


_ALWAYS = (
    "Frames of one clip show one person in one place: never share a clip between training and test.",
    "Shapes, clothes, cameras and backgrounds are those of the reference images alone.",
    "Labels are those of the body that was to be drawn. Where the drawing departs from it (hands, clothes, hidden "
    "limbs), only the filter stands between, and it can't see mistakes that its estimator shares.",
    "Frames on which that estimator is far off were dropped, and with them some whose labels were right.",
    "Joints of the face and the fingers can't be derived from SMPL's and are not labelled.",
)
"""What holds for all such data."""
