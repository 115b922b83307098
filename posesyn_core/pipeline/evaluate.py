"""Stage 9: measure the estimator as shipped and after each training on held-out data.

Beside the figures, ``evaluate/<variant>/`` gets for every test set the values of every sample (Parquet) and the worst
cases, as a sheet (JPEG) and as numbers (npz).
"""

import statistics
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import evolve, frozen

from posesyn_core.body.model import Body, load_body
from posesyn_core.components import Kind
from posesyn_core.drawing.sheets import worst_cases
from posesyn_core.drawing.truth import write_truth_sheet
from posesyn_core.errors import UserError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import write_atomic
from posesyn_core.files.presence import smpl_file
from posesyn_core.files.records import Records
from posesyn_core.pipeline.cases import write_cases
from posesyn_core.pipeline.entries import Usable
from posesyn_core.pipeline.finetune import POSESYN, weights_of
from posesyn_core.pipeline.run import Run
from posesyn_core.training.comparison import differences
from posesyn_core.training.evaluate import Evaluation, load_regressor
from posesyn_core.training.evaluate import evaluate as measure
from posesyn_core.values import EvaluationProtocol, Sample

SHIPPED = "shipped"
WORST = "-worst"
"""How the files of the worst cases end."""
COUNTS = ("samples", "rejected")
"""Figures that are numbers of samples."""
Figures = dict[str, float | int]


@frozen(slots=False)
class TestSet:
    """One test set: its samples with truth, kept on disk, and how its official evaluation compares."""

    label: str
    samples: Sequence[Sample]
    protocol: EvaluationProtocol

    @cached_property
    def genders(self) -> frozenset[str]:
        """Of the bodies that the truth has; none if it has no bodies."""
        return frozenset(sample.smpl.gender for sample in self.samples if sample.smpl is not None)


def evaluate(run: Run) -> dict[str, Any]:
    """Figures (errors in mm, shares in percent) of every variant on each of the recipe's ``test`` sets.

    ``sets`` has them by set and variant, ``variants`` their means over the sets by variant, ``differences`` by set and
    variant what the training on synthesised data changed sample by sample, with a bootstrap interval, and ``notes`` by
    set what makes its figures other than the published ones.
    """
    trained = run.require("finetune")["variants"]
    if not run.recipe.test:
        return {"variants": {}, "sets": {}, "note": "the recipe names no test data"}
    variants = (*([SHIPPED] if run.recipe.evaluate.shipped else []), *trained)
    if not variants:
        return {"variants": {}, "sets": {}, "note": "nothing is trained, and evaluate.shipped is false"}
    usable = Usable("evaluate")
    sets = test_sets(run, usable)
    for test_set in sets:
        write_truth_sheet(test_set.samples, run.folder / "evaluate", test_set.label)
    measured = {variant: _measure_variant(run, variant, sets) for variant in variants}
    for by_label in measured.values():
        unread = {f"{label}: {name}": why for label, found in by_label.items() for name, why in found.rejected.items()}
        usable.rejected |= unread
    rejected = usable.record(run.folder)
    by_set = {at.label: {v: measured[v][at.label].summary() for v in variants} for at in sets}
    means = {variant: mean_over_sets([by_variant[variant] for by_variant in by_set.values()]) for variant in variants}
    changes = {
        at.label: {
            v: [attrs.asdict(d) for d in differences(measured[v][at.label], measured[POSESYN][at.label])]
            for v in variants
            if POSESYN in variants and v != POSESYN
        }
        for at in sets
    }
    return {
        "samples": sum(len(at.samples) for at in sets),
        "variants": means,
        "sets": by_set,
        "differences": changes,
        "notes": {at.label: found for at in sets if (found := _notes(run, at))},
        **rejected,
    }


def _notes(run: Run, test_set: TestSet) -> list[str]:
    """What of a set's figures is another protocol than the official one, or flatters the estimator."""
    found = []
    if test_set.protocol.regressed and test_set.genders and not run.recipe.h36m_regressor:
        found.append(
            "SMPL's own joints are compared, not those that Human3.6M's regressor takes from the mesh: another "
            "protocol; set h36m_regressor"
        )
    estimator = run.create(Kind.ESTIMATOR, run.recipe.estimator, "estimator")
    told = sum(estimator.given_labels(s) for s in test_set.samples) if hasattr(estimator, "given_labels") else 0
    if told:
        found.append(
            f"the estimator's input was the true 2D joints (of {told} of {len(test_set.samples)} samples), which "
            "flatters it; name a 2D estimator with estimator.keypoints"
        )
    return found


def test_sets(run: Run, usable: Usable | None = None) -> list[TestSet]:
    """The recipe's test sets. UserError if two have the same label, or one has no sample with truth.

    What is not ``usable`` is noted there.
    """
    usable = usable or Usable("evaluate")
    sets: list[TestSet] = []
    for at, choice in enumerate(run.recipe.test):
        if choice.label in (known.label for known in sets):
            raise UserError(f"two test sets are called {choice.label!r}; give one of them another 'label'")
        reader = run.create(Kind.READER, choice, f"test.{at}")
        samples, entries = Records(Sample, run.folder / "evaluate"), list[str]()
        for sample in usable.samples(run, reader, choice.label):
            entries = [sample.id]
            if _has_truth(sample):
                samples.append(sample)
        usable.require(entries, choice.label, run.folder)
        if not len(samples):
            raise UserError(f"the test set {choice.label!r} has no sample with 3D joints or a head size to measure by")
        sets.append(TestSet(choice.label, samples, getattr(reader, "protocol", EvaluationProtocol())))
    return sets


def _has_truth(sample: Sample) -> bool:
    return sample.joints3d is not None or sample.keypoints3d is not None or sample.head_size is not None


def _measure_variant(run: Run, variant: str, sets: Sequence[TestSet]) -> dict[str, Evaluation]:
    weights = {} if variant == SHIPPED else {"weights": str(weights_of(run, variant))}
    found = measure_weights(run, weights, sets, f"evaluate {variant}")
    for at in sets:
        _write(run.folder / "evaluate" / variant, at, found[at.label])
    return found


def measure_weights(run: Run, options: Mapping[str, Any], sets: Sequence[TestSet], label: str) -> dict[str, Evaluation]:
    """Evaluate the recipe's estimator with further ``options`` on each set, by label."""
    machine = run.recipe.machine
    choice = evolve(run.recipe.estimator, options={**run.recipe.estimator.options, **options})
    estimator = run.create(Kind.ESTIMATOR, choice, "estimator")
    network = run.network(choice, estimator, "estimator")
    body = _body(run, sets)
    truth_bodies = _truth_bodies(run, sets)
    path = run.recipe.h36m_regressor
    regressor = load_regressor(Path(path).expanduser(), body) if path and body is not None else None
    return {
        at.label: measure(
            estimator,
            at.samples,
            batch_size=machine.batch_size,
            workers=machine.workers,
            network=network,
            body=body,
            truth_bodies=truth_bodies,
            regressor=regressor,
            protocol=at.protocol,
            label=label,
        )
        for at in sets
    }


def _body(run: Run, sets: Sequence[TestSet]) -> Body | None:
    """The body that the truth's parameters belong to, if any set has such."""
    return run.bodies.body if any(at.genders for at in sets) else None


def _truth_bodies(run: Run, sets: Sequence[TestSet]) -> dict[str, Body]:
    """The bodies of the truth that is given in a gender's own shape space, from beside the recipe's SMPL file."""
    genders = {gender for at in sets for gender in at.genders} - {"neutral"}
    if run.recipe.body_file is None:
        return {}
    files = {gender: smpl_file(run.recipe.body_file.parent, gender) for gender in sorted(genders)}
    missing = [f"SMPL_{gender.upper()}.pkl" for gender, path in files.items() if path is None]
    if missing:
        raise UserError(
            f"the truth is in SMPL's own shape spaces of women and men: put {' and '.join(missing)} beside "
            f"{str(run.recipe.body_file)!r}"
        )
    return {gender: load_body(path, gender=gender) for gender, path in files.items()}


def _write(folder: Path, test_set: TestSet, found: Evaluation) -> None:
    found.write(folder / f"{test_set.label}.parquet")
    if not found.worst:
        return
    errors, samples, estimates = zip(*found.worst, strict=True)
    write_cases(folder / f"{test_set.label}{WORST}.npz", samples, estimates, np.array(errors))
    sheet = worst_cases(samples, estimates)
    if sheet is not None:
        write_atomic(folder / f"{test_set.label}{WORST}.jpg", encode_jpeg(sheet))


def mean_over_sets(figures: Sequence[Figures]) -> Figures:
    """Counts summed, errors averaged, each metric over the sets that have it: all of these weigh the same."""
    names = dict.fromkeys(name for one in figures for name in one)
    found = {name: [one[name] for one in figures if name in one] for name in names}
    return {
        name: int(sum(values)) if name in COUNTS else round(statistics.mean(values), 3)
        for name, values in found.items()
    }
