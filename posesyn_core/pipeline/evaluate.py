"""Stage 9: measure the estimator as shipped and after each training on held-out data with 3D truth."""

from typing import Any

from attrs import evolve

from posesyn_core.components import Kind
from posesyn_core.pipeline.finetune import weights_of
from posesyn_core.pipeline.run import Run
from posesyn_core.training.evaluate import evaluate as measure
from posesyn_core.values import Sample

SHIPPED = "shipped"


def evaluate(run: Run) -> dict[str, Any]:
    """MPJPE and PA-MPJPE in mm of every variant on the recipe's ``test`` data; per-sample values beside them."""
    trained = run.require("finetune")["variants"]
    if run.recipe.test is None:
        return {"variants": {}, "note": "the recipe names no test data"}
    reader = run.create(Kind.READER, run.recipe.test, "test")
    samples = [entry for entry in reader.samples() if isinstance(entry, Sample) and entry.joints3d is not None]
    figures = {}
    for variant in (SHIPPED, *trained):
        choice = run.recipe.estimator
        if variant != SHIPPED:
            choice = evolve(choice, options={**choice.options, "weights": str(weights_of(run, variant))})
        estimator = run.create(Kind.ESTIMATOR, choice, "estimator")
        machine = run.recipe.machine
        result = measure(
            estimator,
            samples,
            batch_size=machine.batch_size,
            workers=machine.workers,
            network=run.network(choice, estimator, "estimator"),
            label=f"evaluate {variant}",
        )
        result.write(run.folder / "evaluate" / f"{variant}.parquet")
        figures[variant] = result.summary()
    return {"samples": len(samples), "variants": figures}
