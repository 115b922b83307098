"""Stage 8: train the estimator on real and synthesised frames, and for comparison on the real ones alone."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from posesyn_core.components import Kind, TrainableEstimator
from posesyn_core.errors import UserError
from posesyn_core.pipeline.export import kept_frames
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Choice
from posesyn_core.training.evaluate import evaluate
from posesyn_core.training.finetune import Validation
from posesyn_core.training.finetune import finetune as train
from posesyn_core.training.loader import labelled_frame
from posesyn_core.training.tracking import tensorboard
from posesyn_core.values import LabelledFrame, Sample

REAL_ONLY, POSESYN = "real_only", "posesyn"


def finetune(run: Run) -> dict[str, Any]:
    """Train the variants; each leaves its weights in ``finetune/<variant>/``."""
    run.require("filter")
    options = run.recipe.finetune
    if options.steps == 0:
        return {"variants": [], "note": "finetune.steps is 0"}
    real, synthesised = real_frames(run), list(kept_frames(run))
    if not synthesised:
        raise UserError("the filter kept no frame to train on; raise filter.tau or mine more samples (score.hard)")
    variants = {POSESYN: options.ratio if real else 1.0}
    if options.real_only and real:
        variants[REAL_ONLY] = 0.0
    validation = _validation_samples(run)
    for variant, ratio in sorted(variants.items()):
        _train(run, variant, ratio, real, synthesised, validation)
    return {"variants": sorted(variants), "real": len(real), "synthesised": len(synthesised), "steps": options.steps}


def _train(
    run: Run,
    variant: str,
    ratio: float,
    real: Sequence[LabelledFrame],
    synthesised: Sequence[LabelledFrame],
    held_out: Sequence[Sample],
) -> None:
    """One training, its metrics told to the trackers."""
    options, machine = run.recipe.finetune, run.recipe.machine
    estimator, folder = _trainable(run), run.folder / "finetune" / variant

    def error() -> float:
        found = evaluate(estimator, held_out, batch_size=machine.batch_size, workers=machine.workers, label="validate")
        return float(found.summary()["mpjpe"])

    with tensorboard(folder) if options.tensorboard else nullcontext(lambda metrics: None) as track:

        def tell(metrics: dict[str, float]) -> None:
            track(metrics)
            run.registry.manager.hook.training_stepped(run=run.folder, variant=variant, metrics=metrics)

        train(
            estimator,
            real,
            synthesised,
            folder,
            steps=options.steps,
            batch_size=options.batch_size,
            ratio=ratio,
            learning_rate=options.learning_rate,
            seed=run.recipe.seed,
            workers=machine.workers,
            validation=Validation(error, options.validate_every, options.patience) if held_out else None,
            tell=tell,
            label=f"finetune {variant}",
            accumulate=options.accumulate,
            precision=options.precision,
            decay=options.decay,
            weight_decay=options.weight_decay,
        )


def _validation_samples(run: Run) -> list[Sample]:
    """The recipe's validation data with 3D truth; empty if it names none."""
    if run.recipe.validation is None:
        return []
    reader = run.create(Kind.READER, run.recipe.validation, "validation")
    samples = [entry for entry in reader.samples() if isinstance(entry, Sample) and entry.joints3d is not None]
    if not samples:
        raise UserError("the data set of [validation] has no sample with joints3d; name one that has 3D truth")
    return samples


def real_frames(run: Run) -> list[LabelledFrame]:
    """The real training data of the recipe, as labelled frames."""
    readers = [run.create(Kind.READER, choice, f"real.{at}") for at, choice in enumerate(run.recipe.real)]
    return [labelled_frame(entry) for reader in readers for entry in reader.samples() if isinstance(entry, Sample)]


def weights_of(run: Run, variant: str) -> Path:
    """The weight file that a variant's training left."""
    return run.folder / "finetune" / variant / "weights.safetensors"


def _trainable(run: Run) -> TrainableEstimator:
    choice = run.recipe.estimator
    if run.recipe.finetune.from_scratch:
        choice = Choice(choice.name, {**choice.options, "weights": "random"})
    estimator = run.create(Kind.ESTIMATOR, choice, "estimator")
    if not isinstance(estimator, TrainableEstimator):
        raise UserError(
            f"the estimator {choice.name!r} can't be trained here (it lacks training_inputs, training_loss, parameters "
            "or save); set finetune.steps = 0 and train it on the exported files"
        )
    return estimator
