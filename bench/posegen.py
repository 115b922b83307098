"""Claim: PoseGen finds poses that the estimator gets more wrong with its feedback than without, and both are plausible.

For each seed a generator is trained on the poses of the rendered world's laboratory against the starter estimator,
which looks at re-projected people. Five epochs before the end it goes on twice, with the same draws: with feedback and
without. Its weight is 2: with the published 0.1 so few steps change nothing that could be measured.
Then both draw poses of the same people with the same noise. Measured are the estimator's error (mm, over the feedback's
14 joints), the discriminators' scores (each generator's by its own discriminator and by the other's; 1 = real, and what
real poses get), and the share of joint angles that are further than 15 degrees beyond the 99.5 % of real ones.

    python bench/posegen.py --folder FOLDER [--seeds 0 1 2] [--epochs 125] [--poses 100] [--rule constant --rate 5e-4]

About two minutes of one core a seed; a seed that is done is not done again. Prints a table and writes
``posegen.html``, the errors' distributions as a plot.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posesyn_core.components import Kind
from posesyn_core.files.paths import write_atomic
from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from posesyn_core.progress import progress
from posesyn_core.registry import Registry
from posesyn_core.report import charts
from posesyn_core.seeds import rng
from posesyn_posegen.model import compared, draw_noise, posed
from posesyn_posegen.training import Training
from posesyn_posegen.views import Views

FEEDBACKS = ("none", "maximise")
LAST = 5
"""Epochs with feedback."""
BEYOND = np.radians(15)
OPTIONS = {
    "weights": "train", "estimator": "starter", "animator": "reprojection",
    "real": {"name": "world", "part": "lab", "split": "real", "count": 800, "labels": "3d"},
    "channels": 128, "middle": 128, "feedback_every": 2, "feedback_poses": 10,
}  # fmt: skip


def training_of(registry: Registry, seed: int, feedback: str, options: argparse.Namespace) -> Training:
    settings = {
        "feedback": feedback, "seed": seed, "epochs": options.epochs, "feedback_from": options.epochs - LAST + 1,
        "feedback_weight": options.weight, "rate_rule": options.rule, "learning_rate": options.rate,
    }  # fmt: skip
    made: Any = registry.create(Kind.MOTION, "posegen", {**OPTIONS, **settings}, "bench")
    return Training.of(made.config, made.body)


def train_both(seed: int, options: argparse.Namespace, registry: Registry) -> dict[str, Training]:
    """A generator without feedback and one with it, which share the epochs before the feedback sets in."""
    trainings = {feedback: training_of(registry, seed, feedback, options) for feedback in FEEDBACKS}
    plain, fed = (trainings[feedback] for feedback in FEEDBACKS)
    shared = options.epochs - LAST
    with progress(f"seed {seed}", options.epochs) as shown:
        for number in range(1, options.epochs + 1):
            if number == shared + 1:
                fed.gan.load(copy.deepcopy(plain.gan.state()))
            plain.epoch(number)
            if number > shared:
                fed.epoch(number)
            shown.advance()
    return trainings


def drawn(training: Training, noise: Tensor) -> Tensor:
    """(N, 24, 3) the poses for that noise, angles within half a turn."""
    generator = training.gan.generator.eval()
    with torch.no_grad():
        return matrix_to_axis_angle(axis_angle_to_matrix(generator(noise)))


def errors_of(views: Views, poses: Tensor, seed: int) -> np.ndarray:
    """(N,) mm: the estimator's mean error on each of the poses that could be drawn, of people drawn by ``seed``."""
    people = [views.people[at] for at in rng(seed, "people", "bench").integers(len(views.people), size=len(poses))]
    found = []
    for at in range(0, len(poses), 32):
        seen = views.look(poses[at : at + 32], people[at : at + 32])
        truth = posed(seen.drawn.float(), seen.rest)
        found.append((compared(seen.predicted, seen.root) - compared(truth, seen.root)).norm(dim=-1).mean(1))
    errors = 1000 * torch.cat(found).numpy()
    return errors[np.isfinite(errors)]


def outside(poses: Tensor, real: Tensor) -> float:
    """The share of joint angles that are far beyond the real ones."""
    angles, own = (each[:, 1:].norm(dim=-1) for each in (poses, real))
    return float((angles > torch.quantile(own, 0.995, dim=0) + BEYOND).float().mean())


def run_seed(seed: int, options: argparse.Namespace, registry: Registry) -> dict[str, Any]:
    """The figures by name of the poses, and the estimator's errors in mm on those that were made."""
    trainings = train_both(seed, options, registry)
    views, real = trainings["maximise"].views, trainings["none"].data.poses
    assert views is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        noise = draw_noise("normal", options.poses, 32)
    judges = {feedback: training.gan.d3d for feedback, training in trainings.items()}
    made = {feedback: drawn(training, noise) for feedback, training in trainings.items()}
    errors = {name: errors_of(views, poses, seed) for name, poses in made.items()}
    figures = {}
    for name, poses in {**made, "real": real}.items():
        with torch.no_grad():
            scores = {f"score by D of {judge}": float(d3d(poses).mean()) for judge, d3d in judges.items()}
        figures[name] = {**scores, "outside": outside(poses, real)}
        if name in errors:
            figures[name] |= {"mean_mm": float(errors[name].mean()), "median_mm": float(np.median(errors[name]))}
    return {"figures": figures, "errors": {name: values.tolist() for name, values in errors.items()}}


def plot(errors: Mapping[str, np.ndarray]) -> str:
    """Up to which error the tenths of the poses lie, all seeds together."""
    shares = np.arange(10, 100, 10)
    series = {name: np.column_stack([np.percentile(values, shares), shares]) for name, values in errors.items()}
    drawing = charts.lines(series, "error in mm", "% of poses", "the estimator's error on generated poses")
    css = Path(charts.__file__).with_name("style.css").read_text()
    return f"<!doctype html><meta charset=utf-8><title>PoseGen</title><style>{css}</style>{drawing}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=125)
    parser.add_argument("--poses", type=int, default=100)
    parser.add_argument("--weight", type=float, default=2.0)
    parser.add_argument("--rule", choices=("linear", "constant"), default="linear", help="of the learning rate")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate at the start")
    options = parser.parse_args()
    registry, ratios = Registry.discover(), []
    pooled: dict[str, np.ndarray] = {}
    for seed in options.seeds:
        numbers = (options.weight, options.epochs, options.poses, options.rate)
        told = [f"seed-{seed}", options.rule, *(f"{number:g}" for number in numbers)]
        path = options.folder / f"{'-'.join(told)}.json"
        if not path.exists():
            write_atomic(path, json.dumps(run_seed(seed, options, registry)))
        found = json.loads(path.read_text())
        for name, figures in found["figures"].items():
            print(f"seed {seed}, {name}: {json.dumps(figures)}")
        for name, values in found["errors"].items():
            pooled[name] = np.concatenate([pooled.get(name, np.empty(0)), values])
        ratios.append(found["figures"]["maximise"]["mean_mm"] / found["figures"]["none"]["mean_mm"])
        print(f"seed {seed}: error with feedback / without: {ratios[-1]:.3f}", flush=True)
    print(f"mean ratio over {len(ratios)} seeds: {statistics.mean(ratios):.3f}")
    write_atomic(options.folder / "posegen.html", plot(pooled))
    print(f"plot: {options.folder / 'posegen.html'}")


if __name__ == "__main__":
    main()
