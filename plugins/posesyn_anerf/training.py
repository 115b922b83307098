"""Training a field on pictures of one person from known cameras.

As published: rays through the widened masks of random pictures, noise on densities, MSE (or L1) of the coarse and the
fine colours, Adam, a cutoff that sharpens (``posesyn_anerf.schedule``), poses that may be refined, held by an anchor.
Beside the weights ``NAME.safetensors`` lies ``NAME.checkpoint``, from which an interrupted training goes on; every draw
follows from the seed and the number of the step.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from posesyn_anerf.cameras import STORED, cylinders
from posesyn_anerf.config import TrainingOptions
from posesyn_anerf.field import Composite, Draws, Field, FieldSizes, Rays, render_rays
from posesyn_anerf.measuring import measured_reach
from posesyn_anerf.pictures import Pictures
from posesyn_anerf.posing import PoseLayer, anchor_loss, invert, rest_of, six_d_of
from posesyn_anerf.reach import WIDEST
from posesyn_anerf.schedule import temperature
from posesyn_anerf.weights import Person, write_field
from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import read_checkpoint, write_checkpoint
from posesyn_core.progress import progress
from posesyn_core.seeds import rng

Log = Callable[[str], None]
ANCHOR = 2.0
"""Weight of the loss that holds refined poses."""
POSE_RATE = 5e-4


@frozen(eq=False)
class Batch:
    """Rays with what they should show: ``target`` and ``behind`` (R, 3), colours 0..1 in front of, and of, what is
    behind the person; ``pose`` (R,)."""

    rays: Rays
    target: Tensor
    behind: Tensor
    pose: Tensor


class Training:
    """A field and, where poses are refined, their layer, with the optimisers."""

    def __init__(self, pictures: Pictures, options: TrainingOptions, unit: float) -> None:
        self.pictures, self.options, self.unit = pictures, options, unit
        sizes = FieldSizes(
            depth=options.depth, width=options.width, skip=options.depth // 2, single=options.single,
            point_frequencies=options.point_frequencies, view_frequencies=options.view_frequencies,
            frames=len(pictures.images) if options.codes else 0, codes=options.codes,
        )  # fmt: skip
        torch.manual_seed(options.seed)
        self.field = Field(sizes)
        self.optimizer = torch.optim.Adam(self.field.parameters(), lr=options.rate)
        self.kept, self.shown = split(pictures, options)
        self.reach = WIDEST * unit if options.skip else None
        frames = torch.from_numpy(np.linalg.inv(pictures.skts)).float()
        self.layer = refined(frames) if options.refine else None
        self.anchors = self.layer.rotations(torch.arange(len(frames))).detach() if self.layer else None
        self.pose_optimizer = torch.optim.Adam(self.layer.parameters(), lr=POSE_RATE) if self.layer else None

    def step(self, number: int) -> float:
        """One step; the loss."""
        options, generator = self.options, rng(self.options.seed, str(number), "anerf")
        share = number / max(options.steps - 1, 1)
        for group in self.optimizer.param_groups:
            group["lr"] = options.rate * options.last_rate**share
        torch.manual_seed(int(generator.integers(2**31)))
        batch = draw_rays(self.pictures, self.shown, options, generator)
        rays = self._refreshed(batch) if self.layer else batch.rays
        draws = draw_numbers(len(batch.target), options)
        self.field.train()
        rendered = render_rays(self.field, rays, options.coarse, options.fine, draws, reach=self.reach)
        loss = sum(self._loss(each, batch) for each in (rendered.fine, rendered.coarse))
        assert isinstance(loss, Tensor)
        if self.layer is not None and self.anchors is not None:
            loss = loss + ANCHOR * anchor_loss(self.layer, batch.pose.unique(), self.anchors)
        if not torch.isfinite(loss):
            raise UserError(f"the training loss is {float(loss)} at step {number}; lower --rate")
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.pose_optimizer is not None and (number + 1) % options.refine == 0:
            self.pose_optimizer.step()
            self.pose_optimizer.zero_grad(set_to_none=True)
        for encoding in (self.field.embed, self.field.embeddirs):
            encoding.tau.fill_(temperature(number + 1))
        return float(loss.detach())

    def _refreshed(self, batch: Batch) -> Rays:
        assert self.layer is not None
        frames = self.layer(batch.pose)
        around = torch.from_numpy(cylinders(frames[..., :3, 3].detach().numpy(), STORED)).float()
        return attrs.evolve(batch.rays, skts=invert(frames), cylinders=around)

    def _loss(self, seen: Composite, batch: Batch) -> Tensor:
        difference = seen.rgb + (1 - seen.acc[:, None]) * batch.behind - batch.target
        return difference.square().mean() if self.options.loss == "MSE" else difference.abs().mean()

    def state(self, done: int) -> dict[str, Any]:
        """What a checkpoint holds."""
        plain = {"done": done, "options": attrs.asdict(self.options), "field": self.field.state_dict()}
        plain["optimizer"] = self.optimizer.state_dict()
        if self.layer is not None and self.pose_optimizer is not None:
            plain |= {"poses": self.layer.state_dict(), "pose_optimizer": self.pose_optimizer.state_dict()}
        return plain

    def resume(self, path: Path) -> int:
        """Take up a checkpoint, if it is there; how many steps are done. UserError if it is of another training."""
        if not path.exists():
            return 0
        state = read_checkpoint(path)
        if state.get("options") != attrs.asdict(self.options):
            raise UserError(f"{str(path)!r} is of a training with other options: remove it, or choose another --out")
        self.field.load_state_dict(state["field"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.layer is not None and self.pose_optimizer is not None:
            self.layer.load_state_dict(state["poses"])
            self.pose_optimizer.load_state_dict(state["pose_optimizer"])
        return int(state["done"])


def train(
    pictures: Pictures, target: Path, options: TrainingOptions, person: Person, log: Log, half: bool = False
) -> Training:
    """Train a field and write it to ``target`` (safetensors), with its ``person``, ``half``: in float16. Goes on from a
    checkpoint there.

    UserError for a loss that is not finite, and for a checkpoint of other options.
    """
    if options.loss not in ("MSE", "L1"):
        raise UserError(f"--loss {options.loss!r} is neither 'MSE' nor 'L1'")
    training = Training(pictures, options, person.unit)
    checkpoint = target.with_suffix(".checkpoint")
    first, losses = training.resume(checkpoint), []
    with progress(target.stem, options.steps - first) as bar:
        for number in range(first, options.steps):
            losses.append(training.step(number))
            bar.advance()
            if (number + 1) % options.save_every == 0 or number + 1 == options.steps:
                log(f"step {number + 1}: loss {np.mean(losses):.5f}")
                losses.clear()
                write_checkpoint(training.state(number + 1), checkpoint)
    training.field.eval()
    reach = measured_reach(training.field, pictures.skts, person.unit, options.seed)
    person = attrs.evolve(person, coarse=options.coarse, fine=options.fine, reach=reach)
    write_field(training.field, person, target, half=half)
    return training


def split(pictures: Pictures, options: TrainingOptions) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The poses that are kept for measuring (drawn by the seed), and the pictures of the others.

    UserError if none is left to train on.
    """
    poses = len(pictures.skts)
    kept = held_out_poses(poses, options.held_out, options.seed)
    shown = pictures.of_poses(np.setdiff1d(np.arange(poses), kept))
    shown = shown[pictures.sampling[shown].any(axis=(1, 2))]
    if not len(shown):
        raise UserError("no picture shows the person: its masks are empty")
    return kept, shown


def held_out_poses(poses: int, share: float, seed: int) -> NDArray[np.intp]:
    """Which of so many poses a training with this ``seed`` does not see."""
    return np.sort(rng(seed, "held out", "anerf").permutation(poses)[: round(share * poses)])


def refined(frames: Tensor) -> PoseLayer:
    """The layer of the poses of joint frames (P, 24, 4, 4) -> world."""
    rest = rest_of(frames)[:1]
    return PoseLayer(frames[:, 0, :3, 3].clone(), six_d_of(frames), rest - rest[:, :1])


def draw_rays(
    pictures: Pictures, shown: NDArray[np.intp], options: TrainingOptions, generator: np.random.Generator
) -> Batch:
    """The rays of a step: from each of ``images`` pictures as many pixels of its mask."""
    chosen = generator.choice(shown, min(options.images, len(shown)), replace=False)
    counts = np.full(len(chosen), options.rays // len(chosen))
    counts[: options.rays - counts.sum()] += 1
    parts = [_pixels(pictures, at, count, generator) for at, count in zip(chosen, counts, strict=True) if count]
    picture = np.repeat(chosen, counts)
    rows, columns = (np.concatenate(each) for each in zip(*parts, strict=True))
    return batch_of(pictures, picture, rows, columns, options, generator)


def _pixels(
    pictures: Pictures, at: int, count: int, generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.nonzero(pictures.sampling[at])
    drawn = generator.integers(len(rows), size=count)
    return rows[drawn], columns[drawn]


def batch_of(
    pictures: Pictures,
    picture: NDArray[np.intp],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    options: TrainingOptions,
    generator: np.random.Generator | None = None,
) -> Batch:
    """The rays of pixels (R,) of pictures (R,), with their colours; with ``generator`` before random ones if wanted."""
    colour = pictures.images[picture, rows, columns] / 255
    behind = pictures.backgrounds[pictures.background[picture], rows, columns] / 255
    if options.random_background and generator is not None:
        other = generator.random(behind.shape)
        share = pictures.masks[picture, rows, columns][:, None] / 255
        colour, behind = colour + (1 - share) * (other - behind), other
    pixels = np.stack([columns, rows], axis=-1)
    inside = (pixels - pictures.centre[picture]) / pictures.focal[picture]
    directions = np.column_stack([inside[:, 0], -inside[:, 1], -np.ones(len(inside))])
    c2w, of = pictures.c2w[picture], pictures.pose[picture]
    turned = np.einsum("rab,rb->ra", c2w[:, :3, :3], directions)
    numbers = (c2w[:, :3, 3], turned, pictures.skts[of], pictures.cylinders[of], colour, behind)
    origins, directions_, skts, around, target, back = (torch.from_numpy(np.asarray(n, np.float32)) for n in numbers)
    frames = torch.from_numpy(picture)[:, None] if options.codes else None
    return Batch(Rays(origins, directions_, skts, around, frames), target, back, torch.from_numpy(of))


def draw_numbers(rays: int, options: TrainingOptions) -> Draws:
    """The random numbers of a step, from torch's generator."""
    coarse, fine = options.coarse, options.fine
    return Draws(
        torch.rand(rays, coarse),
        torch.rand(rays, fine),
        options.noise * torch.randn(rays, coarse),
        options.noise * torch.randn(rays, coarse + fine),
    )
