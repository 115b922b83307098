"""Stage 8: train the estimator on real and synthesised frames, and for comparison on the real ones alone."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, evolve, fields

from posesyn_core.components import Kind, TrainableEstimator, TrainingAugmenter
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.errors import NothingLeft, UserError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.entries import Usable
from posesyn_core.pipeline.real_data import Real, kept_records, real_data, told
from posesyn_core.pipeline.rejections import reasons_text
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Finetune
from posesyn_core.seeds import seed_of
from posesyn_core.training.evaluate import evaluate
from posesyn_core.training.finetune import Validation, join_processes
from posesyn_core.training.finetune import finetune as train
from posesyn_core.training.tracking import tensorboard
from posesyn_core.values import LabelledFrame, Sample

REAL_ONLY, POSESYN = "real_only", "posesyn"
AUGMENTED = "-augmented.jpg"
"""How the files end that an augmenter leaves for the report."""


def finetune(run: Run) -> dict[str, Any]:
    """Train the variants; each leaves its weights in ``finetune/<variant>/``."""
    filtered = run.require("filter")
    join_processes(run.recipe.machine.device)
    options = run.recipe.finetune
    if options.steps == 0:
        return {"variants": [], "note": "finetune.steps is 0"}
    synthesised = kept_records(run)
    if not synthesised:
        why = reasons_text(filtered.get("drop_reasons", {}))
        raise NothingLeft(
            f"the filter kept no frame to train on ({why}); raise filter.tau or mine more samples (score.hard)"
        )
    estimator = trainable(run)
    usable = Usable("finetune")
    real = real_data(run, estimator, usable)
    variants = {POSESYN: options.ratio if len(real) else 1.0}
    if options.real_only and len(real):
        variants[REAL_ONLY] = 0.0
    validation, schedules = _validation_samples(run, usable), []
    usable.record(run.folder)
    for number, (variant, ratio) in enumerate(sorted(variants.items())):
        fresh = trainable(run) if number else estimator
        schedules.append(_train(run, fresh, variant, ratio, real, synthesised, validation, usable))
    rejected = usable.record(run.folder)
    counts = {"real": len(real), "synthesised": len(synthesised), **told(real)}
    return {"variants": sorted(variants), **counts, **rejected, **schedules[0]}


def _train(
    run: Run,
    estimator: TrainableEstimator,
    variant: str,
    ratio: float,
    real: Real,
    synthesised: Sequence[LabelledFrame],
    held_out: Sequence[Sample],
    usable: Usable,
) -> dict[str, Any]:
    """One training, its metrics told to the trackers; returns the schedule it had (see :func:`schedule_of`)."""
    options, machine = run.recipe.finetune, run.recipe.machine
    folder = run.folder / "finetune" / variant
    defaults = training_defaults(estimator, from_scratch=options.from_scratch)
    schedule = schedule_of(options, defaults, len(real) + len(synthesised))

    def error() -> float:
        found = evaluate(estimator, held_out, batch_size=machine.batch_size, workers=machine.workers, label="validate")
        figures = found.summary()
        if "mpjpe" not in figures:
            reasons = {**found.rejected, **dict.fromkeys(found.ids, "its 3D joints lack their root")}
            raise UserError(f"no sample of [validation] can be measured; {': '.join(next(iter(reasons.items())))}")
        return float(figures["mpjpe"])

    augmenter = _augmenter(run)
    with tensorboard(folder) if options.tensorboard else nullcontext(lambda metrics: None) as track:

        def tell(metrics: dict[str, float]) -> None:
            track(metrics)
            run.registry.notify("training_stepped", run=run.folder, variant=variant, metrics=metrics)

        result = train(
            estimator,
            real,
            synthesised,
            folder,
            ratio=ratio,
            seed=run.recipe.seed,
            workers=machine.workers,
            processes=machine.processes,
            validation=Validation(error, options.validate_every, options.patience) if held_out else None,
            augmenter=augmenter,
            tell=tell,
            label=f"finetune {variant}",
            accumulate=options.accumulate,
            start_share=options.start_share,
            precision=options.precision,
            sharded=options.sharded,
            **schedule,
        )
    for title, picture in getattr(augmenter, "pictures", dict)().items():
        write_atomic(folder / f"{title}{AUGMENTED}", encode_jpeg(picture))
    usable.rejected |= {f"{variant}: {name}": reason for name, reason in result.unread.items()}
    notes = getattr(estimator, "training_notes", ())
    return {**schedule, "of_the_estimator": _unset(options), **({"notes": list(notes)} if notes else {})}


def _augmenter(run: Run) -> TrainingAugmenter | None:
    """A fresh one for each training."""
    choice = run.recipe.finetune.augmenter
    return None if choice is None else run.create(Kind.AUGMENTER, choice, "finetune.augmenter")


def training_defaults(estimator: TrainableEstimator, *, from_scratch: bool = False) -> TrainingDefaults:
    """Those that the estimator brings for fine-tuning or for training from scratch, else the core's."""
    usual: TrainingDefaults = getattr(estimator, "training_defaults", TrainingDefaults())
    return evolve(getattr(estimator, "scratch_defaults", usual), mode="train") if from_scratch else usual


def schedule_of(options: Finetune, defaults: TrainingDefaults, frames: int) -> dict[str, Any]:
    """The recipe's keys where they are set, else the estimator's: the fields of TrainingDefaults but for ``epochs``.

    An epoch is ``frames`` frames, real and synthesised, whatever the ratio. UserError if nothing says how long to
    train.
    """
    known = {name: getattr(options, name) for name in _names() if name != "steps"}
    chosen = evolve(defaults, **{name: value for name, value in known.items() if value is not None})
    steps = defaults.steps if options.steps == "default" else options.steps
    if steps is None and defaults.epochs is not None:
        steps = math.ceil(defaults.epochs * frames / (chosen.batch_size * options.accumulate))
    if steps is None:
        raise UserError("the estimator does not say how long to train: set finetune.steps to a number")
    return asdict(evolve(chosen, steps=steps), filter=lambda field, _: field.name != "epochs")


def _unset(options: Finetune) -> list[str]:
    """The keys that the recipe leaves to the estimator."""
    return [name for name in _names() if getattr(options, name) in (None, "default")]


def _names() -> list[str]:
    return [field.name for field in fields(TrainingDefaults) if field.name != "epochs"]


def _validation_samples(run: Run, usable: Usable) -> list[Sample]:
    """The recipe's validation data with 3D truth; empty if it names none."""
    if run.recipe.validation is None:
        return []
    reader = run.create(Kind.READER, run.recipe.validation, "validation")
    samples = list(usable.samples(run, reader, "validation"))
    usable.require(samples, "validation", run.folder)
    solid = [sample for sample in samples if sample.joints3d is not None or sample.keypoints3d is not None]
    if not solid:
        raise UserError("the data set of [validation] has no sample with 3D joints; name one that has 3D truth")
    return solid


def weights_of(run: Run, variant: str) -> Path:
    """The weight file that a variant's training left."""
    return run.folder / "finetune" / variant / "weights.safetensors"


def trainable(run: Run) -> TrainableEstimator:
    """The run's estimator, with ``from_scratch`` untrained; UserError if it is not made for that."""
    name = run.recipe.estimator.name
    estimator = run.create(Kind.ESTIMATOR, run.recipe.estimator, "estimator")
    if not isinstance(estimator, TrainableEstimator):
        raise UserError(
            f"the estimator {name!r} can't be trained here (it lacks training_inputs, training_loss, parameters or "
            "save); set finetune.steps = 0 and train it on the exported files"
        )
    if run.recipe.finetune.from_scratch:
        _reinitialise(name, estimator, run.recipe.seed)
    return estimator


def _reinitialise(name: str, estimator: TrainableEstimator, seed: int) -> None:
    """The same untrained weights for every variant, however often the run is resumed."""
    if not hasattr(estimator, "reinitialise"):
        raise UserError(
            f"the estimator {name!r} can't be trained from scratch (it lacks reinitialise): "
            "remove finetune.from_scratch"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, name, "from_scratch"))
        estimator.reinitialise()
