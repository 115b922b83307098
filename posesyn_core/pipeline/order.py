"""The stages in order, and what of a recipe each of them depends on."""

from collections.abc import Mapping
from typing import Any

import attrs

from posesyn_core.recipe import SECTIONS_WITH_ENGINES, Choice, EngineChoice, Recipe

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

STAGE_OF_SECTION: Mapping[str, str] = {
    "dataset": "score",
    "name": "report",
    "rounds": "report",
    "seed": "score",
    "body": "score",
    "h36m_regressor": "evaluate",
    "estimator": "score",
    "eem": "score",
    "labeller": "score",
    "score": "score",
    "captioner": "caption",
    "motion": "synthesize",
    "synthesize": "synthesize",
    "reference": "animate",
    "animator": "animate",
    "animate": "animate",
    "filter": "filter",
    "export": "export",
    "real": "finetune",
    "validation": "finetune",
    "finetune": "finetune",
    "test": "evaluate",
}
"""The first stage whose results a section of the recipe changes; ``machine`` changes none."""

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
