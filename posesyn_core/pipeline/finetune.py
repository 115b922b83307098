"""Stage 8: train the estimator on real and synthesised frames, and for comparison on the real ones alone."""

from pathlib import Path
from typing import Any

from posesyn_core.components import Kind, TrainableEstimator
from posesyn_core.errors import UserError
from posesyn_core.pipeline.export import kept_frames
from posesyn_core.pipeline.run import Run
from posesyn_core.recipe import Choice
from posesyn_core.training.finetune import finetune as train
from posesyn_core.training.loader import labelled_frame
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
    for variant, ratio in sorted(variants.items()):
        train(
            _trainable(run),
            real,
            synthesised,
            run.folder / "finetune" / variant,
            steps=options.steps,
            batch_size=options.batch_size,
            ratio=ratio,
            learning_rate=options.learning_rate,
            seed=run.recipe.seed,
            workers=run.recipe.machine.workers,
            label=f"finetune {variant}",
        )
    return {"variants": sorted(variants), "real": len(real), "synthesised": len(synthesised), "steps": options.steps}


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
