"""Training a generator against an estimator, exact to resume; everything in one folder.

The folder gets ``metrics.jsonl`` (a line per epoch), ``weights.safetensors`` (the generator) and ``checkpoint.pt``
(networks, optimisers, pools). What an epoch draws depends on the seed and its number alone. The networks never leave
training mode, as in the released code; poses are drawn in evaluation mode, so that each depends on its own noise alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, fields, frozen
from torch import Tensor

from posesyn_core.body.model import Body
from posesyn_core.components import kind_of
from posesyn_core.errors import UserError
from posesyn_core.files.checkpoints import read_checkpoint, write_checkpoint
from posesyn_core.files.paths import write_atomic
from posesyn_core.progress import progress
from posesyn_core.seeds import rng, seed_of
from posesyn_core.training.adversarial import linear_rate
from posesyn_posegen.config import PoseGenConfig
from posesyn_posegen.model import Discriminator2d, Discriminator3d, Generator, PoseGen, StepOptions, draw_noise
from posesyn_posegen.people import Data, read_data
from posesyn_posegen.views import Views
from posesyn_posegen.weights import save_generator

CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "weights.safetensors"
PUBLISHED_EPOCHS = 4
"""Of the released code's rule for learning rates, whatever the training's length."""
NOT_TRAINED = ("weights", "folder", "body")
Line = dict[str, Any]


@frozen(eq=False)
class Training:
    """A generator in training; :meth:`epoch` passes once over the real poses."""

    config: PoseGenConfig
    data: Data
    body: Body
    views: Views | None
    gan: PoseGen

    @classmethod
    def of(cls, config: PoseGenConfig, body: Body) -> "Training":
        """As the config says, with random weights. UserError naming the option that is missing."""
        data, views = read_data(config, body), None
        if config.feedback != "none":
            if config.estimator is None or config.animator is None:
                part = "estimator" if config.estimator is None else "animator"
                raise UserError(f"PoseGen's feedback needs {part!r}: name one, or set feedback to 'none'")
            views = Views(config.estimator, config.animator, data.people, body, config.feedback, config.camera)
        options = StepOptions(
            config.learning_rate, feedback=config.feedback_weight, judge_root=config.judge_root and config.camera
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(config.seed, "networks", "posegen"))
            d2d = None if data.flat is None else Discriminator2d()
            gan = PoseGen(Generator(), Discriminator3d(config.channels, config.middle), d2d, options)
        return cls(config, data, body, views, gan)

    def epoch(self, number: int) -> dict[str, float]:
        """Epoch 1, 2, ...; the means of its losses, and the estimator's error on the poses that were drawn."""
        if self.config.rate_rule != "constant":
            epochs = PUBLISHED_EPOCHS if self.config.rate_rule == "published" else self.config.epochs
            self.gan.set_rate(linear_rate(number, epochs))
        terms: dict[str, list[Tensor]] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.config.seed, str(number), "posegen"))
            order = torch.randperm(len(self.data.poses))
            batches = order[: len(order) // self.config.batch_size * self.config.batch_size]
            for at, index in enumerate(batches.split(self.config.batch_size)):
                for name, value in self._step(number, at, self.data.poses[index]).items():
                    terms.setdefault(name, []).append(value)
        means = {name: float(torch.stack(values).mean()) for name, values in terms.items()}
        if self.views is not None and self.views.errors:
            means["error_mm"] = sum(self.views.errors) / len(self.views.errors)
            self.views.errors.clear()
        return means

    def _step(self, number: int, at: int, real: Tensor) -> dict[str, Tensor]:
        config, count = self.config, len(real)
        noise = draw_noise(config.prior, count, self.gan.generator.sizes.noise)
        flat = None
        if self.data.flat is not None:
            flat = self.body.rest_template, self.data.flat[torch.randint(len(self.data.flat), (count,))]
        views = self.views
        if views is None or number < config.feedback_from or at % config.feedback_every:
            return self.gan.step(noise, real, flat=flat)
        random = rng(config.seed, f"{number}/{at}", "posegen")
        return self.gan.step(noise, real, lambda poses: views(poses, random, config.feedback_poses), flat)

    def arguments(self) -> dict[str, Any]:
        """What a folder's training depends on, as plain data; components by what they say of themselves."""
        given = {
            field.name: getattr(self.config, field.name)
            for field in fields(PoseGenConfig)
            if field.name not in NOT_TRAINED and kind_of(field.type) is None
        }
        for name in ("estimator", "animator"):
            part = getattr(self.config, name)
            given[name] = None if part is None else f"{type(part).__name__} {_options(part)}"
        given["real poses"] = f"{len(self.data.poses)}, {float(self.data.poses.abs().sum()):.6g}"
        plain: dict[str, Any] = json.loads(json.dumps(given))
        return plain


def train(training: Training, folder: Path) -> list[Line]:
    """Train, or go on where an interrupted call left off; the metrics of every epoch.

    UserError if the folder holds a training with other arguments, or if the weights are no longer numbers.
    """
    arguments, epochs = training.arguments(), training.config.epochs
    folder.mkdir(parents=True, exist_ok=True)
    lines = _resume(training, folder, arguments)
    with progress("PoseGen", epochs) as shown:
        shown.advance(len(lines))
        for number in range(len(lines) + 1, epochs + 1):
            terms = training.epoch(number)
            if not all(torch.isfinite(weight).all() for weight in training.gan.generator.parameters()):
                raise UserError(f"the generator's weights are no numbers after epoch {number}: lower the learning rate")
            lines.append({"epoch": number, **terms})
            _save(training, folder, arguments, lines)
            shown.advance()
    return lines


def _options(part: Any) -> str:
    """A component's options, if it keeps them as ``config`` as ours do."""
    config = getattr(part, "config", None)
    try:
        plain = asdict(config, filter=lambda field, _: field.name not in ("device", "batch")) if config else {}
    except Exception:  # a foreign config may be anything
        return ""
    return json.dumps(plain, sort_keys=True, default=lambda it: type(it).__name__)


def _save(training: Training, folder: Path, arguments: Mapping[str, Any], lines: list[Line]) -> None:
    write_atomic(folder / METRICS, "".join(json.dumps(line) + "\n" for line in lines))
    note = {"made": f"{len(lines)} epochs, feedback {training.config.feedback}, prior {training.config.prior}"}
    save_generator(training.gan.generator, folder / WEIGHTS, note)
    content = {"arguments": json.dumps(arguments), "epochs": len(lines), **training.gan.state()}
    write_checkpoint(content, folder / CHECKPOINT)


def _resume(training: Training, folder: Path, arguments: Mapping[str, Any]) -> list[Line]:
    """Take up the folder's checkpoint if there is one; the lines of the epochs that it has seen."""
    path = folder / CHECKPOINT
    if not path.exists():
        return []
    state = read_checkpoint(path)
    if not isinstance(state, dict) or not {"arguments", "epochs", "networks", "optimisers", "pools"} <= set(state):
        raise UserError(f"{str(path)!r} is no checkpoint of PoseGen's training; delete it or use another folder")
    before = json.loads(state["arguments"])
    changed = [name for name, value in arguments.items() if before.get(name) != value]
    if changed:
        raise UserError(f"{str(folder)!r} holds a training with another {changed[0]}; delete it or use another folder")
    training.gan.load(state)
    return [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()[: state["epochs"]]]
