"""Claim: a training iteration of PoseAug takes at most 0.7 of the time of the described official steps. And: lifting.

    OMP_NUM_THREADS=1 python bench/poseaug_step.py [--lifters simplebaseline videopose] [--rounds 3]
    OMP_NUM_THREADS=1 python bench/poseaug_step.py --lift [--lifters ...]
    OMP_NUM_THREADS=2 python bench/poseaug_step.py --wall [--lift] ...    on a quiet machine

The official way is written out here naively: torch's own linear layers, convolutions of length 1, dense part matrices,
dropout masks drawn value by value, Adam tensor by tensor, pools item by item. Both ways do one generator step (every
second time with the discriminators'), a lifter step on augmented and one on real data, 1024 poses each, on the same
poses. Times are of the processor, so that other work on the machine counts less, or with --wall of the clock; rounds of
all ways alternate.
"""

import argparse
import copy
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MethodType
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, mse_loss, pad
from torch.utils.flop_counter import FlopCounterMode

from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.inference.predict import exportable
from posesyn_core.inference.probe import probe_samples
from posesyn_core.registry import Registry
from posesyn_core.training.adversarial import discriminator_loss
from posesyn_core.training.dense import Linear
from posesyn_poseaug import losses
from posesyn_poseaug.augmentor import Augmentor, Pairs, Precision, adam, frozen_in_training, lifter_loss, update
from posesyn_poseaug.camera import project
from posesyn_poseaug.config import LifterConfig, PoseAugConfig
from posesyn_poseaug.discriminators import Discriminator2d
from posesyn_poseaug.estimator import Lifter
from posesyn_poseaug.generator import NOISES, Generator
from posesyn_poseaug.skeleton import BONES, PARTS, bones_of, directions_of, part_kcs, rooted
from posesyn_poseaug.weights import LIFTERS

BATCH = 1024
TARGET = 0.7
WANTED = 50_000
CLOCK = time.process_time


def official_mlp() -> nn.Module:
    """The MLP lifter with torch's own layers."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [(nn.Linear(1024, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Dropout(0.25)) for _ in range(2)]
            self.layers = nn.Sequential(*(layer for group in layers for layer in group))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layers(x)

    first = (nn.Linear(32, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Dropout(0.25))
    return Posed(nn.Sequential(*first, Block(), Block(), nn.Linear(1024, 45)), False)


def official_videopose() -> nn.Module:
    """VideoPose3D for one frame as convolutions of width 1."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [
                (nn.Conv1d(1024, 1024, 1, bias=False), nn.BatchNorm1d(1024), nn.ReLU(), nn.Dropout(0.25))
                for _ in range(2)
            ]
            self.layers = nn.Sequential(*(layer for group in layers for layer in group))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layers(x)

    first = (nn.Conv1d(32, 1024, 1, bias=False), nn.BatchNorm1d(1024), nn.ReLU(), nn.Dropout(0.25))
    return Posed(nn.Sequential(*first, *(Block() for _ in range(4)), nn.Conv1d(1024, 45, 1)), True)


class Posed(nn.Module):
    """2D in, 15 joints and a root of 0 out."""

    def __init__(self, layers: nn.Module, convolutions: bool) -> None:
        super().__init__()
        self.layers, self.convolutions = layers, convolutions

    def forward(self, keypoints: Tensor) -> Tensor:
        x = keypoints.flatten(1)
        y = self.layers(x[..., None] if self.convolutions else x).flatten(1)
        return pad(y.unflatten(1, (BONES, 3)), (0, 0, 1, 0))


class DenseDiscriminator(nn.Module):
    """The 3D discriminator over whole 15 x 15 matrices, mostly zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(nn.Linear(*sizes) for sizes in ((225, 256), (256, 256), (256, 256), (256, 100), (100, 1)))
            for _ in PARTS
        )

    def forward(self, poses: Tensor) -> Tensor:
        bones, scores = directions_of(bones_of(poses)), []
        for part, (first, second, third, last, judge) in zip(PARTS, self.paths, strict=True):
            a = leaky_relu(first(part_kcs(bones, part).flatten(1)), 0.01)
            scores.append(judge(leaky_relu(last(third(leaky_relu(second(a), 0.01)) + a), 0.01)))
        return torch.cat(scores, 1)


class SlowPool:
    """The history of fakes, one pose at a time."""

    def __init__(self) -> None:
        self.items: list[Tensor] = []

    def exchange(self, items: Tensor) -> Tensor:
        found = []
        for item in items.detach():
            if len(self.items) < 4096:
                self.items.append(item)
                found.append(item)
            elif random.random() > 0.5:
                at = random.randrange(4096)
                found.append(self.items[at].clone())
                self.items[at] = item
            else:
                found.append(item)
        return torch.stack(found)


class Official:
    """The described official iteration."""

    def __init__(self, lifter: nn.Module) -> None:
        self.lifter, self.generator, self.d3d, self.d2d = lifter, Generator(), DenseDiscriminator(), Discriminator2d()
        networks = (self.lifter, self.generator, self.d3d, self.d2d)
        for layer in (layer for network in networks for layer in network.modules()):
            if isinstance(layer, Linear):
                layer.forward = MethodType(nn.Linear.forward, layer)  # type: ignore[method-assign]
        self.adams = [torch.optim.Adam(network.parameters(), lr=1e-4) for network in networks]
        self.pools, self.turn = (SlowPool(), SlowPool()), 0
        self.config = PoseAugConfig()

    def step(self, batch: Pairs) -> Pairs:
        self.lifter.train()
        _wanting(self.lifter, False)
        noise = {name: torch.randn(len(batch), 48) for name in NOISES}
        made = self.generator(batch.poses, **noise)
        flat_ba, flat_rt = project(made.pose_ba, batch.cameras), project(made.pose_rt, batch.cameras)
        for network in (self.d3d, self.d2d):
            _wanting(network, False)
        total = 6 * losses.generator_loss(self.d3d(batch.poses), self.d3d(made.pose_ba))
        total = total + losses.generator_loss(self.d2d(batch.keypoints), self.d2d(flat_rt))
        total = total + 3 * (losses.angle_loss(made.ba_diff) + losses.rectified_l2(made.blr, 0.1))
        original = losses.part_losses(self.lifter(batch.keypoints), batch.poses)
        for flat, pose, hardness in (
            (flat_ba, made.pose_ba, losses.BA_HARDNESS),
            (flat_rt, made.pose_rt, losses.RT_HARDNESS),
        ):
            harder = losses.part_losses(self.lifter(flat), pose)
            total = total + losses.feedback(harder, original, hardness, 0.1)[0]
        self._update(1, self.generator, total)
        for network in (self.d3d, self.d2d):
            _wanting(network, True)
        if self.turn % 2 == 0:
            for at, (network, real, fake) in enumerate(
                ((self.d3d, batch.poses, made.pose_ba), (self.d2d, batch.keypoints, flat_rt))
            ):
                scores = network(real), network(self.pools[at].exchange(fake))
                self._update(2 + at, network, discriminator_loss(*scores))
        self.turn += 1
        _wanting(self.lifter, True)
        return Pairs(made.pose_rt.detach(), flat_rt.detach(), batch.cameras)

    def lift(self, pairs: Pairs) -> None:
        self.lifter.train()
        self._update(0, self.lifter, mse_loss(self.lifter(pairs.keypoints), rooted(pairs.poses)))

    def _update(self, at: int, network: nn.Module, loss: Tensor) -> None:
        self.adams[at].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), max_norm=1)
        self.adams[at].step()


def _wanting(network: nn.Module, gradients: bool) -> None:
    for parameter in network.parameters():
        parameter.requires_grad_(gradients)


class Ours:
    """The same by the plugin."""

    def __init__(self, lifter: nn.Module, precision: Precision) -> None:
        self.config = PoseAugConfig(precision=precision)
        self.lifter, self.augmentor, self.adam = lifter, Augmentor(self.config), adam(lifter, 1e-4)

    def step(self, batch: Pairs) -> Pairs:
        with frozen_in_training(self.lifter):
            self.augmentor.step(self.lifter, batch, batch, epoch=5)
        return batch

    def lift(self, pairs: Pairs) -> None:
        self.lifter.train()
        update(self.lifter.parameters(), self.adam, lifter_loss(self.lifter, pairs, self.config.precision), 1.0)


def poses() -> Pairs:
    """A batch of people five metres away."""
    draw = torch.Generator().manual_seed(0)
    given = torch.randn(BATCH, 16, 3, generator=draw) * 0.3 + torch.tensor([0, 0, 5.0])
    cameras = torch.zeros(BATCH, 9)
    cameras[:, :2] = 2.29
    return Pairs(given, project(given, cameras), cameras)


def timed(work: Callable[[], object]) -> float:
    before = CLOCK()
    work()
    return CLOCK() - before


def iteration(way: Official | Ours, batch: Pairs) -> Callable[[], None]:
    """Two complete iterations: the discriminators take part in one of them."""

    def work() -> None:
        for _ in range(2):
            way.step(batch)
            way.lift(batch)
            way.lift(batch)

    return work


def compare(name: str, rounds: int) -> None:
    torch.manual_seed(0)
    official = {"simplebaseline": official_mlp, "videopose": official_videopose}[name]()
    batch = poses()
    ours = {f"ours {precision}": Ours(LIFTERS[name].published(), precision) for precision in get_args(Precision)}
    ways = {way: iteration(steps, batch) for way, steps in {"official": Official(official), **ours}.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for at in range(rounds + 1):
        for way, work in ways.items():
            spent = timed(work) / 2
            if at:
                times[way].append(spent)
    best = {way: min(spent) for way, spent in times.items()}
    shown = ", ".join(f"{way} {best[way]:.2f} s (ratio {best[way] / best['official']:.2f})" for way in ours)
    print(
        f"{name}: official {best['official']:.2f} s, {shown} of the {clock()} for a complete iteration of {BATCH} "
        f"(claim: at most {TARGET})"
    )


ENGINES = tuple((engine, precision) for engine in ("onnx", "openvino") for precision in ("fp32", "bf16", "int8"))
"""What lifting is measured on, beside eager torch; a processor or runtime that lacks one says so."""


def lifting(name: str, rounds: int) -> None:
    """Poses a second on the engines, how near that is to what the matrix products alone would allow, and how far from
    eager torch the answers for rendered people are, in per cent of the joints' distance from the root."""
    lifter, registry = Lifter(name, LifterConfig(weights="random-full")), Registry.discover()
    people = [lifter.preprocess(sample).tensors["keypoints"] for sample in probe_samples()]
    keypoints = torch.from_numpy(np.stack([people[at % len(people)] for at in range(BATCH)]))
    ways: dict[str, Callable[[], Mapping[str, Tensor]]] = {}
    for engine, precision in ENGINES:
        options = {"precision": precision, "batch": (BATCH, BATCH)}
        try:
            call = registry.create(Kind.ENGINE, engine, options, "bench").load(exportable(name, lifter))
        except UserError as error:
            print(f"{engine} {precision}: {error}")
            continue
        ways[f"{engine} {precision}"] = partial(call, {"keypoints": keypoints})
    ways["eager"] = partial(lifter.network, keypoints)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    half = a.bfloat16(), b.bfloat16()
    with torch.inference_mode():
        expected = ways["eager"]()["joints3d"]
        best = {way: min(timed(work) for _ in range(rounds + 5)) for way, work in ways.items()}
        products = [min(timed(lambda m=m: m[0] @ m[1]) for _ in range(rounds + 5)) for m in ((a, b), half)]
        with FlopCounterMode(display=False) as counter:
            copy.deepcopy(lifter.network).to("meta")(keypoints.to("meta"))
    flops = counter.get_total_flops() / BATCH
    bounds = [2 * 1024**3 / seconds / flops for seconds in products]
    print(
        f"{name}: {flops / 1e6:.1f} MFLOP a pose, of which plain products would allow {bounds[0]:,.0f} a second of the "
        f"{clock()} in fp32, {bounds[1]:,.0f} in bf16 (wanted: {WANTED:,})"
    )
    for way, seconds in best.items():
        off = (ways[way]()["joints3d"] - expected).norm(dim=-1).mean() / expected.norm(dim=-1).mean()
        print(
            f"  {way}: {BATCH / seconds:,.0f} a second of the {clock()}, off by {100 * off:.2f} % of the joints' size"
        )


def clock() -> str:
    """What is measured, in words."""
    return "processor" if CLOCK is time.process_time else f"clock with {torch.get_num_threads()} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifters", nargs="*", default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lift", action="store_true", help="measure lifting instead of training")
    parser.add_argument("--wall", action="store_true", help="measure by the clock, all threads at work")
    options = parser.parse_args()
    if options.wall:
        global CLOCK
        CLOCK = time.perf_counter
    if options.lift:
        for name in options.lifters or sorted(LIFTERS):
            lifting(name, options.rounds)
    else:
        for name in options.lifters or ["simplebaseline", "videopose"]:
            compare(name, options.rounds)


if __name__ == "__main__":
    main()
