"""PoseGen's networks, losses and training step (Gholami, Ward and Wang, AAAI 2024), after paper and published figures.

A generator makes SMPL poses from noise; a discriminator that looks at seven parts of the body keeps them plausible; the
error of a pose estimator on pictures of them pushes them to where it is wrong. Where the paper and the released code
differ, the code's is done: the discriminator's parts, losses halved (Eq. 9, 10), and a feedback without a gradient
through picture and estimator (Fig. 2 draws one loop): the estimate is a constant, and the gradient moves the generated
joints away from it, or towards it. Parameter names are those of the released code. Rotations are axis-angles, radians.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from posesyn_core.body.skinning import rigid_chain
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.training.adversarial import (
    SLOPE,
    Draws,
    Pool,
    Stage,
    accuracies,
    coins,
    discriminator_loss,
    he_normal,
)

JOINTS = 24
ROOT_FACTOR = 6.28
"""What the root's angle is multiplied by: the official literal, not 2 pi."""
MARGIN = 1.0
"""c of Eq. 7 in metres."""
MAX_GRADIENT = 1.0
"""Norm to which gradients are clipped."""
FEEDBACK_JOINTS = (1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21)
"""SMPL's hips, knees, ankles, neck, head, shoulders, elbows and wrists: what the feedback compares."""

PARTS = {
    "left_leg": (4, 7, 10),
    "right_leg": (5, 8, 11),
    "left_arm": (9, 13, 16, 18, 20, 22),
    "right_arm": (9, 14, 17, 19, 21, 23),
    "torso": (0, 1, 2, 3, 6, 9, 13, 14, 16, 17),
    "head": (9, 12, 15),
    "full_body": tuple(range(JOINTS)),
}
"""The joints that each part of the discriminator sees, in the order of its scores."""

Direction = Literal["maximise", "minimise"]
Prior = Literal["normal", "uniform", "spherical"]
Feedback = Callable[[Tensor], Tensor]
"""The estimator's part of the loss, a number, for generated poses (B, 24, 3)."""


@frozen
class GeneratorSizes:
    """The sizes of a generator; the defaults are the official ones. ``view`` is the camera branch's noise."""

    noise: int = 32
    view: int = 72
    width: int = 256
    stages: int = 2


def draw_noise(prior: Prior, count: int, size: int) -> Tensor:
    """(count, size) z of Eq. 3, 4 or 5, from torch's global generator."""
    if prior == "uniform":
        return 2 * torch.rand(count, size) - 1
    z = torch.randn(count, size)
    return z if prior == "normal" else z / torch.linalg.vector_norm(z, dim=1, keepdim=True)


def _through(x: Tensor, first: nn.Module, norm: nn.Module, stages: Iterable[nn.Module]) -> Tensor:
    """(B, noise) -> (B, width) through a trunk."""
    x = leaky_relu(norm(first(x)), SLOPE)
    for stage in stages:
        x = stage(x)
    return x


class PoseBranch(nn.Module):
    """Noise -> SMPL's 24 rotations: an axis and a signed angle each; the root's is the camera's viewpoint K."""

    def __init__(self, sizes: GeneratorSizes) -> None:
        super().__init__()
        self.w1 = nn.Linear(sizes.noise, sizes.width)
        self.batch_norm1 = nn.BatchNorm1d(sizes.width)
        self.linear_stages = nn.ModuleList(Stage(sizes.width) for _ in range(sizes.stages))
        self.w2 = nn.Linear(sizes.width, 4 * JOINTS)

    def forward(self, noise: Tensor) -> Tensor:
        """(B, noise) -> (B, 24, 3) axis-angle."""
        raw = self.w2(_through(noise, self.w1, self.batch_norm1, self.linear_stages)).unflatten(1, (JOINTS, 4))
        axis = raw[..., :3] / torch.linalg.vector_norm(raw[..., :3], dim=-1, keepdim=True)
        turns = axis * raw[..., 3:]
        return torch.cat([ROOT_FACTOR * turns[:, :1], turns[:, 1:]], 1)


class CameraBranch(nn.Module):
    """A rotation and a place from noise, as the released code has them. No loss and no picture depends on them there
    (its camera is fixed, the viewpoint is the root's rotation), nor here."""

    def __init__(self, sizes: GeneratorSizes) -> None:
        super().__init__()
        for suffix, outputs in (("R", 7), ("T", 3)):
            self.add_module(f"w1_{suffix}", nn.Linear(sizes.view, sizes.width))
            self.add_module(f"batch_norm_{suffix}", nn.BatchNorm1d(sizes.width))
            self.add_module(f"linear_stages_{suffix}", nn.ModuleList(Stage(sizes.width) for _ in range(sizes.stages)))
            self.add_module(f"w2_{suffix}", nn.Linear(sizes.width, outputs))  # w2_R is not used, officially either

    def forward(self, noise_r: Tensor, draw: Tensor, noise_t: Tensor) -> tuple[Tensor, Tensor]:
        """Two (B, view) noises and a normal draw (B, 3) -> rotation (B, 3, 3), translation (B, 3).

        Of the rotation's features, 0 to 2 are the axis's mean, the squares of 3 to 5 its deviation, 6 is the angle.
        """
        features = self._features(noise_r, "R")
        axis = features[:, :3] + features[:, 3:6] ** 2 * draw
        axis = axis / torch.linalg.vector_norm(axis, dim=1, keepdim=True)
        place: Tensor = self.get_submodule("w2_T")(self._features(noise_t, "T"))
        translation = torch.cat([place[:, :2], place[:, 2:] ** 2], 1)
        return axis_angle_to_matrix(axis * features[:, 6:7]), translation

    def _features(self, noise: Tensor, suffix: str) -> Tensor:
        first, norm, stages = (self.get_submodule(f"{name}_{suffix}") for name in ("w1", "batch_norm", "linear_stages"))
        return _through(noise, first, norm, stages.children())


class Generator(nn.Module):
    """G: noise in, poses out."""

    def __init__(self, sizes: GeneratorSizes | None = None) -> None:
        """Random weights: He's for the linear layers, from torch's global generator."""
        super().__init__()
        self.sizes = sizes = sizes or GeneratorSizes()
        self.BAprocess = PoseBranch(sizes)
        self.RTprocess = CameraBranch(sizes)
        he_normal(self)

    def forward(self, noise: Tensor) -> Tensor:
        """(B, noise) -> (B, 24, 3): the root's rotation in the camera frame, then those relative to the parents."""
        poses: Tensor = self.BAprocess(noise)
        return poses


class _Judge(nn.Module):
    """Four layers and a score."""

    def __init__(self, inputs: int, channels: int, middle: int) -> None:
        super().__init__()
        self.layer_1 = nn.Linear(inputs, channels)
        self.layer_2 = nn.Linear(channels, channels)
        self.layer_3 = nn.Linear(channels, channels)
        self.layer_last = nn.Linear(channels, middle)
        self.layer_pred = nn.Linear(middle, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, 1) raw scores, 1 = real."""
        x = x.flatten(1)
        for layer in (self.layer_1, self.layer_2, self.layer_3, self.layer_last):
            x = leaky_relu(layer(x), SLOPE)
        score: Tensor = self.layer_pred(x)
        return score


class Discriminator3d(nn.Module):
    """D: are these rotations a person's, part by part. The paper names six parts and the whole body."""

    def __init__(self, channels: int = 500, middle: int = 1000) -> None:
        super().__init__()
        for name, joints in PARTS.items():
            self.add_module(f"layer_{name}", _Judge(3 * len(joints), channels, middle))
        he_normal(self)

    def forward(self, poses: Tensor) -> Tensor:
        """(B, 24, 3) axis-angle -> (B, 7) raw scores, 1 = real."""
        return torch.cat([self.get_submodule(f"layer_{n}")(poses[:, list(j)]) for n, j in PARTS.items()], 1)


class Discriminator2d(_Judge):
    """Are these 2D joints (B, 24, 2) of the target data: for a generator that is to match pictures of its domain."""

    def __init__(self, channels: int = 1000, middle: int = 100) -> None:
        super().__init__(2 * JOINTS, channels, middle)
        he_normal(self)


def posed(poses: Tensor, rest: Tensor) -> Tensor:
    """Joints (B, 24, 3) of rotations (B, 24, 3) axis-angle or (B, 24, 3, 3), for a rest pose (24, 3), or one each."""
    rotations = poses if poses.ndim == 4 else axis_angle_to_matrix(poses)
    return rigid_chain(rotations, rest if rest.ndim == 3 else rest[None])[1]


def flattened(joints: Tensor) -> Tensor:
    """(B, 24, 3) joints of the camera frame, or (B, 24, 2) pixels -> (B, 24, 2) as the 2D discriminator sees them.

    Relative to the root and to the longer side of the joints' box, so that place and size don't matter: seen from far.
    """
    flat = (joints - joints[:, :1])[..., :2]
    extent = flat.amax(1) - flat.amin(1)
    return flat / extent.amax(1)[:, None, None].clamp(min=1e-6)


def adversarial_loss(scores: Tensor) -> Tensor:
    """Eq. 9, halved: what the generator minimises of its discriminator's scores."""
    return 0.5 * ((scores - 1) ** 2).mean()


def compared(joints: Tensor, root: Sequence[int] = (0,)) -> Tensor:
    """(K, 24, 3) joints -> (K, 14, 3) those that estimates are compared by, relative to the ``root``'s mean."""
    return (joints - joints[:, list(root)].mean(1, keepdim=True))[:, list(FEEDBACK_JOINTS)]


def feedback_loss(
    predicted: Tensor, generated: Tensor, direction: Direction = "maximise", root: Sequence[int] = (0,)
) -> Tensor:
    """Eq. 7 (maximise the estimator's error, less c) or Eq. 6 (minimise it).

    ``predicted`` and ``generated`` (K, 24, 3) metres, camera frame, are taken relative to their ``root``. Joints that
    the estimator does not know are NaN and don't count; without any, the loss is that of an error of 0.
    """
    both = [compared(joints, root) for joints in (predicted.detach(), generated)]
    known = torch.isfinite(both[0]).all(-1)
    distances = torch.linalg.vector_norm(both[0][known] - both[1][known], dim=-1)
    error = distances.sum() / max(int(known.sum()), 1)
    return MARGIN - error if direction == "maximise" else error


def rescaled_error(predicted: Tensor, truth: Tensor) -> Tensor:
    """(N,) what the released fine-tuning minimises, and rejects by (Eq. 13): the mean distance of joints (N, J, 3).

    They are relative to the root (:func:`compared`); the prediction is scaled to the norm of the truth first, so that
    an estimator is not blamed for the body's size.
    """
    scale = truth.flatten(1).norm(dim=1) / predicted.flatten(1).norm(dim=1)
    return torch.linalg.vector_norm(scale[:, None, None] * predicted - truth, dim=-1).mean(1)


@frozen
class StepOptions:
    """What a training step weighs, and what the discriminators are shown."""

    learning_rate: float = 1e-4
    adversarial: float = 1.0
    feedback: float = 0.1
    flat: float = 1.0
    judge_root: bool = True
    pool: int = 4096


class PoseGen:
    """The networks with their optimisers and pools; :meth:`step` is one iteration of the training (Eq. 8, 10)."""

    def __init__(
        self, generator: Generator, d3d: Discriminator3d, d2d: Discriminator2d | None, options: StepOptions
    ) -> None:
        """``d2d`` None: no 2D targets, as in the released code, which makes that network but never uses it."""
        self.options = options
        self.networks: dict[str, nn.Module] = {"model_G": generator, "model_d3d": d3d}
        if d2d is not None:
            self.networks["model_d2d"] = d2d
        self.generator, self.d3d, self.d2d = generator, d3d, d2d
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), options.learning_rate, fused=True)
            for name, network in self.networks.items()
        }
        judges = [name for name in self.networks if name != "model_G"]
        self.pools = {name: Pool(options.pool) for name in judges}

    def set_rate(self, factor: float) -> None:
        """Let the learning rate be ``factor`` times the options'."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = factor * self.options.learning_rate

    def step(
        self,
        noise: Tensor,
        real: Tensor,
        feedback: Feedback | None = None,
        flat: tuple[Tensor, Tensor] | None = None,
        draw: Callable[[int, int], Draws] = coins,
    ) -> dict[str, Tensor]:
        """A step of the generator, then one of each discriminator; returns losses and accuracies.

        ``noise`` (B, noise), ``real`` (B, 24, 3) poses. ``feedback`` is left out in most steps. With a 2D discriminator
        ``flat`` are a rest pose (24, 3) and real 2D joints (B, 24, 2) as of :func:`flattened`. ``draw`` is the pools'.
        """
        poses = self.generator(noise)
        fakes = {"model_d3d": self._judged(poses)}
        reals = {"model_d3d": self._judged(real)}
        if flat is not None:
            fakes["model_d2d"], reals["model_d2d"] = flattened(posed(poses, flat[0])), flat[1]
        scores = {name: self.networks[name](fake) for name, fake in fakes.items()}
        adversarial = {name: adversarial_loss(score) for name, score in scores.items()}
        weights = {"model_d3d": self.options.adversarial, "model_d2d": self.options.flat}
        total = torch.stack([weights[name] * loss for name, loss in adversarial.items()]).sum()
        terms = {f"adversarial_{name.removeprefix('model_')}": loss.detach() for name, loss in adversarial.items()}
        if feedback is not None:
            lost = feedback(poses)
            total = total + self.options.feedback * lost
            terms["feedback"] = lost.detach()
        self._update("model_G", total)
        terms["generator"] = total.detach()
        for name, fake in fakes.items():
            terms |= self.discriminate(name, reals[name], self.pools[name].exchange(fake, draw))
        return terms

    def _judged(self, poses: Tensor) -> Tensor:
        """The poses (B, 24, 3), without the root's rotation if the discriminator is not to see that."""
        if self.options.judge_root:
            return poses
        return torch.cat([torch.zeros_like(poses[:, :1]), poses[:, 1:]], 1)

    def discriminate(self, name: str, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """A step of the discriminator ``name`` on real and fake items; its loss and accuracies."""
        scores = self.networks[name](torch.cat([real, fake])).split([len(real), len(fake)])
        loss = discriminator_loss(*scores)
        self._update(name, loss)
        short = name.removeprefix("model_")
        shares = {f"{short}_{which}": share for which, share in accuracies(*scores).items()}
        return {short: loss.detach(), **shares}

    def _update(self, name: str, loss: Tensor) -> None:
        """One step of a network's optimiser; other networks' gradients from the same loss are left unused."""
        self.optimisers[name].zero_grad()
        parameters = [p for p in self.networks[name].parameters() if p.requires_grad]
        loss.backward(inputs=parameters)
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
        self.optimisers[name].step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "pools": {name: pool.state() for name, pool in self.pools.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
            self.optimisers[name].load_state_dict(state["optimisers"][name])
        for name, pool in self.pools.items():
            pool.load(state["pools"][name])
