"""PoseAug's training iteration: generator, discriminators and the lifter whose error leads them (PoseAug, Sec. 3.4)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_core.training.adversarial import Pool, accuracies, discriminator_loss
from posesyn_poseaug import losses
from posesyn_poseaug.camera import project
from posesyn_poseaug.config import PoseAugConfig
from posesyn_poseaug.discriminators import WHOLE_BODY, Discriminator2d, Discriminator3d, Discriminator3dSizes
from posesyn_poseaug.generator import NOISES, Augmented, Generator, GeneratorSizes
from posesyn_poseaug.losses import Hardness
from posesyn_poseaug.skeleton import PARTS, rooted

Terms = dict[str, Tensor]
Precision = Literal["fp32", "bf16"]


@frozen(eq=False)
class Pairs:
    """M poses (M, 16, 3) metres in the camera frame, their 2D (M, 16, 2) on the normalised screen, cameras (M, 9)."""

    poses: Tensor
    keypoints: Tensor
    cameras: Tensor

    def __len__(self) -> int:
        return len(self.poses)

    def chosen(self, index: Tensor) -> "Pairs":
        """The pairs at ``index`` (K,)."""
        return Pairs(self.poses[index], self.keypoints[index], self.cameras[index])

    @staticmethod
    def joined(several: Sequence["Pairs"]) -> "Pairs":
        """All of them, one after the other."""
        return Pairs(*(torch.cat([getattr(p, name) for p in several]) for name in ("poses", "keypoints", "cameras")))


class Augmentor:
    """The generator and its discriminators, each with its optimiser; a discriminator also with its pool of fakes."""

    def __init__(
        self,
        config: PoseAugConfig,
        sizes: GeneratorSizes | None = None,
        sizes_3d: Discriminator3dSizes | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        """Random weights from torch's global generator."""
        self.config = config
        sizes = sizes or GeneratorSizes(largest_ratio=config.largest_length_ratio)
        self.generator = Generator(sizes, config.operations).to(device)
        self.d3d = Discriminator3d(sizes_3d, WHOLE_BODY if config.kcs == "whole" else PARTS).to(device)
        self.d2d = Discriminator2d().to(device)
        self.pools = {"d3d": Pool(config.pool), "d2d": Pool(config.pool)}
        self.iteration = 0
        self.optimisers = {name: adam(network, config.learning_rate) for name, network in self.networks().items()}

    def networks(self) -> dict[str, nn.Module]:
        """By the names of a checkpoint."""
        return {"G": self.generator, "d3d": self.d3d, "d2d": self.d2d}

    def judges(self) -> tuple[str, ...]:
        """The discriminators that take part. Without BA there is nothing for the 3D one to judge."""
        chosen = {"both": ("d3d", "d2d"), "3d": ("d3d",), "2d": ("d2d",), "none": ()}[self.config.discriminators]
        return tuple(name for name in chosen if name == "d2d" or "ba" in self.config.operations)

    def draw_noise(self, count: int) -> dict[str, Tensor]:
        """The four normal draws (N, noise) of a step, from torch's global generator, in the official order."""
        device = next(self.generator.parameters()).device
        return {name: torch.randn(count, self.generator.sizes.noise, device=device) for name in NOISES}

    def step(
        self, lifter: nn.Module, batch: Pairs, real: Pairs, epoch: int, noise: Mapping[str, Tensor] | None = None
    ) -> tuple[Pairs, Terms]:
        """One generator step, the discriminators' if it is their turn; returns the pairs for the lifter, and losses.

        ``batch`` is what is augmented, ``real`` what the discriminators take for real (their own draw of 3D poses and
        2D poses); ``epoch`` counts from 1. The lifter, which must be frozen (:func:`frozen_in_training`), is run in
        training mode, so its norms' statistics move, as officially.
        """
        found: Augmented = self.generator(batch.poses, **(noise or self.draw_noise(len(batch))))
        flat = {"ba": project(found.pose_ba, batch.cameras), "rt": project(found.pose_rt, batch.cameras)}
        loss, terms = self._generator_loss(lifter, batch, found, flat, epoch)
        if loss.requires_grad:
            self._update("G", loss)
        if self._judging:
            fakes = {"d3d": found.pose_ba, "d2d": flat["rt"]}
            reals = {"d3d": real.poses, "d2d": real.keypoints}
            for name in self.judges():
                terms |= self._judge_step(name, reals[name], self.pools[name].exchange(fakes[name]))
        self.iteration += 1
        seen = (flat["rt"] <= 1).flatten(1).all(1)  # what is left or above the screen passes, as officially
        index = seen.nonzero()[:, 0]
        return Pairs(found.pose_rt.detach()[index], flat["rt"].detach()[index], batch.cameras[index]), terms

    def _generator_loss(
        self, lifter: nn.Module, batch: Pairs, found: Augmented, flat: Mapping[str, Tensor], epoch: int
    ) -> tuple[Tensor, Terms]:
        """The generator's loss, and all that it consists of, whether it counts yet or not; the adversarial losses and
        the sum in the discriminators' turns alone."""
        config = self.config
        angle, lengths = self._change_losses(found)
        total = config.weight_change * (angle + lengths)
        terms = {"angle": angle, "lengths": lengths, "angle_change": found.ba_diff.mean(), "blr": found.blr.mean()}
        weights = {"d3d": config.weight_3d, "d2d": config.weight_2d}
        pairs = {"d3d": (batch.poses, found.pose_ba), "d2d": (batch.keypoints, flat["rt"])}
        for name in self.judges():
            network, (poses, made) = self.networks()[name], pairs[name]
            with _frozen(network):
                fake = network(made)
            real = self._real_scores(network, poses)
            adversarial = losses.generator_loss(real, fake)
            total = total + weights[name] * adversarial
            if real is not None:
                terms |= {f"g_{name}": adversarial, **_named(f"g_{name}", accuracies(real, fake))}
        if config.feedback != "none":
            counts = epoch > config.warm_up
            with torch.set_grad_enabled(counts):
                feedback, parts = self._feedback(lifter, batch, found, flat, epoch)
            total = total + feedback if counts else total
            terms |= parts
        return total, {**terms, "generator": total} if self._judging or not self.judges() else terms

    def _real_scores(self, network: nn.Module, real: Tensor) -> Tensor | None:
        """They add a number to the generator's loss, but no gradient: computed where the discriminators are trained."""
        if not self._judging:
            return None
        with torch.no_grad():
            scores: Tensor = network(real)
        return scores

    @property
    def _judging(self) -> bool:
        """Whether it is the discriminators' turn."""
        return self.iteration % self.config.discriminate_every == 0

    def _change_losses(self, found: Augmented) -> tuple[Tensor, Tensor]:
        """The limits on the changes of angles and lengths; 0 for what is switched off."""
        config, none = self.config, found.blr.new_zeros(())
        limit = losses.rectified_l2 if config.regulariser == "entry" else losses.mean_rectified_l2
        bent, stretched = "ba" in config.operations, "bl" in config.operations
        angle = losses.angle_loss(found.ba_diff, config.angle_change, config.angle_tolerance) if bent else none
        return angle, limit(found.blr, config.length_limit) if stretched else none

    def _feedback(
        self, lifter: nn.Module, batch: Pairs, found: Augmented, flat: Mapping[str, Tensor], epoch: int
    ) -> tuple[Tensor, Terms]:
        """How far the lifter's errors on bent and on placed poses are from the wanted hardness."""
        config = self.config
        with torch.no_grad():
            original = losses.part_losses(lifted(lifter, batch.keypoints, config.precision), batch.poses)
        total, terms = batch.poses.new_zeros(()), {"origin": original.mean()}
        poses = {"ba": found.pose_ba, "rt": found.pose_rt}
        for name, hardness in self.hardnesses().items():
            harder = losses.part_losses(lifted(lifter, flat[name], config.precision), poses[name])
            if config.feedback == "exponential":
                total = total + losses.exponential_feedback(harder, original, config.beta)
                continue
            cost, parts = losses.feedback(harder, original, hardness, epoch / config.epochs)
            total = total + cost
            terms |= {name: harder.mean(), **_named(name, parts)}
        return total, terms

    def hardnesses(self) -> dict[str, Hardness]:
        """How hard the poses of each operation shall be; those of BL are judged with RT's."""
        config = self.config
        ba = Hardness(*config.ba_ratio, config.ba_tolerance, config.ba_weight, config.ba_diversity)
        rt = Hardness(*config.rt_ratio, config.rt_tolerance, config.rt_weight, config.rt_diversity)
        return {name: each for name, each in (("ba", ba), ("rt", rt)) if name == "rt" or "ba" in config.operations}

    def _judge_step(self, name: str, real: Tensor, fake: Tensor) -> Terms:
        """One step of a discriminator."""
        network = self.networks()[name]
        real_scores, fake_scores = network(torch.cat([real, fake])).split([len(real), len(fake)])
        loss = discriminator_loss(real_scores, fake_scores)
        self._update(name, loss)
        return {name: loss.detach(), **_named(name, accuracies(real_scores, fake_scores))}

    def _update(self, name: str, loss: Tensor) -> None:
        update(self.networks()[name].parameters(), self.optimisers[name], loss, self.config.max_gradient)

    def set_rate(self, factor: float) -> None:
        """Multiply the learning rates by ``factor``."""
        for optimiser in self.optimisers.values():
            set_rate(optimiser, self.config.learning_rate * factor)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks().items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "pools": {name: pool.state() for name, pool in self.pools.items()},
            "iteration": self.iteration,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        for name, network in self.networks().items():
            network.load_state_dict(state["networks"][name])
            self.optimisers[name].load_state_dict(state["optimisers"][name])
        for name, pool in self.pools.items():
            pool.load(state["pools"][name])
        self.iteration = state["iteration"]


def adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    """Adam with the official betas, in one pass over the weights."""
    return torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of all its parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def update(
    parameters: Iterable[nn.Parameter], optimiser: torch.optim.Optimizer, loss: Tensor, max_gradient: float
) -> None:
    """Clip the gradients of ``loss`` to a norm, then step."""
    chosen = list(parameters)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(chosen, max_gradient)
    optimiser.step()


def lifter_loss(lifter: nn.Module, pairs: Pairs, precision: Precision = "fp32") -> Tensor:
    """Eq. 8: the mean squared error to the rooted poses, the root among them."""
    return nn.functional.mse_loss(lifted(lifter, pairs.keypoints, precision), rooted(pairs.poses))


def lifted(lifter: nn.Module, keypoints: Tensor, precision: Precision) -> Tensor:
    """The lifter's answer in float32; with "bf16" its matrix products are computed in bfloat16, its weights kept."""
    with torch.autocast(keypoints.device.type, torch.bfloat16, enabled=precision == "bf16"):
        pose: Tensor = lifter(keypoints)
    return pose.to(keypoints.dtype)


@contextmanager
def frozen_in_training(lifter: nn.Module) -> Iterator[None]:
    """The lifter in training mode, its weights without gradients; afterwards as it was."""
    before = lifter.training
    lifter.train()
    try:
        with _frozen(lifter):
            yield
    finally:
        lifter.train(before)


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Gradients pass through the network, but none are kept for its weights."""
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def _named(prefix: str, terms: Mapping[str, Tensor]) -> Terms:
    return {f"{prefix}_{name}": value.detach() for name, value in terms.items()}
