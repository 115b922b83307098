"""The numbers of the report, gathered from a run's tables in bounded memory (one part at a time)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from attrs import Factory, define, frozen
from numpy.typing import NDArray

from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.geometry import skeletons
from posesyn_core.method import eem
from posesyn_core.pipeline.rejections import pattern
from posesyn_core.pipeline.run import EASY, HARD, Run
from posesyn_core.pipeline.tables import REJECTED
from posesyn_core.pipeline.thresholds import Limit
from posesyn_core.values import ScoredSample

PCK_SHARES = (0.05, 0.1, 0.2)
"""A joint counts as found if it is off by less than this share of the crop's side."""
PAPER_PASS: Mapping[float, float] = {200: 72.6, 160: 64.0, 120: 45.7, 80: 28.2, 40: 6.6}
"""Percent of the frames that the paper keeps at each tau (Table 5; 3DCrowdNet, Champ)."""
REJECTIONS_LISTED = 100


@define
class JointFigures:
    """Sums of the joint errors of all samples with one joint set; crop pixels, arrays (J,)."""

    total: NDArray[np.float64]
    count: NDArray[np.int64]
    found: NDArray[np.int64]
    """(len(PCK_SHARES), J) how many were found."""

    @classmethod
    def of(cls, errors: NDArray[np.floating]) -> "JointFigures":
        """From joint errors (N, J), NaN where there is no label."""
        limits = eem.CROP * np.array(PCK_SHARES)[:, None, None]
        return cls(np.nansum(errors, 0, dtype=np.float64), np.isfinite(errors).sum(0), (errors < limits).sum(1))

    def __add__(self, other: "JointFigures") -> "JointFigures":
        return JointFigures(self.total + other.total, self.count + other.count, self.found + other.found)


@frozen
class ScoreFigures:
    """How the estimator does on the mined images: Eq. 1 of every sample, and the joint errors by joint set."""

    errors: NDArray[np.float64]
    joints: Mapping[str, JointFigures]

    @property
    def labelled(self) -> int:
        """How many labelled joints there are."""
        return int(sum(figures.count.sum() for figures in self.joints.values()))

    @property
    def mean_joint_error(self) -> float:
        """Mean over all labelled joints, crop pixels."""
        return float(sum(figures.total.sum() for figures in self.joints.values())) / self.labelled

    @property
    def pck(self) -> dict[float, float]:
        """Share of the labelled joints that are found, by the limit's share of the crop."""
        found = sum(figures.found.sum(1) for figures in self.joints.values()) / self.labelled
        return dict(zip(PCK_SHARES, np.asarray(found).tolist(), strict=True))


def score_figures(run: Run) -> ScoreFigures | None:
    """Gather the table ``score``; None if it has no scored sample with a labelled joint."""
    errors: list[NDArray[np.float64]] = []
    joints: dict[str, JointFigures] = {}
    for part in run.scored.parts():
        table = pq.ParquetFile(part).read(columns=[REJECTED, "error", "joint_errors", "compared"])
        table = table.filter(pc.is_null(table[REJECTED]))
        errors.append(table["error"].to_numpy())
        sets = table["compared"].to_pylist()
        for name in sorted(set(sets)):
            rows = table["joint_errors"].filter(np.array(sets) == name).to_pylist()
            found = JointFigures.of(_without_root(np.array(rows, np.float64), name))
            joints[name] = joints[name] + found if name in joints else found
    if not any(figures.count.any() for figures in joints.values()):
        return None
    return ScoreFigures(np.concatenate(errors), joints)


def unit_of(run: Run) -> str:
    """What the run's Eq. 1 measures in: pixels of the crop, or mm where 3D joints stood in for the labels."""
    return "mm" if run.recipe.score.labels == "estimated_3d" else "px"


def joint_names(joint_set: str) -> tuple[str, ...]:
    """The joints of a set, in words."""
    return tuple(joint.replace("_", " ") for joint in skeletons.joint_set(joint_set).joints)


def _without_root(errors: NDArray[np.float64], joint_set: str) -> NDArray[np.float64]:
    """Joint errors (N, J) with NaN for a root that is one joint: Eq. 1 puts it at 0, which says nothing of it."""
    root = skeletons.joint_set(joint_set).root
    if len(root) == 1:
        errors[:, root] = np.nan
    return errors


def mean_joint_error(scored: ScoredSample) -> float:
    """Mean over a sample's labelled joints but the root, in the unit of Eq. 1."""
    errors = scored.joint_errors[None].astype(np.float64)
    return float(np.nanmean(_without_root(errors, scored.compared)))


@frozen
class Variant:
    """One row of the before/after table; errors in mm on the held-out data."""

    name: str
    title: str
    mpjpe: float
    pa_mpjpe: float
    samples: int


VARIANT_TITLES = {
    "shipped": "As shipped",
    "real_only": "Fine-tuned on real data only",
    "posesyn": "Fine-tuned on real + synthesised data",
}


def variants(run: Run) -> list[Variant]:
    """What the stage ``evaluate`` measured, in the order of training; empty without test data."""
    measured: Mapping[str, Any] = (run.summary("evaluate") or {}).get("variants", {})
    if not all("mpjpe" in figures for figures in measured.values()):
        return []
    order = [name for name in VARIANT_TITLES if name in measured] + sorted(measured.keys() - VARIANT_TITLES.keys())
    return [
        Variant(
            name,
            VARIANT_TITLES.get(name, name),
            float(measured[name]["mpjpe"]),
            float(measured[name]["pa_mpjpe"]),
            int(measured[name]["samples"]),
        )
        for name in order
    ]


@frozen
class Judged:
    """One judged frame: its unit in the table ``filter``, and the verdict."""

    unit: str
    clip: str
    keep: bool
    error: float


def judged_frames(run: Run) -> Iterator[Judged]:
    """All frames that the filter gave a verdict on, in order."""
    for (unit, clip), (_, verdict) in zip(run.frames.column("clip"), run.frames.column("verdict"), strict=True):
        yield Judged(unit, clip, verdict["keep"], verdict["error"])


@frozen
class FilterOptions:
    """The threshold and the reduction of Eq. 6; None where the chosen filter has no such option."""

    tau: float | None
    reduction: str | None


def filter_options(run: Run) -> FilterOptions:
    """What the recipe set, else the filter's own defaults."""
    chosen = dict(run.recipe.filter.options)
    try:
        config = run.registry.find(Kind.FILTER, run.recipe.filter.name).component.config
    except UserError:  # the plugin is gone; the report is made all the same
        fields: Mapping[str, Any] = {}
    else:
        fields = attrs.fields_dict(config)
    for name in ("tau", "reduction"):
        if name in fields:
            chosen.setdefault(name, fields[name].default)
    return FilterOptions(chosen.get("tau"), chosen.get("reduction"))


def frame_errors(judged: Sequence[Judged]) -> NDArray[np.float64]:
    """Their errors (N,); one that is not finite passes no threshold."""
    return np.array([frame.error if np.isfinite(frame.error) else np.inf for frame in judged], np.float64)


@frozen
class Threshold:
    """What one tau keeps: how many frames, how many percent, and the paper's percentage where the two compare.

    ``chosen`` marks the run's own tau.
    """

    tau: float
    kept: int
    passed: float
    paper: float | None
    chosen: bool


def thresholds(
    run: Run, errors: NDArray[np.floating], taus: Sequence[float], limit: Limit | None = None
) -> list[Threshold]:
    """Table 5's column "Pass": what each tau, or value of another ``limit``, keeps of frames with ``errors`` (N,)."""
    options = filter_options(run)
    first = limit is None or limit.choice == run.recipe.filter
    published = (
        PAPER_PASS if first and options.reduction == "mean" else {}
    )  # the paper's numbers fit a mean over joints
    chosen = options.tau if limit is None else limit.value
    return [
        Threshold(tau, round(rate * len(errors) / 100), rate, published.get(tau), tau == chosen)
        for tau, rate in zip(taus, pass_rate(errors, taus).tolist(), strict=True)
    ]


def pass_rate(errors: NDArray[np.floating], taus: NDArray[np.floating] | Sequence[float]) -> NDArray[np.float64]:
    """Percent of ``errors`` (N,) that each tau (M,) keeps, itself included."""
    return 100.0 * np.searchsorted(np.sort(errors), taus, side="right") / max(len(errors), 1)


@define
class Rejections:
    """The rejected units of all stages: how many, for what, and the first of them."""

    total: int = 0
    groups: Counter[tuple[str, str]] = Factory(Counter)
    """(stage, reason without what is particular to a unit) -> how many."""
    first: list[tuple[str, str, str]] = Factory(list)
    """(stage, unit, reason)"""


def rejections(run: Run) -> Rejections:
    """Gather what the stages rejected."""
    gathered = Rejections()
    for stage, table in run.tables().items():
        for unit, reason in table.rejections():
            gathered.total += 1
            gathered.groups[stage, pattern(reason)] += 1
            if len(gathered.first) < REJECTIONS_LISTED:
                gathered.first.append((stage, unit, reason))
    return gathered


@frozen
class Step:
    """One number of the funnel, with what it counts and a remark; None = the stage has not run."""

    name: str
    count: int | None
    remark: str = ""


def funnel(run: Run, judged: Sequence[Judged]) -> list[Step]:
    """How many units each stage passed on, from the scored samples to the kept frames."""
    begun = {stage for stage, table in run.tables().items() if table.parts()}
    roles = Counter(role for _, role in run.selected.column("role"))
    clips = list(run.clips.lengths("frames"))
    kept = sum(frame.keep for frame in judged)
    share = f"{100 * kept / len(judged):.0f} % of {len(judged)} judged" if judged else ""

    def step(name: str, stage: str, count: int, remark: str = "") -> Step:
        return Step(name, count, remark) if stage in begun else Step(name, None)

    return [
        step("samples scored", "score", _count(run.scored.column("error"))),
        step("hard", "select", roles[HARD]),
        step("easy", "select", roles[EASY]),
        step("captions", "caption", _count(run.captions.column("caption"))),
        step("motions", "synthesize", _count(run.motions.column("fps"))),
        step("references", "reference", _count(run.references.column("estimate.joints2d")), "easy people to animate"),
        step("clips", "animate", len(clips)),
        step("frames drawn", "animate", sum(clips)),
        step("frames kept", "filter", kept, share),
    ]


def _count(rows: Iterator[Any]) -> int:
    return sum(1 for _ in rows)
