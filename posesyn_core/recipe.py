"""A run's recipe: TOML in, checked attrs classes out, with errors that name the key.

Every variant of the method is one key here: what is mined (``score.method``, ``score.labels``, ``eem``), what the
motion is guided by (``synthesize.guidance``), what animates (``animator.name``), what is kept (``filter.tau``), how
the estimator is trained (``finetune.from_scratch``).
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import attrs
import cattrs
from attrs import Factory, field, frozen

from posesyn_core.components import Kind, kind_of
from posesyn_core.contracts.options import OptionError, option
from posesyn_core.contracts.sections import Animate, Evaluate, ExecutorChoice, Export, Machine, Score, Synthesize
from posesyn_core.contracts.structuring import (
    abridged,
    explain,
    strict_converter,
    strict_tuple,
    strictly,
    strictly_float,
)
from posesyn_core.errors import UserError
from posesyn_core.files.reading import read_text, reason_of


@frozen
class EngineChoice:
    """Which engine runs a network."""

    name: str = option("torch", "engine component: torch, compile, or one of an engine plugin")
    options: Mapping[str, Any] = Factory(dict)
    tolerance: float | None = option(
        None,
        "how far it may be from eager torch: mm for an estimator, else per cent; unset: see inference.verification",
        above=0,
    )

    @property
    def choice(self) -> "Choice":
        """The engine as any other component."""
        return Choice(self.name, self.options)


@frozen
class Choice:
    """A component by name with its options (all other keys of its recipe section).

    ``label`` is what tables and file names call it.
    """

    name: str
    options: Mapping[str, Any] = Factory(dict)
    engine: EngineChoice = Factory(EngineChoice)
    label: str = field(default=Factory(lambda self: self.name, takes_self=True))


@frozen
class Source(Choice):
    """A data set to train on; batches draw from it by its ``weight`` among all, if it has one."""

    weight: float | None = None


Steps = int | Literal["default"]


@frozen
class Finetune:
    """Training the estimator on real and synthesised frames.

    What is unset is taken from the estimator (``posesyn_core.contracts.training.TrainingDefaults``).
    """

    steps: Steps = option(
        0, "optimiser steps; 0 = no fine-tuning; 'default' = as many as the estimator's training defaults say", least=0
    )
    batch_size: int | None = option(
        None, "frames in a batch; unset = the estimator's own, else 32", least=1, most=1_000_000
    )
    accumulate: int = option(1, "batches in a step, their gradients averaged", least=1, most=1_000_000)
    ratio: float = option(0.5, "share of synthesised frames in a batch", least=0, most=1)
    learning_rate: float | None = option(
        None, "peak learning rate; unset = the estimator's own, else 1e-4", above=0, most=10
    )
    decay: Literal["cosine", "constant", "steps"] | None = option(
        None, "how the learning rate goes on after the warm-up; unset = as the estimator's own, else 'cosine'"
    )
    milestones: tuple[float, ...] | None = option(
        None,
        "with decay = 'steps': shares of the training after which the learning rate is a tenth; unset = its own",
        least=0,
        below=1,
    )
    weight_decay: float | None = option(None, "AdamW's weight decay; unset = the estimator's own, else 0", least=0)
    warm_up: float | None = option(
        None, "share of the steps in which the learning rate rises; unset = its own, else 0.05", least=0, below=1
    )
    betas: tuple[float, float] | None = option(
        None, "Adam's betas; unset = its own, else [0.9, 0.999]", least=0, below=1
    )
    max_gradient: float | None = option(
        None, "largest norm of the gradients, which are clipped to it; 0 = not; unset = its own, else 10", least=0
    )
    clip: Literal["all", "each"] | None = option(
        None, "of all gradients together, or of each tensor's; unset = its own, else 'all'"
    )
    mode: Literal["train", "frozen"] | None = option(
        None,
        "'train': BatchNorm, dropout and drop path alive; 'frozen': as at inference; unset = its own, else 'frozen'; "
        "from scratch it is always 'train'",
    )
    start_share: float = option(
        0.0, "share that the weights before the training have in those that it leaves: less is forgotten (WiSE-FT)",
        least=0, below=1,
    )  # fmt: skip
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "bf16 and fp16: mixed precision")
    sharded: bool = option(
        False, "divide weights, gradients and the optimiser's state between the processes (FSDP): for large networks"
    )
    validate_every: int = option(100, "steps between validations, if the recipe has [validation]", least=1)
    patience: int = option(0, "stop after so many validations without a better one; 0 = never", least=0)
    tensorboard: bool = option(False, "write TensorBoard curves beside the weights")
    augmenter: Choice | None = option(
        None, "what makes the batches online, epoch by epoch, in place of random draws from the frames"
    )
    from_scratch: bool = option(False, "start from untrained weights of the same size instead (Table 4, FS)")
    real_only: bool = option(True, "also train on the real data alone for as many steps, for comparison")

    def __attrs_post_init__(self) -> None:
        """OptionError for settings that contradict each other."""
        if self.from_scratch and self.mode == "frozen":
            raise OptionError("mode", "must be 'train' from scratch: an untrained network learns nothing frozen")
        if self.from_scratch and self.start_share:
            raise OptionError("start_share", "must be 0 from scratch: untrained weights have nothing to keep")


@frozen
class Recipe:
    """Everything that determines a run."""

    dataset: Choice = field(metadata={"doc": "the images to mine: a reader"})
    name: str = option("run", "shown in the report")
    seed: int = option(0, "seed of every random draw", least=0, any_size=True)
    body: str = option("", "the SMPL file (.npz or official .pkl) of every stage; empty = the free body")
    h36m_regressor: str = option("", "J_regressor_h36m.npy: Human3.6M's joints from SMPL's mesh, for tests that use it")
    neighbours: Literal["seen", "masked"] = option(
        "seen", "other people in a picture: as they are, or hidden from estimators as far as labels tell where they are"
    )
    estimator: Choice = option(Choice("starter"), "the estimator that is improved")
    eem: Choice | None = option(None, "another estimator for EEM than the one that is improved (Table 4)")
    labeller: Choice | None = option(
        None, "with score.labels = 'estimated_...': a 2D keypoint estimator, or another TPE"
    )
    captioner: Choice = option(Choice("posecode"), "what describes the hard images")
    motion: Choice = option(Choice("t2mgpt"), "what generates motions from descriptions and poses")
    reference: Choice | None = option(
        None, "another estimator for the bodies of the reference people than the scoring one (paper: HMR 2.0)"
    )
    reference_dataset: Choice | None = option(
        None, "[reference.dataset]: a reader of other pictures whose people are the references, not the easy samples"
    )
    animator: Choice = option(Choice("reprojection"), "what draws the reference people in motion")
    filter: Choice = option(Choice("tpe_error"), "what decides which frames are kept")
    further_filters: tuple[Choice, ...] = option((), "the second [[filter]] and any more: a frame must pass all")
    real: tuple[Source, ...] = option(
        (), "real training data: readers of 3D or 2D labels; with a 'weight' each, batches draw from them by it"
    )
    validation: Choice | None = option(None, "data with 3D truth that decides which weights a training keeps: a reader")
    test: tuple[Choice, ...] = option((), "held-out data with truth: reader components, each named by its key 'label'")
    rounds: int = option(
        1, "how often to mine and train: each further round starts from the better estimator", least=1, most=1_000
    )
    score: Score = Factory(Score)
    synthesize: Synthesize = Factory(Synthesize)
    animate: Animate = Factory(Animate)
    export: Export = Factory(Export)
    finetune: Finetune = Factory(Finetune)
    evaluate: Evaluate = Factory(Evaluate)
    machine: Machine = Factory(Machine)
    executor: ExecutorChoice = Factory(ExecutorChoice)

    @property
    def filters(self) -> tuple[Choice, ...]:
        """All filters, each of which a frame must pass."""
        return self.filter, *self.further_filters

    @property
    def body_file(self) -> Path | None:
        """The SMPL file, or None for the free body."""
        return Path(self.body).expanduser() if self.body else None

    def filter_sections(self) -> list[str]:
        """What messages call the sections of the filters."""
        return ["filter", *(f"filter.{choice.label}" for choice in self.further_filters)]

    def choices(self) -> list[tuple[Kind, Choice, str]]:
        """Every component that the recipe names: its kind, the choice, and the section that it stands in."""
        engines: list[tuple[Choice | None, str]] = [(getattr(self, name), name) for name in SECTIONS_WITH_ENGINES]
        found = [
            (Kind.READER, self.dataset, "dataset"),
            (Kind.READER, self.validation, "validation"),
            *((Kind.READER, choice, f"test.{at}") for at, choice in enumerate(self.test)),
            *((Kind.READER, choice, f"real.{at}") for at, choice in enumerate(self.real)),
            (Kind.ESTIMATOR, self.estimator, "estimator"),
            (Kind.ESTIMATOR, self.eem, "eem"),
            (Kind.AUGMENTER, self.finetune.augmenter, "finetune.augmenter"),
            (Kind.CAPTIONER, self.captioner, "captioner"),
            (Kind.MOTION, self.motion, "motion"),
            (Kind.ESTIMATOR, self.reference, "reference"),
            (Kind.READER, self.reference_dataset, "reference.dataset"),
            (Kind.ANIMATOR, self.animator, "animator"),
            *((Kind.FILTER, choice, where) for choice, where in zip(self.filters, self.filter_sections(), strict=True)),
            *((Kind.WRITER, Choice(name), "export.formats") for name in self.export.formats),
            *((Kind.ENGINE, choice.engine.choice, f"{name}.engine") for choice, name in engines if choice),
        ]
        return [(kind, choice, where) for kind, choice, where in found if choice is not None]


SECTIONS_WITH_ENGINES = ("estimator", "eem", "labeller", "motion", "reference", "animator")


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply ``section.key=value`` overrides.

    Raises UserError naming the file and the key if it can't be read, has an unknown key or a value of wrong type.
    """
    return parse_recipe(read_text(path, "recipe"), overrides, str(path))


def parse_recipe(text: str, overrides: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """As :func:`load_recipe`, from TOML text."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, a number or a nesting beyond Python's limits
        hint = "; a path with backslashes stands in 'single quotes', or with forward slashes" if "\\" in text else ""
        raise UserError(f"{where} is not valid TOML: {reason_of(error)}{hint}") from error
    for override in overrides:
        _override(data, override)
    if isinstance(filters := data.get("filter"), list) and filters:
        data["filter"], data["further_filters"] = filters[0], filters[1:]
        for further in filters[1:]:
            if isinstance(further, dict):
                further.setdefault("name", _DEFAULTS["filter"])
    if isinstance(section := data.get("reference"), dict) and "dataset" in section:
        data["reference_dataset"] = section.pop("dataset")
        data |= {} if section else {"reference": None}
    for attribute in attrs.fields(Recipe):  # a section that only sets options means the default component
        section = data.get(attribute.name)
        if isinstance(attribute.default, Choice) and isinstance(section, dict):
            section.setdefault("name", attribute.default.name)
    return structure(data, Recipe, where)


def settings_of(overrides: Sequence[str]) -> dict[str, Any]:
    """``key=value`` settings of one component as its options; values are TOML, or plain strings where they are not."""
    data: dict[str, Any] = {}
    for override in overrides:
        _override(data, override)
    return data


def _override(data: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value``; the value is TOML, or a plain string where it is not."""
    name, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"--set {override!r} must have the form section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # as in ``parse_recipe``
        value = text
    *sections, last = name.strip().split(".")
    for section in sections:
        data = _section(data, section, override)
    data[last] = value


def _section(data: dict[str, Any], name: str, override: str) -> dict[str, Any]:
    """The section of that name, made if it is missing; of several components in one section, that of ``NAME.LABEL``."""
    if isinstance(data.get(name), str):  # a component by its name alone
        data[name] = {"name": data[name]}
    found = data.setdefault(name, {})
    if isinstance(found, list) and all(isinstance(part, dict) for part in found):
        return _Several((str(part.get("label", part.get("name", _DEFAULTS.get(name)))), part) for part in found)
    if not isinstance(found, dict):
        raise UserError(f"--set {override!r}: {name!r} is not a section")
    return found


_DEFAULTS = {"filter": "tpe_error"}
"""What a component without a name is, in sections that may have several."""


class _Several(dict[str, Any]):
    """Components of one section by their labels, of which a setting must name one."""

    def __setitem__(self, key: str, value: Any) -> None:
        raise UserError(f"the section has several components: name one of {', '.join(self)} before the key {key!r}")

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The component; UserError if there is none of that name."""
        if key not in self:
            raise UserError(f"the section has no component {key!r}, but {', '.join(self)}")
        return self[key]


def structure(data: Mapping[str, Any], cls: type, where: str) -> Any:
    """Make an attrs class from plain data, strictly: UserError naming ``where`` and the key."""
    try:
        return _converter().structure(data, cls)
    except cattrs.BaseValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from error
    except (UserError, ValueError, TypeError) as error:
        raise UserError(f"{where}: {error}") from error


def unstructure(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data, in the layout of its TOML file."""
    data = _without_unset(_converter().unstructure(recipe))
    if further := data.pop("further_filters"):
        data["filter"] = [data["filter"], *further]
    return {name: value for name, value in data.items() if value != []}


def _without_unset(data: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no word for None."""
    return {
        name: _without_unset(value) if isinstance(value, Mapping) else value
        for name, value in data.items()
        if value is not None
    }


@cache
def _converter() -> cattrs.Converter:
    """Made once: it learns how to take classes apart, which takes ten times as long as doing it."""
    converter = strict_converter()
    converter.register_structure_hook_func(
        lambda cls: cls in (tuple[Choice, ...], tuple[Source, ...]),  # a single component needs no list
        lambda value, cls: strict_tuple(converter, [value] if isinstance(value, Mapping) else value, cls),
    )
    converter.register_structure_hook(Steps, lambda value, _: value if value == "default" else strictly(value, int))
    converter.register_structure_hook_func(lambda cls: cls is Choice, _choice)
    converter.register_structure_hook_func(lambda cls: cls is Source, _source)
    converter.register_structure_hook(Choice | None, lambda value, _: None if value is None else _choice(value, Choice))
    converter.register_structure_hook_func(  # a component that another one's config names: the registry makes it
        lambda cls: kind_of(cls) is not None, lambda value, _: None if value is None else _choice(value, Choice)
    )
    converter.register_unstructure_hook(Choice, _plain_choice)
    converter.register_unstructure_hook(Source, _plain_choice)
    return converter


def _choice(value: Any, _: Any) -> Choice:
    if isinstance(value, str):
        return Choice(value)
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a section with a name, not {abridged(value)}")
    options = dict(value)
    if "name" not in options:
        raise ValueError("needs the key 'name' (which component)")
    name = strictly(options.pop("name"), str)
    engine = options.pop("engine", {})
    engine = {"name": engine} if isinstance(engine, str) else engine
    if not isinstance(engine, Mapping):
        raise TypeError(f"has an 'engine' that is neither a name nor a section: {engine!r}")
    engine = dict(engine)
    engine_name = strictly(engine.pop("name", EngineChoice().name), str)
    tolerance = strictly_float(engine.pop("tolerance")) if "tolerance" in engine else None
    label = strictly(options.pop("label", name), str)
    return Choice(name, options, EngineChoice(engine_name, engine, tolerance), label)


def _source(value: Any, kind: Any) -> Source:
    options = dict(value) if isinstance(value, Mapping) else value
    weight = strictly_float(options.pop("weight")) if isinstance(options, dict) and "weight" in options else None
    if weight is not None and not 0 < weight < math.inf:
        raise ValueError(f"weight must be a number above 0, not {weight:g}")
    choice = _choice(options, kind)
    return Source(choice.name, choice.options, choice.engine, choice.label, weight)


def _plain_choice(choice: Choice) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": choice.name, **choice.options}
    if choice.engine != EngineChoice():
        plain["engine"] = {"name": choice.engine.name, **choice.engine.options}
        if choice.engine.tolerance is not None:
            plain["engine"]["tolerance"] = choice.engine.tolerance
    if choice.label != choice.name:
        plain["label"] = choice.label
    if isinstance(choice, Source) and choice.weight is not None:
        plain["weight"] = choice.weight
    return plain
