"""The stages in order, and what each is made from: earlier stages and keys of the recipe; hence what a change costs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from posesyn_core.recipe import SECTIONS_WITH_ENGINES, Choice, EngineChoice, Recipe, unstructure

RECIPE = "recipe.toml"
"""The file by which a run folder is told from others."""
STAGES = (
    "score",
    "select",
    "caption",
    "synthesize",
    "animate",
    "filter",
    "export",
    "finetune",
    "evaluate",
    "report",
)
"""A run's stages in order."""

BUILDS_ON: Mapping[str, Sequence[str]] = {
    "score": (),
    "select": ("score",),
    "caption": ("select",),
    "synthesize": ("select", "caption"),
    "animate": ("select", "synthesize"),
    "filter": ("animate",),
    "export": ("filter",),
    "finetune": ("filter",),
    "evaluate": ("finetune",),
}
"""The stages whose results a stage reads; the report reads all."""

USES: Mapping[str, Sequence[str]] = {
    "score": ("dataset", "estimator", "eem", "labeller", "score.labels", "score.min_weight", "body", "neighbours"),
    "select": ("score.hard", "score.easy", "score.method", "seed", "body"),
    "caption": ("captioner", "body"),
    "synthesize": ("motion", "synthesize", "seed", "body"),
    "animate": ("animate", "animator", "reference", "reference_dataset", "score.easy", "estimator", "seed", "body"),
    "filter": ("filter", "further_filters"),
    "export": ("export", "body"),
    "finetune": ("finetune", "real", "validation", "estimator", "seed", "body", "neighbours"),
    "evaluate": ("evaluate", "test", "estimator", "h36m_regressor", "body", "neighbours"),
}
"""The recipe's sections and keys that a stage's results depend on.

``machine`` and engines change none, and the clips of ``animate`` are judged anew by ``filter`` if its section changes.
"""

ENGINE_OF_STAGE: Mapping[str, tuple[str, ...]] = {
    "score": ("eem", "estimator"),
    "synthesize": ("motion",),
    "animate": ("estimator", "reference"),
    "evaluate": ("estimator",),
    "run": ("estimator", "eem", "reference"),
}
"""Whose engine ``--engine`` and ``--precision`` choose, on the command of a stage or of the whole run. An animator's is
chosen by its section alone: most have no network to take over."""


def with_engine(recipe: Recipe, stage: str, name: str | None, precision: str | None) -> Recipe:
    """The recipe with another engine (and its default options) or precision for the networks of a stage."""
    changed: dict[str, Any] = {}
    for section in ENGINE_OF_STAGE.get(stage, ()):
        choice: Choice | None = getattr(recipe, section)
        if choice is None or (name is None and precision is None):
            continue
        engine = choice.engine if name is None else EngineChoice(name, tolerance=choice.engine.tolerance)
        if precision is not None:
            engine = attrs.evolve(engine, options={**engine.options, "precision": precision})
        changed[section] = attrs.evolve(choice, engine=engine)
    return attrs.evolve(recipe, **changed)


def without_engines(data: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as plain data less its engines, which run the same networks and may change in a run."""
    sections = {name: dict(value) if isinstance(value, Mapping) else value for name, value in data.items()}
    for name in SECTIONS_WITH_ENGINES:
        if isinstance(sections.get(name), dict):
            sections[name].pop("engine", None)
    return sections


def settings_of(recipe: Recipe, stage: str) -> dict[str, Any]:
    """What ``stage`` uses of the recipe, as far as it is not the default: by key, as plain data."""
    data, default = (_flat(unstructure(one)) for one in (recipe, Recipe(Choice(""))))
    used = {name: value for name, value in data.items() if uses(stage, name) and default.get(name) != value}
    return json.loads(json.dumps(used))


def differences(before: Recipe, after: Recipe) -> Iterator[tuple[str, Any, Any, Sequence[str]]]:
    """(key, old value, new value, the stages that use it) for every key that some stage uses."""
    old, new = _flat(unstructure(before)), _flat(unstructure(after))
    for name in sorted(old.keys() | new.keys()):
        stages = [stage for stage in USES if uses(stage, name)]
        if stages and old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name), stages


def later(stage: str) -> list[str]:
    """The stages that read what ``stage`` makes, themselves or through others, in order."""
    found = [stage]
    for other in STAGES:
        if any(earlier in found for earlier in BUILDS_ON.get(other, ())):
            found.append(other)
    return found[1:]


def uses(stage: str, name: str) -> bool:
    """Whether a stage uses a key or a section of the recipe, or the section that it stands in."""
    return name in USES.get(stage, ()) or name.partition(".")[0] in USES.get(stage, ())


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """``section.key`` -> value, without engines."""
    flat: dict[str, Any] = {}
    for section, value in without_engines(data).items():
        if isinstance(value, Mapping):
            flat |= {f"{section}.{name}": item for name, item in value.items()}
        else:
            flat[section] = value
    return flat
