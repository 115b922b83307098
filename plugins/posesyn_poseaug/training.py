"""Training of lifters on whole arrays of poses: alone, and with PoseAug; exact to resume, everything in one folder.

The folder gets ``metrics.jsonl`` (a line per epoch: losses, and the errors on every test set), ``weights.safetensors``
(those of the last epoch), ``checkpoint.pt`` and, of PoseAug, ``poses.jpg`` and ``spread.jpg``. What an epoch draws
depends on the seed and its number alone.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, frozen
from torch import Tensor, nn

from posesyn_core.errors import UserError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import atomic_path, write_atomic
from posesyn_core.progress import progress
from posesyn_core.seeds import seed_of
from posesyn_core.training.adversarial import linear_rate
from posesyn_poseaug.augmentor import Augmentor, Pairs, adam, lifter_loss, set_rate, update
from posesyn_poseaug.config import PoseAugConfig
from posesyn_poseaug.epochs import batches_of, exchange_lengths, gan_epoch
from posesyn_poseaug.figures import pose_sheet, spread_sheet
from posesyn_poseaug.measure import measure
from posesyn_poseaug.poses import PoseSet, templates_of
from posesyn_poseaug.schedules import pretraining_rate
from posesyn_poseaug.weights import save_network

CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "weights.safetensors"
MAX_GRADIENT = 1.0
Line = dict[str, Any]


@frozen
class Schedule:
    """How long and fast a lifter is trained, and in batches of how many poses."""

    epochs: int
    rate: float
    batch_size: int = 1024


@frozen(eq=False)
class Data:
    """What is trained and measured on; ``extra_2d`` (M, 16, 2) are 2D poses for PoseAug's 2D discriminator alone."""

    poses: PoseSet
    tests: Mapping[str, PoseSet]
    joint_set: str
    templates: Tensor | None = None
    extra_2d: Tensor | None = None

    @property
    def pairs(self) -> Pairs:
        """The training poses as they are."""
        return Pairs(self.poses.poses, self.poses.keypoints, self.poses.known_cameras)


class Training:
    """A lifter trained epoch by epoch: with ``config``, by PoseAug, which every epoch passes over all poses first."""

    def __init__(
        self, lifter: nn.Module, data: Data, schedule: Schedule, seed: int, config: PoseAugConfig | None = None
    ) -> None:
        """``schedule.rate`` falls as PoseAug's does with a config, and as that of a lifter's own training without."""
        self.lifter, self.data, self.schedule, self.seed, self.config = lifter, data, schedule, seed, config
        self.optimiser = adam(lifter, schedule.rate)
        self.steps, self.exchanged = 0, data.poses.poses
        self.augmentor: Augmentor | None = None
        self.latest: tuple[Pairs, Pairs] | None = None
        if config is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(seed, "generator", "poseaug"))
                self.augmentor = Augmentor(config)
            self.templates = templates_of(data.poses) if data.templates is None else data.templates

    def epoch(self, number: int) -> dict[str, float]:
        """Epoch 1, 2, ...; returns its losses."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, str(number), "poseaug"))
            if self.augmentor is None or self.config is None:
                return {"loss": self._lift(self.data.pairs, None)}
            return self._augmented_epoch(self.augmentor, self.config, number)

    def _augmented_epoch(self, augmentor: Augmentor, config: PoseAugConfig, number: int) -> dict[str, float]:
        factor = linear_rate(number, self.schedule.epochs)
        augmentor.set_rate(factor)
        original = self.data.pairs
        pairs = Pairs(self.exchanged, original.keypoints, original.cameras)
        if config.swap_lengths:
            pairs = exchange_lengths(pairs, self.templates)
            self.exchanged = pairs.poses
        made, terms = gan_epoch(augmentor, self.lifter, pairs, number, self.data.extra_2d)
        self.latest = original, made
        terms["kept"] = len(made) / len(pairs)
        if number > config.warm_up:
            if len(made):
                terms["augmented_loss"] = self._lift(made, factor)
            terms["loss"] = self._lift(original, factor)
        return terms

    def _lift(self, pairs: Pairs, factor: float | None) -> float:
        """One pass of the lifter over ``pairs``; the learning rate times ``factor``, or as in its own training."""
        self.lifter.train()
        precision = "fp32" if self.config is None else self.config.precision
        total, count = 0.0, 0
        for batch in batches_of(pairs, self.schedule.batch_size):
            self.steps += 1
            rate = pretraining_rate(self.schedule.rate, self.steps) if factor is None else self.schedule.rate * factor
            set_rate(self.optimiser, rate)
            loss = lifter_loss(self.lifter, batch, precision)
            update(self.lifter.parameters(), self.optimiser, loss, MAX_GRADIENT)
            total, count = total + float(loss.detach()) * len(batch), count + len(batch)
        return total / max(count, 1)

    def measure(self) -> dict[str, dict[str, float]]:
        """The errors on every test set."""
        return {name: measure(self.lifter, poses) for name, poses in self.data.tests.items()}

    def sound(self) -> bool:
        """Whether all weights and statistics are numbers, of the lifter and of what augments for it."""
        networks = [self.lifter, *({} if self.augmentor is None else self.augmentor.networks()).values()]
        return all(torch.isfinite(value).all() for network in networks for value in network.state_dict().values())

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "lifter": self.lifter.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            **({} if self.augmentor is None else {"augmentor": self.augmentor.state(), "exchanged": self.exchanged}),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.lifter.load_state_dict(state["lifter"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]
        if self.augmentor is not None:
            self.augmentor.load(state["augmentor"])
            self.exchanged = state["exchanged"]


def run(training: Training, folder: Path, label: str) -> list[Line]:
    """Train, or go on where an interrupted call left off; the metrics of every epoch, epoch 0 being before the first.

    UserError if the folder holds a training with other arguments, or if the loss is no longer a number.
    """
    arguments = _arguments(training)
    lines = _resume(training, folder, arguments)
    if not lines:
        lines = [{"epoch": 0, "tests": training.measure()}]
    with progress(label, training.schedule.epochs) as shown:
        shown.advance(len(lines) - 1)
        for number in range(len(lines), training.schedule.epochs + 1):
            terms = training.epoch(number)
            if not training.sound():
                raise UserError(f"{label}: the weights are no numbers after epoch {number}: lower the learning rate")
            lines.append({"epoch": number, **terms, "tests": training.measure()})
            _save(training, folder, arguments, lines)
            shown.advance()
    if training.latest is not None:
        for name, picture in (("poses", pose_sheet), ("spread", spread_sheet)):
            write_atomic(folder / f"{name}.jpg", encode_jpeg(picture(*training.latest)))
    if not (folder / WEIGHTS).exists():
        _save(training, folder, arguments, lines)
    return lines


def _arguments(training: Training) -> dict[str, Any]:
    """What a folder's training depends on, as plain data."""
    config = None if training.config is None else asdict(training.config)
    given = {
        "schedule": asdict(training.schedule),
        "seed": training.seed,
        "poseaug": config,
        "poses": len(training.data.poses),
        "name": training.data.poses.name,
    }
    plain: dict[str, Any] = json.loads(json.dumps(given))
    return plain


def _save(training: Training, folder: Path, arguments: Mapping[str, Any], lines: Sequence[Line]) -> None:
    write_atomic(folder / METRICS, "".join(json.dumps(line) + "\n" for line in lines))
    save_network(training.lifter, folder / WEIGHTS, training.data.joint_set)
    content = {"arguments": json.dumps(arguments), "epochs": len(lines), **training.state()}
    with atomic_path(folder / CHECKPOINT) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def _resume(training: Training, folder: Path, arguments: Mapping[str, Any]) -> list[Line]:
    """Take up the folder's checkpoint if there is one; the lines of the epochs that it has seen."""
    if not (folder / CHECKPOINT).exists():
        return []
    state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    before = json.loads(state["arguments"])
    changed = [name for name, value in arguments.items() if before.get(name) != value]
    if changed:
        raise UserError(f"{str(folder)!r} holds a training with another {changed[0]}; delete it or use another folder")
    training.load(state)
    return [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()[: state["epochs"]]]
