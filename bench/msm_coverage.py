"""Claim: motions about a wrong pose come nearer to the true one than the wrong pose is (the paper's Table 2).

People posed by real motion capture (`wild` clips of a file that no shipped network was trained on) are rendered;
their poses are corrupted (i) by an estimator that looks at the images, (ii) by a noise model: limb joints turned at
random, by --degrees in the standard deviation. Those with the greatest Eq. 1 error are captioned and expanded into
motions as a run does it. Every pose of a motion is compared with the true pose by PA-MPJPE over 22 joints; mean,
standard deviation and minimum are taken over a motion's frames, then averaged over the motions:

    (a) the pseudo-label   (b) motions from the text only   (c) from the text and the pseudo-label
    and, as controls: from the pseudo-label only, and recordings retrieved by text and pseudo-label
    (`examples/retrieval_motion`, from --recordings).

The claim is the order of the minima, (c) < (b) < (a). A minimum over more frames is lower by itself, so all generated
motions have the same length, --frames (the longest that the paper makes; 0: what the recipe's default and the end token
make of it). The difference (c) - (b) is given with its standard error over the samples. Captions are what the loop
uses, posecodes of the pseudo-label; --texts takes the motion capture's own descriptions instead, as a captioner that
recognises the action would give them.

    python bench/msm_coverage.py [--motions val.npz] [--hard 240] [--people 640] [--frames 196] [--texts]
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core import Component, Kind, PoseEstimate, Sample, hookimpl, option
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from posesyn_core.method.metrics import pa_mpjpe
from posesyn_core.pipeline.run import HARD, Run, create_run, fork_run
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Origin, Registry
from posesyn_core.runs.stages import run_stage
from posesyn_core.seeds import rng

SHARED = Path(os.environ.get("POSESYN_SHARED", Path(__file__).parents[2] / "shared"))
EXAMPLE = Path(__file__).parents[1] / "examples/retrieval_motion"

RECIPE = """
seed = {seed}
dataset = {{ name = "world", part = "wild", split = "coverage", seed = {seed}, count = {people}, labels = "3d", domain = "wild", motions = "{motions}" }}
[score]
hard = {hard}
easy = 1
"""  # noqa: E501
LIMBS = [0, 1, 3, 4, 15, 16, 17, 18]
"""Rows of SMPL's body_pose that the noise model turns: hips, knees, shoulders, elbows."""

Figures = dict[str, tuple[float, float, float]]
"""Mean, standard deviation and minimum over the frames of a motion, mm, by sample."""
Joints = NDArray[np.float32]


@frozen
class NoisyTruthConfig:
    """Options of the noise model."""

    degrees: float = option(40.0, "standard deviation of the angle by which each limb joint turns", least=0, most=180)
    seed: int = option(0, "seed of the noise", least=0)


class NoisyTruth:
    """An "estimator" that knows the truth and turns its limbs at random; fits ``PoseEstimator``."""

    def __init__(self, config: NoisyTruthConfig) -> None:
        from posesyn_core.body.model import load_body

        self.config, self.body = config, load_body()

    def predict(self, samples: Sequence[Sample]) -> list[PoseEstimate]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> PoseEstimate:
        assert sample.smpl is not None and sample.camera is not None
        noise = rng(self.config.seed, sample.id, "noise").normal(0, self.config.degrees / 3**0.5, (len(LIMBS), 3))
        pose = torch.from_numpy(sample.smpl.body_pose.copy())
        turned = axis_angle_to_matrix(pose[LIMBS]) @ axis_angle_to_matrix(
            torch.deg2rad(torch.from_numpy(noise)).float()
        )
        pose[LIMBS] = matrix_to_axis_angle(turned)
        with torch.inference_mode():
            root, betas = (torch.from_numpy(part.copy()) for part in (sample.smpl.global_orient, sample.smpl.betas))
            joints = self.body(root[None], pose[None], betas[None]).joints3d[0].numpy()
        camera = sample.camera
        joints2d = project(joints + sample.smpl.transl, camera.focal_length, camera.principal_point)
        return PoseEstimate(joints - joints[:1], joints2d, camera)


class NoisePlugin:
    """Registers the noise model as any plugin registers an estimator."""

    @hookimpl
    def register_estimators(self) -> list[Component]:
        return [Component(Kind.ESTIMATOR, "noisy_truth", "Truth with limbs turned", NoisyTruth, NoisyTruthConfig)]


def make_registry() -> Registry:
    """The installed plugins, the noise model, and the example's generator straight from its folder."""
    registry = Registry.discover()
    registry.add(NoisePlugin(), Origin("noise", "bench", "0"))
    if (Kind.MOTION, "retrieval") not in registry.components:
        sys.path.insert(0, str(EXAMPLE))
        registry.add(importlib.import_module("my_retrieval.plugin"), Origin("retrieval", "bench", "0"))
    return registry


def truths(run: Run) -> dict[str, Joints]:
    """(22, 3) true joints of the hard samples, mm."""
    return {s.scored.sample.id: _mm(s.scored.sample.joints3d) for s in run.of_role(HARD)}


def _mm(joints: Joints | None) -> Joints:
    assert joints is not None
    return 1000 * joints[:22]


def spread(joints: Joints, truth: Joints) -> tuple[float, float, float]:
    """Mean, standard deviation and minimum over the frames (L, 22, 3) of PA-MPJPE, mm."""
    errors = pa_mpjpe(joints, np.broadcast_to(truth, joints.shape))
    return float(errors.mean()), float(errors.std()), float(errors.min())


def pseudo_labels(run: Run) -> Figures:
    """Of every pseudo-label, a motion of one frame."""
    true, hard = truths(run), [selected.scored for selected in run.of_role(HARD)]
    return {s.sample.id: spread(_mm(s.estimate.joints3d)[None], true[s.sample.id]) for s in hard}


def motions(run: Run, folder: Path, settings: Sequence[str]) -> tuple[Figures, float, float]:
    """Figures of the motions that the run's hard samples get under ``settings``, mean frames, seconds per motion."""
    forked = fork_run(run, folder, parse_recipe((run.folder / "recipe.toml").read_text(), settings))
    started = time.perf_counter()
    summary = run_stage(forked, "synthesize")
    seconds = time.perf_counter() - started
    if summary["rejected"]:
        print(f"  {summary['rejected']} rejected: {dict(forked.motions.rejections())}")
    true = truths(run)
    figures = {m.sample_id: spread(1000 * m.joints, true[m.sample_id]) for m in forked.motions.values()}
    return figures, summary["frames"] / len(figures), seconds / len(figures)


def write_texts(run: Run, options: argparse.Namespace, path: Path) -> None:
    """Captions by sample id: the first description of the recording whose frame is nearest to the true pose."""
    with np.load(options.motions, allow_pickle=False) as file:
        wild = np.repeat(file["domain"] == "wild", np.diff(file["offsets"]))
        joints, segment = file["joints"][wild], np.repeat(np.arange(len(file["texts"])), np.diff(file["offsets"]))[wild]
        texts = [json.loads(text)[0] for text in file["texts"]]
    captions = {}
    for name, truth in truths(run).items():
        nearest = int(np.argmin(pa_mpjpe(1000 * joints, np.broadcast_to(truth, joints.shape))))
        captions[name] = texts[segment[nearest]]
    path.write_text(json.dumps(captions))


def measure(title: str, settings: list[str], options: argparse.Namespace, folder: Path, registry: Registry) -> bool:
    """One corruption: print its table; was the order of the minima the paper's?"""
    text = RECIPE.format(**vars(options))
    run = create_run(folder / "base", parse_recipe(text, [*settings, *options.set]), registry)
    for stage in ("score", "select"):
        run_stage(run, stage)
    if options.texts:
        write_texts(run, options, folder / "texts.json")
        file = f"captioner={{name='file', file='{folder / 'texts.json'}'}}"
        run = fork_run(run, folder / "texts", parse_recipe(text, [*settings, *options.set, file]))
    run_stage(run, "caption")
    long = (
        [f"synthesize.min_frames={options.frames}", f"synthesize.max_frames={options.frames}"] if options.frames else []
    )
    retrieval = f"motion={{name='retrieval', motions='{options.recordings}'}}"
    rows = {"(a) pseudo-label": (pseudo_labels(run), 1.0, 0.0)}
    for name, changes in (
        ("(b) text only", ["synthesize.guidance=text_only", *long]),
        ("(c) text and pseudo-label", ["synthesize.guidance=full", *long]),
        ("    pseudo-label only", ["synthesize.guidance=pose_only", *long]),
        ("    retrieval", [retrieval]),
    ):
        rows[name] = motions(run, folder / f"variant-{len(rows)}", changes)
    return print_table(title, rows)


def print_table(title: str, rows: dict[str, tuple[Figures, float, float]]) -> bool:
    """The table, and whether the minima are in the paper's order."""
    means = {name: np.mean(list(figures.values()), axis=0) for name, (figures, _, _) in rows.items()}
    label, text, full, *_ = (figures[2] for figures in means.values())
    print(f"\n{title}: {len(next(iter(rows.values()))[0])} hard samples, PA-MPJPE in mm")
    print(f"{'':<27}{'mean':>8}{'std':>7}{'min':>8}{'':>9}{'paper':>9}{'frames':>8}{'s/motion':>10}")
    paper = iter(("", "-16.8 %", "-22.5 %", "", ""))
    for name, (mean, std, least) in means.items():
        change = "" if name.startswith("(a)") else f"{100 * (least / label - 1):+.1f} %"
        frames, seconds = rows[name][1:]
        print(f"{name:<27}{mean:8.1f}{std:7.1f}{least:8.1f}{change:>9}{next(paper):>9}{frames:8.0f}{seconds:10.2f}")
    _, texts, fulls, *_ = (figures for figures, _, _ in rows.values())
    differences = np.array([fulls[name][2] - texts[name][2] for name in fulls.keys() & texts.keys()])
    error = differences.std(ddof=1) / len(differences) ** 0.5
    print(f"minima: (c) - (b) = {differences.mean():+.1f} mm, standard error {error:.1f}")
    print(f"order of the minima (c) < (b) < (a): {'yes' if full < text < label else 'NO'}", flush=True)
    return bool(full < text < label)


def corruptions(options: argparse.Namespace) -> Iterator[tuple[str, str, list[str]]]:
    yield "estimator", "(i) the starter estimator on rendered images", ["estimator=spin"]
    noise = f"estimator={{name='noisy_truth', degrees={options.degrees}, seed={options.seed}}}"
    yield "noise", f"(ii) the truth with limbs turned by {options.degrees:g} degrees", [noise]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motions", type=Path, default=SHARED / "data/motions/val.npz")
    parser.add_argument("--recordings", type=Path, default=SHARED / "data/motions/train.npz")
    parser.add_argument("--people", type=int, default=640, help="rendered people to choose the hard ones from")
    parser.add_argument("--hard", type=int, default=240)
    parser.add_argument("--frames", type=int, default=196, help="of every generated motion")
    parser.add_argument("--degrees", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--texts", action="store_true", help="caption with the motion capture's own descriptions")
    parser.add_argument("--set", action="append", default=[], help="a recipe key, e.g. motion.weights=FILE")
    parser.add_argument("--only", choices=("estimator", "noise"), help="one corruption")
    options = parser.parse_args()
    registry, ordered = make_registry(), []
    with tempfile.TemporaryDirectory() as folder:
        for name, title, settings in corruptions(options):
            if options.only in (None, name):
                ordered.append(measure(title, settings, options, Path(folder) / name, registry))
    sys.exit(0 if all(ordered) else 1)


if __name__ == "__main__":
    main()
