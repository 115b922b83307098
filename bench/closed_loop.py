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

``--shipped`` measures the estimator as shipped alone, on the same people, within a minute or two a seed.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from posesyn_core.cli.figures import VARIANT_TITLES
from posesyn_core.components import Kind
from posesyn_core.pipeline.run import create_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.runs.stages import run_all
from posesyn_core.training.evaluate import evaluate
from posesyn_core.values import Sample
from posesyn_starter.splits import mining_clips

SHARED = Path(os.environ.get("POSESYN_SHARED", Path(__file__).parents[2] / "shared"))
RECIPE = Path(__file__).with_name("closed_loop.toml")


def run_seed(seed: int, options: argparse.Namespace, folder: Path, registry: Registry) -> dict[str, Any]:
    """One whole run; returns the figures of the evaluation and of the filter."""
    text = recipe_text(seed, options, folder)
    run = create_run(folder / f"seed-{seed}", parse_recipe(text, options.set), registry)
    run_all(run, lambda stage, figures: print(f"  seed {seed}: {stage:<10} {json.dumps(figures)}", flush=True))
    evaluated, filtered = run.require("evaluate")["variants"], run.require("filter")
    return {**evaluated, "kept": filtered["kept"], "frames": filtered["frames"]}


def run_shipped(seed: int, options: argparse.Namespace, folder: Path, registry: Registry) -> dict[str, float]:
    """The errors in mm of the estimator as shipped on a seed's test people."""
    recipe = parse_recipe(recipe_text(seed, options, folder), options.set)
    (test,) = recipe.test
    people = registry.create(Kind.READER, test.name, test.options, "test").samples()
    estimator = registry.create(Kind.ESTIMATOR, recipe.estimator.name, recipe.estimator.options, "estimator")
    samples = [sample for sample in people if isinstance(sample, Sample)]
    return evaluate(estimator, samples, batch_size=16, workers=1).summary()


def recipe_text(seed: int, options: argparse.Namespace, folder: Path) -> str:
    clips = folder / "mining_clips.txt"
    clips.write_text("\n".join(mining_clips(options.motions)) + "\n")
    return RECIPE.read_text().format(seed=seed, motions=options.motions, test_motions=options.test_motions, clips=clips)


def print_table(results: dict[int, dict[str, Any]]) -> None:
    for metric in ("mpjpe", "pa_mpjpe"):
        columns = [*(f"seed {seed}" for seed in results), "mean", "spread"]
        print(f"\n{metric.upper().replace('_', '-') + ' in mm, test clips':<36}" + "".join(f"{c:>10}" for c in columns))
        for variant, title in VARIANT_TITLES.items():
            values = [result[variant][metric] for result in results.values()]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"{title:<36}" + "".join(f"{v:10.1f}" for v in [*values, statistics.mean(values), spread]))
        for baseline in ("shipped", "real_only"):
            ratios = [r["posesyn"][metric] / r[baseline][metric] for r in results.values()]
            ratios.append(statistics.mean(ratios))
            print(f"(c) / {VARIANT_TITLES[baseline]:<30}" + "".join(f"{ratio:10.3f}" for ratio in ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motions", type=Path, default=SHARED / "data/motions/train.npz")
    parser.add_argument("--test-motions", type=Path, default=SHARED / "data/motions/val.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, help="keep the runs (and resume them) in this folder")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a recipe key")
    parser.add_argument("--shipped", action="store_true", help="measure the estimator as shipped, and no more")
    options = parser.parse_args()
    registry = Registry.discover()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.shipped:
            for seed in options.seeds:
                figures = run_shipped(seed, options, folder, registry)
                print(
                    f"seed {seed}: MPJPE {figures['mpjpe']:.1f} mm, PA-MPJPE {figures['pa_mpjpe']:.1f} mm", flush=True
                )
            return
        results = {seed: run_seed(seed, options, folder, registry) for seed in options.seeds}
    print_table(results)


if __name__ == "__main__":
    main()
