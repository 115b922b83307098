"""Claim: the whole loop improves the estimator on poses it has never seen, more than real data alone does.

The rendered people take their poses from real motion capture (the npz format of `data/motions`):

- the estimator, `starter` as it is shipped, was pre-trained on people posed from `lab` clips only;
- it is mined on people posed from one half of the `wild` clips, with 2D labels only;
- the shipped motion generator has seen neither that half (`posesyn_starter.splits.mining_clip`) nor the test clips;
- it is tested on people posed from other `wild` clips: `val.npz`, or any file in the same format (--test-motions).

For each seed three estimators are measured: (a) as shipped, (b) fine-tuned on real data of the kind that it was
pre-trained on (people in ordinary poses with 3D labels, in the laboratory and in the wild; in the paper too the
synthesised data joins the original pre-training data), (c) fine-tuned for as many steps on that and the synthesised
data. Every seed draws new people, places, cameras, motions and batches. Prints all figures, mean and spread.

    python bench/closed_loop.py [--motions train.npz] [--test-motions val.npz] [--seeds 0 1 2] [--keep FOLDER]
        [--oracle]

``--shipped`` measures the estimator as shipped alone, on the same people, within a minute or two a seed. ``--oracle``
adds a fourth, the ceiling of what synthesised frames can teach: (d) fine-tuned for as many steps on the real data and
the mined people themselves, with their true 3D labels.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve

from posesyn_core.cli.figures import VARIANT_TITLES
from posesyn_core.components import Kind
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.pipeline.finetune import schedule_of, trainable, training_defaults
from posesyn_core.pipeline.real_data import real_data
from posesyn_core.pipeline.run import HARD, Run, create_run
from posesyn_core.recipe import Choice, Recipe, parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_all
from posesyn_core.training.evaluate import evaluate
from posesyn_core.training.finetune import finetune
from posesyn_core.values import Sample
from posesyn_starter.splits import mining_clips

SHARED = Path(os.environ.get("POSESYN_SHARED", Path(__file__).parents[2] / "shared"))
RECIPE = Path(__file__).with_name("closed_loop.toml")
ORACLE = "oracle"
TITLES = {**VARIANT_TITLES, ORACLE: "(d) the mined people's true labels"}


def run_seed(seed: int, options: argparse.Namespace, folder: Path, registry: Registry) -> dict[str, Any]:
    """One whole run; returns the figures of the evaluation and of the filter."""
    text = recipe_text(seed, options, folder)
    run = create_run(folder / f"seed-{seed}", parse_recipe(text, options.set), registry)
    run_all(run, lambda stage, figures: print(f"  seed {seed}: {stage:<10} {json.dumps(figures)}", flush=True))
    evaluated, filtered = run.require("evaluate")["variants"], run.require("filter")
    if options.oracle:
        evaluated = {**evaluated, ORACLE: run_oracle(run, folder / f"oracle-{seed}")}
    return {**evaluated, "kept": filtered["kept"], "frames": filtered["frames"]}


def run_oracle(run: Run, folder: Path) -> dict[str, float]:
    """The errors in mm after a training like the run's own, but on the mined people's true labels."""
    mined = {selected.scored.sample.id for selected in run.stream_of_role(HARD)}
    dataset = run.recipe.dataset
    people = people_of(evolve(dataset, options={**dataset.options, "labels": "3d"}), run.registry)
    true = [labelled_frame(sample) for sample in people if sample.id in mined]
    estimator, options = trainable(run), run.recipe.finetune
    real = real_data(run, estimator)
    trained = finetune(
        estimator,
        real,
        true,
        folder,
        ratio=options.ratio,
        seed=run.recipe.seed,
        workers=run.recipe.machine.workers,
        label="finetune oracle",
        start_share=options.start_share,
        **schedule_of(options, training_defaults(estimator), len(real) + len(true)),
    )
    return errors(run.recipe, run.registry, weights=str(trained.weights))


def errors(recipe: Recipe, registry: Registry, **options: str) -> dict[str, float]:
    """Those in mm of the recipe's estimator, or of that with other ``options``, on the people it is tested on."""
    (test,) = recipe.test
    chosen = {**recipe.estimator.options, **options}
    estimator = registry.create(Kind.ESTIMATOR, recipe.estimator.name, chosen, "estimator")
    return evaluate(estimator, people_of(test, registry), batch_size=16, workers=1).summary()


def people_of(choice: Choice, registry: Registry) -> list[Sample]:
    people = registry.create(Kind.READER, choice.name, choice.options, "people").samples()
    return [sample for sample in people if isinstance(sample, Sample)]


def recipe_text(seed: int, options: argparse.Namespace, folder: Path) -> str:
    clips = folder / "mining_clips.txt"
    clips.write_text("\n".join(mining_clips(options.motions)) + "\n")
    return RECIPE.read_text().format(seed=seed, motions=options.motions, test_motions=options.test_motions, clips=clips)


def print_table(results: dict[int, dict[str, Any]]) -> None:
    for metric in ("mpjpe", "pa_mpjpe"):
        columns = [*(f"seed {seed}" for seed in results), "mean", "spread"]
        print(f"\n{metric.upper().replace('_', '-') + ' in mm, test clips':<41}" + "".join(f"{c:>10}" for c in columns))
        known = {name: title for name, title in TITLES.items() if name in next(iter(results.values()))}
        for variant, title in known.items():
            values = [result[variant][metric] for result in results.values()]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"{title:<41}" + "".join(f"{v:10.1f}" for v in [*values, statistics.mean(values), spread]))
        for baseline in (name for name in known if name != "posesyn"):
            ratios = [r["posesyn"][metric] / r[baseline][metric] for r in results.values()]
            ratios.append(statistics.mean(ratios))
            print(f"(c) / {known[baseline]:<35}" + "".join(f"{ratio:10.3f}" for ratio in ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motions", type=Path, default=SHARED / "data/motions/train.npz")
    parser.add_argument("--test-motions", type=Path, default=SHARED / "data/motions/val.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, help="keep the runs (and resume them) in this folder")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a recipe key")
    parser.add_argument("--shipped", action="store_true", help="measure the estimator as shipped, and no more")
    parser.add_argument("--oracle", action="store_true", help="train on the mined people's true labels, too")
    options = parser.parse_args()
    registry = Registry.discover()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.shipped:
            for seed in options.seeds:
                figures = errors(parse_recipe(recipe_text(seed, options, folder), options.set), registry)
                print(
                    f"seed {seed}: MPJPE {figures['mpjpe']:.1f} mm, PA-MPJPE {figures['pa_mpjpe']:.1f} mm", flush=True
                )
            return
        results = {seed: run_seed(seed, options, folder, registry) for seed in options.seeds}
    print_table(results)


if __name__ == "__main__":
    main()
